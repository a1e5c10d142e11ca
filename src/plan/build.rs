//! Lowers a recipe to a plan for a model.

use super::scheduler::{self, Estimate, Sampling, Schedule, ScheduleError, schedule};
use super::{Guidance, MomentumStep, Plan, PlannedConcept, Step, Term, compat, edition1};
use crate::model::card::Card;
use crate::model::emphasis::Reading;
use crate::quantity::{ClipSkip, Size};
use crate::recipe::{Concept, Recipe, Rule};

/// Why a recipe that is right in itself cannot be planned for its model.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PlanError {
    /// The schedule cannot be made.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// A side of the picture is not a multiple of the autoencoder's factor.
    #[error("`size {size}` does not fit the model: both sides must be multiples of {multiple}")]
    Size {
        /// The size asked for.
        size: Size,
        /// The autoencoder's factor.
        multiple: usize,
    },
    /// The text encoder has not so many layers.
    #[error("`clip-skip {}` asks for a layer that is not there: a text encoder of the model has {layers}", skip.get())]
    ClipSkip {
        /// The layer asked for.
        skip: ClipSkip,
        /// The layers of the smaller text encoder.
        layers: usize,
    },
}

impl PlanError {
    /// The recipe's settings that are to blame, in the order in which to look for them.
    pub fn settings(&self) -> &'static [&'static str] {
        match self {
            Self::Schedule(error) => error.settings(),
            Self::Size { .. } => &["size"],
            Self::ClipSkip { .. } => &["clip-skip"],
        }
    }

    /// What to do about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::Schedule(error) => error.remedy(),
            Self::ClipSkip { layers, .. } => format!("lower `clip-skip` to {layers} or less; 1 and 2 are usual"),
            Self::Size { size, multiple } => {
                let nearest = |side: usize| ((side + multiple / 2) / multiple).max(1) * multiple;
                format!("the nearest is `{}x{}`", nearest(size.width()), nearest(size.height()))
            }
        }
    }
}

/// Leaves an output as it is.
const AS_IS: Estimate = Estimate { output: 1.0, sample: 0.0 };

/// What a rule of guidance says of the concepts at one evaluation.
pub(super) struct Edits {
    pub(super) terms: Vec<Term>,
    pub(super) momenta: Vec<MomentumStep>,
}

/// The facts that a rule of guidance decides from.
pub(super) struct Setting<'a> {
    /// The concepts in the order of [`Plan::concepts`].
    pub(super) concepts: &'a [&'a Concept],
    /// The row of each concept's text. A concept whose text is the base's own has none: its difference is nothing.
    pub(super) rows: &'a [Option<usize>],
    /// Elements in a channel of the latents.
    pub(super) elements: usize,
    /// The recipe and its schedule.
    pub(super) recipe: &'a Recipe,
    pub(super) schedule: &'a Schedule,
}

/// The model's own size, where the one asked for is so much smaller or larger that the model has not seen its like: less
/// than half or more than twice as many pixels.
pub fn far_from(size: Size, own: Size) -> Option<Size> {
    let pixels = |size: Size| size.width() * size.height();
    let far = 2 * pixels(size) < pixels(own) || pixels(size) > 2 * pixels(own);
    far.then_some(own)
}

/// Lowers a recipe to a plan for the model that `card` describes.
pub fn build(recipe: &Recipe, card: &Card) -> Result<Plan, PlanError> {
    let size = recipe.size.unwrap_or(card.default_size);
    let multiple = card.downscale();
    if !size.width().is_multiple_of(multiple) || !size.height().is_multiple_of(multiple) {
        return Err(PlanError::Size { size, multiple });
    }
    let latents = [card.latent_channels(), size.height() / multiple, size.width() / multiple];
    let sampling = Sampling {
        scheduler: recipe.scheduler,
        steps: recipe.steps,
        eta: recipe.eta,
        sigmas: recipe.sigmas,
        spacing: recipe.spacing,
    };
    let mut trained = card.scheduler.clone();
    trained.prediction = recipe.prediction.unwrap_or(trained.prediction);
    let schedule = schedule(&trained, &sampling)?;
    let originals = scheduler::originals(&trained, &sampling, &schedule)?;
    let guided = recipe.guidance.get() > 1.0;
    let least_layers = card.text_encoders().map(|text| text.layers).min().unwrap_or(0);
    if let Some(skip) = recipe.clip_skip.filter(|skip| skip.get() > least_layers) {
        return Err(PlanError::ClipSkip { skip, layers: least_layers });
    }

    let mut concepts: Vec<&Concept> = recipe.concepts.iter().collect();
    if recipe.rule == Rule::Edition1 {
        concepts.sort_by(|a, b| edition1::content_order(a, b));
    }
    let mut texts = Texts::default();
    // A network that is told the scale gives the guided estimate at once; the unconditional one is for concepts alone.
    let told = card.unet.guidance_channels.is_some();
    let scale = if told { 1.0 } else { recipe.guidance.get() };
    let needs_base = guided && (!told || !concepts.is_empty());
    let base = texts.row(if needs_base { &recipe.negative } else { &recipe.prompt });
    let prompt = texts.row(&recipe.prompt);
    let rows: Vec<Option<usize>> =
        concepts.iter().map(|concept| guided.then(|| texts.row(&concept.text)).filter(|&row| row != base)).collect();

    let setting =
        Setting { concepts: &concepts, rows: &rows, elements: latents[1] * latents[2], recipe, schedule: &schedule };
    let edits = match recipe.rule {
        Rule::Edition1 => edition1::edits(&setting),
        Rule::Diffusers => compat::edits(&setting),
    };
    let steps = schedule
        .evaluations
        .iter()
        .zip(edits)
        .enumerate()
        .map(|(at, (evaluation, edits))| {
            let prompt = (prompt != base).then_some((prompt, scale));
            let mut rows = vec![base];
            rows.extend(prompt.map(|(row, _)| row));
            rows.extend(edits.terms.iter().map(|term| term.row));
            rows.sort_unstable();
            rows.dedup();
            // Edition 1 mixes noise estimates; the reference mixes what the network puts out, whatever that estimates.
            let (row_estimate, guided_estimate) = match recipe.rule {
                Rule::Edition1 => (evaluation.estimate, AS_IS),
                Rule::Diffusers => (AS_IS, evaluation.estimate),
            };
            Step {
                step: evaluation.step,
                timestep: evaluation.timestep,
                input_scale: evaluation.input_scale,
                rows,
                row_estimate,
                guidance: Guidance { base, prompt, terms: edits.terms, momenta: edits.momenta },
                guided_estimate,
                original: originals[at],
                update: evaluation.update.clone(),
            }
        })
        .collect::<Vec<_>>();

    let reference_rows = schedule.evaluations.len() * if guided { 2 + concepts.len() } else { 1 };
    let mut plan = Plan {
        texts: texts.0,
        reading: match recipe.rule {
            Rule::Edition1 => Reading::Weighted,
            Rule::Diffusers => Reading::Literal,
        },
        text_layer: recipe.clip_skip.map(|skip| skip.get()),
        guidance: recipe.guidance.get(),
        concepts: concepts
            .iter()
            .zip(&rows)
            .map(|(concept, &row)| PlannedConcept {
                name: concept.name.value.clone(),
                direction: concept.direction,
                row,
            })
            .collect(),
        size,
        latents,
        scheduler: scheduler::kind(&card.scheduler, &sampling)?,
        initial_scale: schedule.initial_scale,
        steps,
        reference_rows,
    };
    forget_unused_texts(&mut plan);
    number_momenta(&mut plan);
    Ok(plan)
}

/// The distinct texts in the order of their first use.
#[derive(Default)]
struct Texts(Vec<String>);

impl Texts {
    fn row(&mut self, text: &str) -> usize {
        self.0.iter().position(|known| known == text).unwrap_or_else(|| {
            self.0.push(text.to_owned());
            self.0.len() - 1
        })
    }
}

/// Numbers the momenta in the order in which they begin: one that begins later changes no number of an earlier one.
fn number_momenta(plan: &mut Plan) {
    let mut order: Vec<usize> = Vec::new();
    for step in &mut plan.steps {
        let mut number = |momentum: &mut usize| {
            let known = order.iter().position(|known| known == momentum);
            *momentum = known.unwrap_or_else(|| {
                order.push(*momentum);
                order.len() - 1
            });
        };
        step.guidance.momenta.iter_mut().for_each(|step| number(&mut step.momentum));
        step.guidance.terms.iter_mut().filter_map(|term| term.feeds.as_mut()).for_each(|(m, _)| number(m));
    }
}

/// Takes out the texts that no step evaluates, so that they are not encoded either, and renumbers the rows.
fn forget_unused_texts(plan: &mut Plan) {
    let mut number = vec![None; plan.texts.len()];
    let mut kept = Vec::new();
    for (row, text) in plan.texts.iter().enumerate() {
        if plan.steps.iter().any(|step| step.rows.contains(&row)) {
            number[row] = Some(kept.len());
            kept.push(text.clone());
        }
    }
    plan.texts = kept;
    // Rows are only ever looked up that some step evaluates: those have numbers.
    let renumbered = |row: usize| number[row].unwrap_or(row);
    for concept in &mut plan.concepts {
        concept.row = concept.row.and_then(|row| number[row]);
    }
    for step in &mut plan.steps {
        for row in &mut step.rows {
            *row = renumbered(*row);
        }
        step.guidance.base = renumbered(step.guidance.base);
        if let Some((row, _)) = &mut step.guidance.prompt {
            *row = renumbered(*row);
        }
        for term in &mut step.guidance.terms {
            term.row = renumbered(term.row);
        }
    }
}
