//! The one sampling loop: initial noise in, final latents out, every scalar from the plan.

use std::ops::ControlFlow;

use candle_core::{Device, Tensor};

use super::EngineError;
use super::guidance::{Momenta, guide};
use super::noise::NoiseStream;
use crate::plan::scheduler::{Combination, Estimate, Operand};
use crate::plan::{Plan, Role, Step};

/// Asks the network: the scaled latents `[1, channels, height, width]`, the timestep and the rows of the plan's texts;
/// answers with the outputs `[rows, channels, height, width]`.
pub type Network<'a> = dyn FnMut(&Tensor, f64, &[usize]) -> Result<Tensor, EngineError> + 'a;

/// A render between two evaluations: everything that the rest of it depends on. A clone shares its tensors, which nothing
/// changes, and is a checkpoint: a render goes on from it to the same bits.
#[derive(Debug, Clone)]
pub struct State {
    done: usize,
    /// The latents, then what the solver remembers.
    solver: Vec<Tensor>,
    momenta: Momenta,
    noise: NoiseStream,
    original: Option<Tensor>,
    effects: Vec<Tensor>,
}

impl State {
    /// The beginning of a plan: its initial noise.
    pub fn begin(plan: &Plan, mut noise: NoiseStream, device: &Device) -> Result<Self, EngineError> {
        let latents = (fresh_noise(plan, &mut noise, device)? * plan.initial_scale)?;
        Ok(Self { done: 0, solver: vec![latents], momenta: Momenta::new(), noise, original: None, effects: Vec::new() })
    }

    /// How many evaluations of the network are done.
    pub fn done(&self) -> usize {
        self.done
    }

    /// The latents, `[1, channels, height, width]`, as the network sees them.
    pub fn latents(&self) -> &Tensor {
        // A schedule always keeps the latents first.
        &self.solver[0]
    }

    /// The final latents as the last evaluation expects them; `None` before the first.
    pub fn original(&self) -> Option<&Tensor> {
        self.original.as_ref()
    }

    /// Where the concepts acted so far: the absolute values of their edits, summed over channels and active steps,
    /// `[height, width]`, in the order of [`Plan::acting`].
    pub fn effects(&self) -> &[Tensor] {
        &self.effects
    }

    /// The memory that its tensors take, those not counted that it may share with other states.
    pub fn bytes(&self) -> usize {
        let tensors =
            self.solver.iter().chain(self.momenta.iter().flatten()).chain(&self.original).chain(&self.effects);
        tensors.map(|tensor| tensor.elem_count() * tensor.dtype().size_in_bytes()).sum()
    }

    /// The state after the plan's next evaluation.
    fn advance(mut self, plan: &Plan, step: &Step, network: &mut Network<'_>) -> Result<Self, EngineError> {
        let latents = &self.solver[0];
        let outputs = network(&scaled(latents, step.input_scale)?, step.timestep, &step.rows)?;
        check_finite(plan, step, &outputs)?;
        let estimates = combine_estimate(&outputs, latents, step.row_estimate)?;
        let row_of = |row: usize| step.rows.iter().position(|&known| known == row);
        let acting = plan.acting();
        let effects = &mut self.effects;
        let (guided, momenta) = guide(&step.guidance, &estimates, row_of, self.momenta, |term, edit| {
            let place = acting.iter().position(|concept| *concept == term.concept);
            match (term.role, place) {
                (Role::Active, Some(place)) => add_effect(effects, place, edit),
                _ => Ok(()),
            }
        })?;
        let estimate = combine_estimate(&guided, latents, step.guided_estimate)?;
        let original = combine_estimate(&estimate, latents, step.original)?;
        let noise =
            if step.update.draws_noise() { Some(fresh_noise(plan, &mut self.noise, latents.device())?) } else { None };
        let next =
            step.update.next.iter().map(|combination| combine(combination, &self.solver, &estimate, noise.as_ref()));
        let solver = next.collect::<Result<_, _>>()?;
        Ok(Self {
            done: self.done + 1,
            solver,
            momenta,
            noise: self.noise,
            original: Some(original),
            effects: self.effects,
        })
    }
}

/// Runs a plan from a state of it to its end.
///
/// `watch` is called before every evaluation; a break ends the run with [`EngineError::Interrupted`].
pub fn sample(
    plan: &Plan,
    network: &mut Network<'_>,
    mut state: State,
    watch: &mut dyn FnMut(&State) -> ControlFlow<()>,
) -> Result<State, EngineError> {
    while let Some(step) = plan.steps.get(state.done) {
        if watch(&state).is_break() {
            return Err(EngineError::Interrupted);
        }
        state = state.advance(plan, step, network)?;
    }
    Ok(state)
}

/// Unit noise of the latents' shape.
fn fresh_noise(plan: &Plan, noise: &mut NoiseStream, device: &Device) -> candle_core::Result<Tensor> {
    let [channels, height, width] = plan.latents;
    Tensor::from_vec(noise.normals(channels * height * width), (1, channels, height, width), device)
}

/// Adds the absolute values of an edit, summed over its channels, to a concept's effect. A concept that begins to act
/// comes directly after those that began before it.
fn add_effect(effects: &mut Vec<Tensor>, place: usize, edit: &Tensor) -> candle_core::Result<()> {
    let share = edit.abs()?.squeeze(0)?.sum(0)?;
    match effects.get_mut(place) {
        Some(effect) => *effect = (&*effect + share)?,
        None => effects.push(share),
    }
    Ok(())
}

fn scaled(tensor: &Tensor, factor: f64) -> candle_core::Result<Tensor> {
    if factor == 1.0 { Ok(tensor.clone()) } else { tensor * factor }
}

/// `output * outputs + sample * latents`, the latents shared by all rows.
fn combine_estimate(outputs: &Tensor, latents: &Tensor, estimate: Estimate) -> candle_core::Result<Tensor> {
    let outputs = scaled(outputs, estimate.output)?;
    if estimate.sample == 0.0 { Ok(outputs) } else { outputs.broadcast_add(&(latents * estimate.sample)?) }
}

fn combine(
    Combination(parts): &Combination,
    state: &[Tensor],
    estimate: &Tensor,
    noise: Option<&Tensor>,
) -> candle_core::Result<Tensor> {
    let mut sum: Option<Tensor> = None;
    for &(operand, factor) in parts {
        let tensor = match operand {
            Operand::State(index) => &state[index],
            Operand::Estimate => estimate,
            // The noise is there whenever a combination names it; a factor of 0 draws it and leaves it out.
            Operand::Noise => match noise {
                Some(noise) if factor != 0.0 => noise,
                _ => continue,
            },
        };
        let part = scaled(tensor, factor)?;
        sum = Some(match sum {
            Some(sum) => (sum + part)?,
            None => part,
        });
    }
    sum.map_or_else(|| estimate.zeros_like(), Ok)
}

/// Refuses an output that holds NaN or infinity: it would end as a black picture.
fn check_finite(plan: &Plan, step: &Step, outputs: &Tensor) -> Result<(), EngineError> {
    let sums: Vec<f32> = outputs.flatten_from(1)?.abs()?.mean(1)?.to_vec1()?;
    let Some(place) = sums.iter().position(|sum| !sum.is_finite()) else { return Ok(()) };
    Err(EngineError::NonFinite { what: plan.row_name(step.rows[place]), step: step.step })
}
