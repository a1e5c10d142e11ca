//! A recipe lowered to the numbers of every evaluation: which rows the network computes, how they are combined into the
//! guided noise estimate, and how the latents go on.
//!
//! A [`Plan`] is a plain value. It holds no span, path or tensor; the same plan and the same noise give the same picture
//! on every machine. [`build`](build::build) makes it; [`table`] shows it.

mod build;
mod compat;
mod edition1;
pub mod key;
pub mod scheduler;
pub mod table;

pub use build::{PlanError, build, far_from};
use scheduler::{Estimate, Update};

use crate::model::emphasis::Reading;
use crate::model::training::SchedulerKind;
use crate::quantity::Size;
use crate::recipe::Direction;

/// Everything about a render except its noise.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The texts that the network is asked about; a row of the network's batch is an index into this list.
    pub texts: Vec<String>,
    /// How they are read.
    pub reading: Reading,
    /// Which layer of the text encoders they are taken from, counted from the last; the model's own where `None`.
    pub text_layer: Option<usize>,
    /// The guidance scale, for networks that are told it.
    pub guidance: f64,
    /// The concepts in the order in which the terms of a step are summed.
    pub concepts: Vec<PlannedConcept>,
    /// The picture's size in pixels.
    pub size: Size,
    /// Channels, height and width of the latents.
    pub latents: [usize; 3],
    /// The scheduler that the steps are of.
    pub scheduler: SchedulerKind,
    /// The standard deviation of the initial latents: unit noise is multiplied by it.
    pub initial_scale: f64,
    /// One entry for each time that the network is asked.
    pub steps: Vec<Step>,
    /// How many rows the reference implementation would compute: all of them at every evaluation.
    pub reference_rows: usize,
}

impl Plan {
    /// What a row is, in words for messages: the prompt, the unconditional (or negative) prompt, or a concept.
    pub fn row_name(&self, row: usize) -> String {
        let guidance = self.steps.first().map(|step| &step.guidance);
        let is_prompt = |guidance: &Guidance| match guidance.prompt {
            Some((prompt, _)) => prompt == row,
            None => guidance.base == row,
        };
        if guidance.is_some_and(is_prompt) {
            "the prompt".to_owned()
        } else if guidance.is_some_and(|guidance| guidance.base == row) {
            "the unconditional (or negative) prompt".to_owned()
        } else {
            let concept = self.concepts.iter().find(|concept| concept.row == Some(row));
            format!("concept `{}`", concept.map_or("?", |concept| &concept.name))
        }
    }

    /// The concepts that ever move the picture, as indices into [`Plan::concepts`], in the order in which they begin to.
    ///
    /// Unlike a concept's index, its place in this order depends on nothing that comes later.
    pub fn acting(&self) -> Vec<usize> {
        let mut order = Vec::new();
        for term in self.steps.iter().flat_map(|step| &step.guidance.terms) {
            if term.role == Role::Active && !order.contains(&term.concept) {
                order.push(term.concept);
            }
        }
        order
    }

    /// How many rows of the network the whole render computes.
    pub fn rows(&self) -> usize {
        self.steps.iter().map(|step| step.rows.len()).sum()
    }
}

/// What messages and tables say of a concept.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedConcept {
    /// Its name in the recipe.
    pub name: String,
    /// Towards or away from it.
    pub direction: Direction,
    /// The row of its text in [`Plan::texts`]; `None` where it is never evaluated.
    pub row: Option<usize>,
}

/// One evaluation of the network and the update that follows.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The recipe's step (from 0) that it belongs to. A solver may evaluate the network twice for a step.
    pub step: usize,
    /// The timestep that the network is told.
    pub timestep: f64,
    /// The network sees the latents multiplied by this.
    pub input_scale: f64,
    /// The rows that are evaluated, ascending; indices into [`Plan::texts`].
    pub rows: Vec<usize>,
    /// What is done to every row's output before guidance.
    pub row_estimate: Estimate,
    /// How the rows become one.
    pub guidance: Guidance,
    /// What is done to the guided output before the update.
    pub guided_estimate: Estimate,
    /// The final latents that the latents before this evaluation and the guided estimate imply: what a preview shows.
    pub original: Estimate,
    /// How the solver's state goes on.
    pub update: Update,
}

/// How the rows' outputs combine into one:
///
/// `e = e_base + sum of the prompt, direct and momentum parts`, where
/// - the prompt's part is `scale (e_prompt - e_base)`;
/// - a term's edit is `T = strength * sign * (e_concept - e_base)` at the elements that its threshold keeps, 0 elsewhere;
/// - the direct part is the sum of `direct * T` over the terms;
/// - a momentum `nu` takes part with `added * F`, where `F = sum of share * T over its terms + scale * nu`, and goes on
///   as `nu' = decay * nu + (1 - decay) * F`.
///
/// A momentum goes on at every evaluation of the network: for solvers that ask it twice for a step, twice.
///
/// Both rules of guidance are of this form (arXiv 2301.12247, section 3, with the momentum per concept or joint).
#[derive(Debug, Clone, PartialEq)]
pub struct Guidance {
    /// The row that differences are taken from: the unconditional estimate, or the prompt's where there is no guidance.
    pub base: usize,
    /// The prompt's row and the guidance scale; `None` where the base is all there is.
    pub prompt: Option<(usize, f64)>,
    /// The concepts that take part.
    pub terms: Vec<Term>,
    /// The momenta that take part.
    pub momenta: Vec<MomentumStep>,
}

/// What a concept does at an evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It only builds up momentum.
    WarmingUp,
    /// It moves the picture.
    Active,
}

/// A concept's part in one evaluation.
#[derive(Debug, Clone, PartialEq)]
pub struct Term {
    /// Index into [`Plan::concepts`].
    pub concept: usize,
    /// The row of its text.
    pub row: usize,
    /// s_e times the sign of the direction.
    pub strength: f64,
    /// Of a channel's absolute differences in ascending order, those from this rank on are kept.
    pub rank: usize,
    /// What it does.
    pub role: Role,
    /// The factor with which its edit is added to the estimate directly.
    pub direct: f64,
    /// The momentum that it feeds, and its factor there.
    pub feeds: Option<(usize, f64)>,
}

/// A momentum's part in one evaluation.
#[derive(Debug, Clone, PartialEq)]
pub struct MomentumStep {
    /// Which momentum; the number is constant over the render. They are numbered in the order in which they begin.
    pub momentum: usize,
    /// s_m.
    pub scale: f64,
    /// beta_m.
    pub decay: f64,
    /// The factor with which `F` is added to the estimate; 0 while it is only built up.
    pub added: f64,
    /// Whether a later evaluation needs it; where not, it is dropped.
    pub kept: bool,
}
