//! The one sampling loop: initial noise in, final latents out, every scalar from the plan.

use std::ops::ControlFlow;

use candle_core::{Device, Tensor};

use super::EngineError;
use super::guidance::{Momenta, guide};
use super::noise::NoiseStream;
use crate::plan::scheduler::{Combination, Operand};
use crate::plan::{Plan, Step};

/// Asks the network: the scaled latents `[1, channels, height, width]`, the timestep and the rows of the plan's texts;
/// answers with the outputs `[rows, channels, height, width]`.
pub type Network<'a> = dyn FnMut(&Tensor, f64, &[usize]) -> Result<Tensor, EngineError> + 'a;

/// Runs a plan.
///
/// `watch` is called before every evaluation with the number of those done; a break ends the run with
/// [`EngineError::Interrupted`]. Returns the final latents, `[1, channels, height, width]`, as the network sees them.
pub fn sample(
    plan: &Plan,
    network: &mut Network<'_>,
    noise: &mut NoiseStream,
    device: &Device,
    watch: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Result<Tensor, EngineError> {
    let [channels, height, width] = plan.latents;
    let mut fresh_noise =
        || Tensor::from_vec(noise.normals(channels * height * width), (1, channels, height, width), device);
    let mut state = vec![(fresh_noise()? * plan.initial_scale)?];
    let mut momenta = Momenta::new();
    for (done, step) in plan.steps.iter().enumerate() {
        if watch(done).is_break() {
            return Err(EngineError::Interrupted);
        }
        let latents = &state[0];
        let outputs = network(&scaled(latents, step.input_scale)?, step.timestep, &step.rows)?;
        check_finite(plan, step, &outputs)?;
        let estimates = combine_estimate(&outputs, latents, step.row_estimate)?;
        let row_of = |row: usize| step.rows.iter().position(|&known| known == row);
        let (guided, next_momenta) = guide(&step.guidance, &estimates, row_of, momenta)?;
        momenta = next_momenta;
        let estimate = combine_estimate(&guided, latents, step.guided_estimate)?;
        let noise = if step.update.draws_noise() { Some(fresh_noise()?) } else { None };
        let next = step.update.next.iter().map(|combination| combine(combination, &state, &estimate, noise.as_ref()));
        state = next.collect::<Result<_, _>>()?;
    }
    // A schedule always keeps the latents first.
    Ok(state.swap_remove(0))
}

fn scaled(tensor: &Tensor, factor: f64) -> candle_core::Result<Tensor> {
    if factor == 1.0 { Ok(tensor.clone()) } else { tensor * factor }
}

/// `output * outputs + sample * latents`, the latents shared by all rows.
fn combine_estimate(
    outputs: &Tensor,
    latents: &Tensor,
    estimate: crate::plan::scheduler::Estimate,
) -> candle_core::Result<Tensor> {
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
