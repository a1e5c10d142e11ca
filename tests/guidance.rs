//! The rules of guidance, against a loop that follows their definition word by word: every row at every evaluation,
//! nothing left out, everything in f64. What the plan leaves out must not matter.

#![allow(clippy::unwrap_used)]

use std::ops::ControlFlow;

use candle_core::{Device, Tensor};
use proptest::prelude::*;
use sega::engine::EngineError;
use sega::engine::noise::NoiseStream;
use sega::engine::sampler::{State, sample};
use sega::model::card::Card;
use sega::plan::scheduler::{Combination, Operand, Sampling, Schedule, schedule};
use sega::recipe::{Concept, Direction, Recipe, Rule};

use crate::models;

const SIZE: &str = "64x48";
const ELEMENTS: usize = 8 * 6;
const CHANNELS: usize = 4;

/// A network whose rows differ by their text: smooth, bounded, and dependent on the latents.
fn output(text: &str, latent: f64, element: usize, timestep: f64) -> f64 {
    let hash = text.bytes().fold(7u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
    let phase = f64::from(hash % 1000) / 100.0;
    (0.3 * latent + phase + element as f64 * (1.0 + phase) + timestep / 500.0).sin()
}

/// What sega does.
fn planned(recipe: &Recipe, card: &Card) -> Vec<f64> {
    let plan = sega::plan::build(recipe, card).unwrap();
    let mut network = |latents: &Tensor, timestep: f64, rows: &[usize]| {
        let latents: Vec<f32> = latents.flatten_all()?.to_vec1()?;
        let values: Vec<f32> = rows
            .iter()
            .flat_map(|&row| {
                let text = &plan.texts[row];
                latents.iter().enumerate().map(move |(i, &z)| output(text, z.into(), i, timestep) as f32)
            })
            .collect();
        Ok(Tensor::from_vec(values, (rows.len(), CHANNELS, plan.latents[1], plan.latents[2]), &Device::Cpu)?)
    };
    let mut watch = |_: &State| ControlFlow::Continue(());
    let begin = State::begin(&plan, NoiseStream::new(5), &Device::Cpu).unwrap();
    let end = sample(&plan, &mut network, begin, &mut watch).unwrap();
    end.latents().flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f64::from).collect()
}

/// What the rule says, and the narrowest decision of a threshold on the way: how far apart the smallest element that it
/// kept and the largest that it discarded were. Rounding to f32 may turn over what is nearly a tie.
fn defined(recipe: &Recipe, card: &Card) -> (Vec<f64>, f64) {
    let sampling = Sampling {
        scheduler: recipe.scheduler,
        steps: recipe.steps,
        eta: recipe.eta,
        sigmas: recipe.sigmas,
        spacing: recipe.spacing,
    };
    let schedule: Schedule = schedule(&card.scheduler, &sampling).unwrap();
    let mut noise = NoiseStream::new(5);
    let mut fresh = || -> Vec<f64> { noise.normals(CHANNELS * ELEMENTS).into_iter().map(f64::from).collect() };
    let mut state = vec![fresh().iter().map(|n| n * schedule.initial_scale).collect::<Vec<f64>>()];
    let mut guidance = Definition::new(recipe);
    for (iteration, evaluation) in schedule.evaluations.iter().enumerate() {
        let latents = state[0].clone();
        let convert = |outputs: Vec<f64>| -> Vec<f64> {
            let estimate = evaluation.estimate;
            outputs.iter().zip(&latents).map(|(o, z)| estimate.output * o + estimate.sample * z).collect()
        };
        let raw = |text: &str| -> Vec<f64> {
            let scaled = latents.iter().map(|z| z * evaluation.input_scale);
            scaled.enumerate().map(|(i, z)| output(text, z, i, evaluation.timestep)).collect()
        };
        let estimate = match recipe.rule {
            Rule::Edition1 => guidance.edition1(recipe, evaluation.step, &|text| convert(raw(text))),
            Rule::Diffusers => convert(guidance.diffusers(recipe, iteration, &raw)),
        };
        let noise = if evaluation.update.draws_noise() { fresh() } else { Vec::new() };
        let combine = |Combination(parts): &Combination| {
            let mut sum = vec![0.0; latents.len()];
            for &(operand, factor) in parts {
                let operand = match operand {
                    Operand::State(index) => &state[index],
                    Operand::Estimate => &estimate,
                    Operand::Noise => &noise,
                };
                sum.iter_mut().zip(operand).for_each(|(sum, value)| *sum += factor * value);
            }
            sum
        };
        state = evaluation.update.next.iter().map(combine).collect();
    }
    (state.swap_remove(0), guidance.narrowest)
}

/// The definitions of SEGA's two rules, with their momenta.
struct Definition {
    momenta: Vec<Vec<f64>>,
    joint: Vec<f64>,
    narrowest: f64,
}

impl Definition {
    fn new(recipe: &Recipe) -> Self {
        let zero = vec![0.0; CHANNELS * ELEMENTS];
        Self { momenta: vec![zero.clone(); recipe.concepts.len()], joint: zero, narrowest: f64::INFINITY }
    }

    fn edition1(&mut self, recipe: &Recipe, step: usize, estimate: &dyn Fn(&str) -> Vec<f64>) -> Vec<f64> {
        let (base, prompt) = (estimate(&recipe.negative), estimate(&recipe.prompt));
        let mut e = classifier_free(&base, &prompt, recipe.guidance.get());
        for (concept, nu) in recipe.concepts.iter().zip(&mut self.momenta) {
            let range = concept.range.resolve(recipe.steps);
            if !range.contains(&step) {
                continue;
            }
            let edit = edit(concept, &base, &estimate(&concept.text), &mut self.narrowest);
            let (scale, beta) = (concept.momentum.get(), concept.beta.get());
            let active = step >= range.start + concept.warmup.0.resolve(recipe.steps);
            for i in 0..e.len() {
                let gamma = edit[i] + scale * nu[i];
                nu[i] = beta * nu[i] + (1.0 - beta) * gamma;
                if active {
                    e[i] += concept.weight.get() * gamma;
                }
            }
        }
        e
    }

    fn diffusers(&mut self, recipe: &Recipe, iteration: usize, output: &dyn Fn(&str) -> Vec<f64>) -> Vec<f64> {
        let (base, prompt) = (output(&recipe.negative), output(&recipe.prompt));
        let mut e = classifier_free(&base, &prompt, recipe.guidance.get());
        let Some(first) = recipe.concepts.first() else { return e };
        let (scale, beta) = (first.momentum.get(), first.beta.get());
        let warm: Vec<bool> =
            recipe.concepts.iter().map(|concept| iteration >= concept.warmup.0.resolve(recipe.steps)).collect();
        let edits: Vec<(f64, Vec<f64>)> = recipe
            .concepts
            .iter()
            .map(|concept| match concept.range.end {
                Some(end) if iteration >= end.resolve(recipe.steps) => (0.0, vec![0.0; e.len()]),
                _ => (concept.weight.get(), edit(concept, &base, &output(&concept.text), &mut self.narrowest)),
            })
            .collect();
        let warm_count = warm.iter().filter(|&&warm| warm).count();
        let warm_weights: f64 = edits.iter().zip(&warm).filter(|(_, warm)| **warm).map(|((w, _), _)| w).sum();
        for i in 0..e.len() {
            if 0 < warm_count && warm_count < warm.len() && warm_weights > 0.0 {
                let part =
                    |((w, t), warm): (&(f64, Vec<f64>), &bool)| if *warm { w / warm_weights * t[i] } else { 0.0 };
                e[i] += edits.iter().zip(&warm).map(part).sum::<f64>();
            }
            let force = edits.iter().map(|(w, t)| w * t[i]).sum::<f64>() + scale * self.joint[i];
            self.joint[i] = beta * self.joint[i] + (1.0 - beta) * force;
            if warm_count == warm.len() {
                e[i] += force;
            }
        }
        e
    }
}

fn classifier_free(base: &[f64], prompt: &[f64], scale: f64) -> Vec<f64> {
    if scale <= 1.0 {
        return prompt.to_vec();
    }
    base.iter().zip(prompt).map(|(u, p)| u + scale * (p - u)).collect()
}

/// `mu_c psi_c`: the thresholded, scaled difference.
fn edit(concept: &Concept, base: &[f64], estimate: &[f64], narrowest: &mut f64) -> Vec<f64> {
    let sign = if concept.direction == Direction::Plus { 1.0 } else { -1.0 };
    let mut edit: Vec<f64> = estimate.iter().zip(base).map(|(c, u)| sign * (c - u)).collect();
    for channel in edit.chunks_mut(ELEMENTS) {
        let mut sorted: Vec<f64> = channel.iter().map(|value| value.abs()).collect();
        sorted.sort_by(f64::total_cmp);
        let rank = (concept.threshold.get() * (ELEMENTS - 1) as f64 - 1e-9).ceil().max(0.0) as usize;
        let least = sorted[rank];
        if let Some(below) = rank.checked_sub(1) {
            *narrowest = narrowest.min(least - sorted[below]);
        }
        for value in channel {
            *value *= if value.abs() >= least { concept.strength.get() } else { 0.0 };
        }
    }
    edit
}

/// Decisions narrower than this are left to rounding: latents reach a hundred, of which f32 knows 7e-6.
const TIE: f64 = 1e-5;

fn check(recipe_text: &str) {
    let source = sega::source::Source::new("generated.sega", recipe_text);
    let checked = sega::recipe::parse(&source);
    let recipe = checked.recipe.unwrap_or_else(|| panic!("{recipe_text}\n{:?}", checked.diagnostics));
    let card = models::card();
    let (ours, (theirs, narrowest)) = (planned(&recipe, &card), defined(&recipe, &card));
    let largest = theirs.iter().fold(0.0f64, |most, value| most.max(value.abs()));
    let apart = ours.iter().zip(&theirs).fold(0.0f64, |most, (a, b)| most.max((a - b).abs()));
    assert!(apart <= 2e-4 * largest || narrowest < TIE, "{apart} of {largest}\n{recipe_text}");
}

/// Whether to add it, strength, threshold, warm-up, weight and end of a concept.
type Drawn = (bool, f64, f64, u32, f64, Option<u32>);

fn shares() -> impl Strategy<Value = f64> {
    prop_oneof![Just(0.0), Just(0.5), Just(0.9), Just(0.3), 0.0..0.99]
}

prop_compose! {
    fn concept_settings()(
        plus in any::<bool>(),
        strength in prop_oneof![Just(0.0), 0.5..6.0f64],
        threshold in shares(),
        warmup in 0u32..9,
        weight in prop_oneof![Just(0.0), Just(1.0), 0.1..2.0f64],
        end in prop_oneof![Just(None), (1u32..9).prop_map(Some)],
    ) -> Drawn {
        (plus, strength, threshold, warmup, weight, end)
    }
}

fn recipe_text(
    head: &str,
    scheduler: &str,
    steps: usize,
    concepts: &[Drawn],
    block: impl Fn(usize) -> String,
) -> String {
    let mut text = format!(
        "sega 1\nmodel \"mini\"\nprompt \"a portrait\"\nsize {SIZE}\nsteps {steps}\nguidance 4\nscheduler {scheduler}\n{head}\n"
    );
    for (i, (plus, strength, threshold, warmup, weight, _)) in concepts.iter().enumerate() {
        let kind = if *plus { "plus" } else { "minus" };
        text += &format!(
            "{kind} c{i} \"concept {i}\" {{ strength {strength}, threshold {threshold}, warmup {warmup}, weight {weight}{} }}\n",
            block(i)
        );
    }
    text
}

/// A network whose answer for the text `poisoned` is not finite from one evaluation on.
fn poisoned_run(plan: &sega::plan::Plan, poisoned: &str, from: usize, poison: f32) -> EngineError {
    let mut evaluation = 0;
    let mut network = |latents: &Tensor, _: f64, rows: &[usize]| {
        let value = |row: &usize| if plan.texts[*row] == poisoned && evaluation >= from { poison } else { 0.5 };
        let outputs: Vec<Tensor> =
            rows.iter().map(|row| latents.affine(0.0, value(row).into())).collect::<Result<_, _>>()?;
        evaluation += 1;
        Ok(Tensor::cat(&outputs, 0)?)
    };
    let mut watch = |_: &State| ControlFlow::Continue(());
    let begin = State::begin(plan, NoiseStream::new(5), &Device::Cpu).unwrap();
    sample(plan, &mut network, begin, &mut watch).unwrap_err()
}

#[test]
fn an_estimate_that_is_not_finite_is_named_with_its_step() {
    let text = "sega 1\nmodel \"mini\"\nprompt \"a cat\"\nnegative \"blurry\"\nsteps 6\n\
        plus hat \"a hat\" { warmup 0 }\nminus fog \"fog\" { warmup 0, steps 2.. }\n";
    let recipe = sega::recipe::parse(&sega::source::Source::new("a.sega", text)).recipe.unwrap();
    let plan = sega::plan::build(&recipe, &models::card()).unwrap();
    for (poisoned, name) in [("a cat", "the prompt"), ("blurry", "negative"), ("a hat", "`hat`"), ("fog", "`fog`")] {
        for (from, poison) in [(2, f32::NAN), (4, f32::INFINITY)] {
            let error = poisoned_run(&plan, poisoned, from, poison);
            assert!(
                matches!(&error, EngineError::NonFinite { what, step } if what.contains(name) && *step == from),
                "{error}"
            );
        }
    }
}

const SCHEDULERS: [&str; 6] = ["ddim", "pndm", "euler-ancestral", "dpmpp-2m", "heun", "unipc"];

proptest! {
    #![proptest_config(crate::cases::cases(96))]

    #[test]
    fn edition_1_is_its_definition(
        scheduler in 0..SCHEDULERS.len(),
        steps in 1usize..9,
        concepts in prop::collection::vec(concept_settings(), 0..4),
        starts in prop::collection::vec(0u32..5, 4),
        momenta in prop::collection::vec((shares(), shares()), 4),
    ) {
        let block = |i: usize| {
            let (momentum, beta) = momenta[i];
            let end = concepts[i].5.map_or(String::new(), |end| (starts[i] + end).to_string());
            format!(", steps {}..{end}, momentum {momentum}, beta {beta}", starts[i])
        };
        check(&recipe_text("", SCHEDULERS[scheduler], steps, &concepts, block));
    }

    #[test]
    fn compat_is_the_reference(
        scheduler in 0..SCHEDULERS.len(),
        steps in 1usize..9,
        concepts in prop::collection::vec(concept_settings(), 0..4),
        (momentum, beta) in (shares(), shares()),
    ) {
        let head = format!("compat diffusers\nmomentum {momentum}\nbeta {beta}");
        let block = |i: usize| concepts[i].5.map_or(String::new(), |end| format!(", steps 0..{end}"));
        check(&recipe_text(&head, SCHEDULERS[scheduler], steps, &concepts, block));
    }

    /// Where warm-ups are equal, ranges are whole and momentum settings are shared, both rules paint the same picture.
    #[test]
    fn the_rules_agree_where_they_must(
        scheduler in 0..SCHEDULERS.len(),
        steps in 1usize..9,
        warmup in 0u32..9,
        mut concepts in prop::collection::vec(concept_settings(), 1..4),
        (momentum, beta) in (shares(), shares()),
    ) {
        let scheduler = SCHEDULERS[scheduler];
        // The reference counts a warm-up in evaluations, of which these two make more than one for a step.
        let warmup = if matches!(scheduler, "pndm" | "heun") { 0 } else { warmup };
        for concept in &mut concepts {
            concept.3 = warmup;
        }
        let texts = ["", "compat diffusers\n"].map(|compat| {
            recipe_text(&format!("{compat}momentum {momentum}\nbeta {beta}"), scheduler, steps, &concepts, |_| String::new())
        });
        let card = models::card();
        let [(ours, narrowest), (theirs, _)] = texts.map(|text| {
            let recipe = sega::recipe::parse(&sega::source::Source::new("generated.sega", text)).recipe.unwrap();
            (planned(&recipe, &card), defined(&recipe, &card).1)
        });
        let largest = theirs.iter().fold(0.0f64, |most, value| most.max(value.abs()));
        for (a, b) in ours.iter().zip(&theirs) {
            prop_assert!((a - b).abs() <= 2e-4 * largest || narrowest < TIE, "narrowest decision {narrowest:e}");
        }
    }
}
