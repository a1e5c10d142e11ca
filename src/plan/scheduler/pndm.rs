//! Pseudo linear multistep, PLMS (arXiv 2202.09778, eq. 11 and 12), as Stable Diffusion 1.x uses it: without Runge-Kutta
//! steps, the first step taken twice.
//!
//! What is averaged over steps is the network's own output, even where that is a velocity: the state holds outputs.

use super::levels::unit_variance_estimate;
use super::linear::{Linear, estimate, latents, state, update};
use super::{Evaluation, Schedule, ScheduleError, Setup};
use crate::model::training::{Prediction, Spacing};

pub(super) fn schedule(setup: &Setup<'_>) -> Result<Schedule, ScheduleError> {
    let distinct = setup.timesteps(Spacing::Leading, true)?;
    let stride = setup.stride();
    // The second timestep is evaluated twice: before and after the first step is corrected.
    let mut timesteps = distinct.clone();
    if let Some(&second) = distinct.get(1) {
        timesteps.insert(1, second);
    }
    let evaluation = |(count, &timestep): (usize, &f64)| {
        let conversion = unit_variance_estimate(setup.config.prediction, setup.levels.signal(timestep as usize));
        let output = (estimate() - latents() * conversion.sample) * (1.0 / conversion.output);
        // State 1 is the last kept output, state 2 the one before, state 3 the one before that. After the very first
        // evaluation state 2 is the sample that the correction starts over from.
        let next = match count {
            0 => step(setup, latents(), timestep, timestep - stride, output.clone()),
            1 => step(setup, state(2), timestep + stride, timestep, (output.clone() + state(1)) * 0.5),
            _ => {
                let past = match count {
                    2 => (output.clone() * 3.0 - state(1)) * (1.0 / 2.0),
                    3 => (output.clone() * 23.0 - state(1) * 16.0 + state(2) * 5.0) * (1.0 / 12.0),
                    _ => (output.clone() * 55.0 - state(1) * 59.0 + state(2) * 37.0 - state(3) * 9.0) * (1.0 / 24.0),
                };
                step(setup, latents(), timestep, timestep - stride, past)
            }
        };
        let kept = match count {
            0 => vec![output, latents()],
            // The correction's own output is not kept.
            1 => vec![state(1)],
            2 => vec![output, state(1)],
            _ => vec![output, state(1), state(2)],
        };
        Evaluation {
            step: count.saturating_sub(1),
            timestep,
            input_scale: 1.0,
            estimate: conversion,
            update: update(std::iter::once(next).chain(kept)),
        }
    };
    Ok(Schedule { initial_scale: 1.0, evaluations: timesteps.iter().enumerate().map(evaluation).collect() })
}

/// The transfer from one timestep to another along a network output.
fn step(setup: &Setup<'_>, sample: Linear, timestep: f64, next: f64, output: Linear) -> Linear {
    let to_one = setup.config.set_alpha_to_one.unwrap_or(false);
    let (signal, next_signal) = (setup.signal_at(timestep, to_one), setup.signal_at(next, to_one));
    let noise = match setup.config.prediction {
        Prediction::Epsilon => output,
        Prediction::Velocity => output * signal.sqrt() + sample.clone() * (1.0 - signal).sqrt(),
    };
    let denominator = signal * (1.0 - next_signal).sqrt() + (signal * (1.0 - signal) * next_signal).sqrt();
    sample * (next_signal / signal).sqrt() - noise * ((next_signal - signal) / denominator)
}
