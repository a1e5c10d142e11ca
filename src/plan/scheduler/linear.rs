//! Sums of operands with factors, to write solvers as they are published.

use std::collections::BTreeMap;
use std::ops::{Add, Mul, Sub};

use super::{Combination, Operand, Update};

/// A sum of operands, each times a factor.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Linear(BTreeMap<Operand, f64>);

/// The latents before the update.
pub(super) fn latents() -> Linear {
    state(0)
}

/// An entry of the solver's state.
pub(super) fn state(index: usize) -> Linear {
    Linear([(Operand::State(index), 1.0)].into())
}

/// The guided noise estimate.
pub(super) fn estimate() -> Linear {
    Linear([(Operand::Estimate, 1.0)].into())
}

/// The final latents that the latents and a noise estimate imply, where the variance of the latents is 1 and `signal` is the
/// original's share of it (DDIM, arXiv 2010.02502, eq. 9).
pub(super) fn original(signal: f64) -> Linear {
    (latents() - estimate() * (1.0 - signal).sqrt()) * (1.0 / signal.sqrt())
}

/// Fresh noise.
pub(super) fn noise() -> Linear {
    Linear([(Operand::Noise, 1.0)].into())
}

impl Add for Linear {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        for (operand, factor) in other.0 {
            *self.0.entry(operand).or_insert(0.0) += factor;
        }
        self
    }
}

impl Sub for Linear {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self + other * -1.0
    }
}

impl Mul<f64> for Linear {
    type Output = Self;

    fn mul(mut self, factor: f64) -> Self {
        self.0.values_mut().for_each(|own| *own *= factor);
        self
    }
}

/// The update to these sums. Parts of factor 0 are left out, except noise, which is drawn all the same.
pub(super) fn update(next: impl IntoIterator<Item = Linear>) -> Update {
    let combination = |linear: Linear| {
        let parts = linear.0.into_iter().filter(|(operand, factor)| *factor != 0.0 || *operand == Operand::Noise);
        Combination(parts.collect())
    };
    Update { next: next.into_iter().map(combination).collect() }
}
