//! The one sampling loop: initial noise in, final latents out, every scalar from the plan.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;

use candle_core::{Device, Tensor};

use super::EngineError;
use super::arrival::{Arrival, Arrivals, ahead};
use super::combine::{Sum, combine};
use super::guidance::{Memory, guide};
use super::noise::NoiseStream;
use crate::plan::scheduler::{Combination, Estimate, Operand};
use crate::plan::{Plan, Role, Step};

/// Asks the network: the scaled latents `[1, channels, height, width]`, the timestep and the rows of the plan's texts;
/// answers with the outputs `[rows, channels, height, width]`.
pub type Network<'a> = dyn FnMut(&Tensor, f64, &[usize]) -> Result<Tensor, EngineError> + 'a;

/// A render between two evaluations: everything that the rest of it depends on. A clone shares its tensors, which nothing
/// changes, and is a checkpoint: a render goes on from it to the same bits.
///
/// A graphics card is told what to do and works on it by itself. So the last evaluations may still be on their way; whether
/// their numbers are finite is looked at when they are there, and a few of them later at the latest.
#[derive(Debug, Clone)]
pub struct State {
    done: usize,
    /// The latents, then what the solver remembers.
    solver: Vec<Tensor>,
    memory: Memory,
    noise: NoiseStream,
    /// Of the last evaluation that is known to be finite.
    original: Option<Arc<Arrival>>,
    /// The evaluations since then, ...
    on_the_way: VecDeque<Evaluated>,
    /// ... of which there are no more than so many.
    ahead: usize,
    arrivals: Arrivals,
}

/// An evaluation whose numbers have not been looked at.
#[derive(Debug, Clone)]
struct Evaluated {
    /// Its number.
    number: usize,
    /// The mean absolute value of each row's output.
    sizes: Arc<Arrival>,
    original: Arc<Arrival>,
}

impl State {
    /// The beginning of a plan: its initial noise.
    pub fn begin(plan: &Plan, mut noise: NoiseStream, device: &Device) -> Result<Self, EngineError> {
        let latents = (fresh_noise(plan, &mut noise, device)? * plan.initial_scale)?;
        Ok(Self {
            done: 0,
            solver: vec![latents],
            memory: Memory::default(),
            noise,
            original: None,
            on_the_way: VecDeque::new(),
            ahead: ahead(device),
            arrivals: Arrivals::from(device)?,
        })
    }

    /// The same, whose evaluations are looked at when so many more have begun: on the CPU at once where nobody says otherwise.
    pub fn looking_back(self, ahead: usize) -> Self {
        Self { ahead, ..self }
    }

    /// How many evaluations of the network are done, or at least on their way.
    pub fn done(&self) -> usize {
        self.done
    }

    /// The latents, `[1, channels, height, width]`, as the network sees them.
    pub fn latents(&self) -> &Tensor {
        // A schedule always keeps the latents first.
        &self.solver[0]
    }

    /// The final latents as the last evaluation expects them of which that is known; `None` before the first.
    pub fn original(&self) -> Option<&Tensor> {
        self.original.as_deref().map(Arrival::tensor)
    }

    /// The numbers of [`Self::original`], for which nothing has to wait.
    pub fn original_numbers(&self) -> Option<Result<Vec<f32>, EngineError>> {
        self.original.as_deref().map(|original| Ok(original.read()?))
    }

    /// Where the concepts acted so far: the absolute values of their edits, summed over channels and active steps,
    /// `[height, width]`, in the order of [`Plan::acting`].
    pub fn effects(&self) -> &[Tensor] {
        &self.memory.effects
    }

    /// The memory that its tensors take, those not counted that it may share with other states.
    pub fn bytes(&self) -> usize {
        let Memory { momenta, effects } = &self.memory;
        let tensors = self.solver.iter().chain(momenta.iter().flatten()).chain(self.original()).chain(effects);
        tensors.map(|tensor| tensor.elem_count() * tensor.dtype().size_in_bytes()).sum()
    }

    /// The state after the plan's next evaluation.
    fn advance(mut self, plan: &Plan, step: &Step, network: &mut Network<'_>) -> Result<Self, EngineError> {
        let latents = &self.solver[0];
        let outputs = network(&scaled(latents, step.input_scale)?, step.timestep, &step.rows)?;
        let sizes = outputs.flatten_from(1)?.abs()?.mean(1)?;
        let estimates = row_estimates(&outputs, latents, step.row_estimate)?;
        let row_of = |row: usize| step.rows.iter().position(|&known| known == row);
        let acting = plan.acting();
        let (guided, memory) = guide(&step.guidance, &estimates, row_of, self.memory, |term| {
            // A concept that begins to act comes directly after those that began before it.
            (term.role == Role::Active).then(|| acting.iter().position(|concept| *concept == term.concept)).flatten()
        })?;
        let estimate = combine(&[&guided, latents], &[sum_of(step.guided_estimate, 0, 1)])?.remove(0);
        let noise =
            if step.update.draws_noise() { Some(fresh_noise(plan, &mut self.noise, latents.device())?) } else { None };
        // The solver's state, the estimate and the noise; the next state, and behind it the original.
        let states = self.solver.len();
        let operands: Vec<&Tensor> = self.solver.iter().chain([&estimate]).chain(&noise).collect();
        let mut sums: Vec<Sum> = step.update.next.iter().map(|next| sum(next, states)).collect();
        sums.push(sum_of(step.original, states, 0));
        let mut solver = combine(&operands, &sums)?;
        let original = solver.swap_remove(sums.len() - 1);
        self.on_the_way.push_back(Evaluated {
            number: self.done,
            sizes: Arc::new(self.arrivals.expect(&sizes)?),
            original: Arc::new(self.arrivals.expect(&original)?),
        });
        let next = Self { done: self.done + 1, solver, memory, ..self };
        let ahead = next.ahead;
        next.looked_at(plan, ahead)
    }

    /// The same, with no more than so many evaluations left that nobody has looked at.
    ///
    /// Refuses an output that holds NaN or infinity: it would end as a black picture.
    fn looked_at(mut self, plan: &Plan, most: usize) -> Result<Self, EngineError> {
        while self.on_the_way.len() > most
            && let Some(Evaluated { number, sizes, original }) = self.on_the_way.pop_front()
        {
            let step = &plan.steps[number];
            if let Some(place) = sizes.read()?.iter().position(|size| !size.is_finite()) {
                return Err(EngineError::NonFinite { what: plan.row_name(step.rows[place]), step: step.step });
            }
            self.original = Some(original);
        }
        Ok(self)
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
    state.looked_at(plan, 0)
}

/// Unit noise of the latents' shape.
fn fresh_noise(plan: &Plan, noise: &mut NoiseStream, device: &Device) -> candle_core::Result<Tensor> {
    let [channels, height, width] = plan.latents;
    Tensor::from_vec(noise.normals(channels * height * width), (1, channels, height, width), device)
}

fn scaled(tensor: &Tensor, factor: f64) -> candle_core::Result<Tensor> {
    if factor == 1.0 { Ok(tensor.clone()) } else { tensor * factor }
}

/// `output * outputs + sample * latents`, the latents shared by all rows.
fn row_estimates(outputs: &Tensor, latents: &Tensor, estimate: Estimate) -> candle_core::Result<Tensor> {
    let outputs = scaled(outputs, estimate.output)?;
    if estimate.sample == 0.0 { Ok(outputs) } else { outputs.broadcast_add(&(latents * estimate.sample)?) }
}

/// The same of the operands at these places.
fn sum_of(estimate: Estimate, output: usize, latents: usize) -> Sum {
    let mut sum = vec![(output, estimate.output)];
    sum.extend((estimate.sample != 0.0).then_some((latents, estimate.sample)));
    sum
}

/// A combination of so many states, the estimate behind them, and the noise behind that.
fn sum(Combination(parts): &Combination, states: usize) -> Sum {
    let place = |operand: Operand| match operand {
        Operand::State(index) => index,
        Operand::Estimate => states,
        Operand::Noise => states + 1,
    };
    // A factor of 0 has the noise drawn and leaves it out.
    parts.iter().filter(|(_, factor)| *factor != 0.0).map(|&(operand, factor)| (place(operand), factor)).collect()
}
