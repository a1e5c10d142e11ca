//! Outcomes added up.

use super::Outcome;
use crate::statistics::Share;

/// The sums over some pictures.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    /// How often the edit worked.
    pub(super) worked: Share,
    /// Where it worked, the share of other attributes that stayed: an edit that does nothing leaves everything.
    pub(super) unchanged: Share,
    /// Where it worked, the change of pixels.
    pub(super) all: Vec<f64>,
    /// The same outside of the attribute's region.
    pub(super) outside: Vec<f64>,
}

impl Tally {
    pub(super) fn add(&mut self, outcome: &Outcome) {
        self.worked.add(if outcome.worked { 1.0 } else { 0.0 });
        if outcome.worked {
            if outcome.unchanged.is_finite() {
                self.unchanged.add(outcome.unchanged);
            }
            self.all.push(outcome.change.all);
            self.outside.extend(outcome.change.outside);
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (sum, part) in [(&mut self.worked, other.worked), (&mut self.unchanged, other.unchanged)] {
            sum.successes += part.successes;
            sum.of += part.of;
        }
        self.all.extend(&other.all);
        self.outside.extend(&other.outside);
    }
}
