//! Outcomes added up.

use std::collections::BTreeMap;

use super::Outcome;
use crate::statistics::Share;

/// The sums over some pictures.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    /// How often the edit worked.
    pub(super) worked: Share,
    /// Where it worked, the share of other attributes that stayed: an edit that does nothing leaves everything.
    pub(super) unchanged: Share,
    /// The same of attributes that the prompt says, and of those that it leaves open, all portraits together.
    pub(super) said: Share,
    pub(super) open: Share,
    /// The same, attribute by attribute.
    pub(super) by_attribute: BTreeMap<String, Share>,
    /// Where it worked, the change of pixels.
    pub(super) all: Vec<f64>,
    /// The same outside of the attribute's region.
    pub(super) outside: Vec<f64>,
}

impl Tally {
    pub(super) fn add(&mut self, outcome: &Outcome) {
        self.worked.add(if outcome.worked { 1.0 } else { 0.0 });
        if outcome.worked {
            let share = |stayed: bool| if stayed { 1.0 } else { 0.0 };
            let kept: f64 = outcome.others.iter().map(|other| share(other.stayed)).sum();
            if !outcome.others.is_empty() {
                self.unchanged.add(kept / outcome.others.len() as f64);
            }
            for other in &outcome.others {
                let stayed = share(other.stayed);
                self.by_attribute.entry(other.attribute.clone()).or_default().add(stayed);
                if other.said { &mut self.said } else { &mut self.open }.add(stayed);
            }
            self.all.push(outcome.change.all);
            self.outside.extend(outcome.change.outside);
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.worked.merge(other.worked);
        self.unchanged.merge(other.unchanged);
        self.said.merge(other.said);
        self.open.merge(other.open);
        for (attribute, share) in &other.by_attribute {
            self.by_attribute.entry(attribute.clone()).or_default().merge(*share);
        }
        self.all.extend(&other.all);
        self.outside.extend(&other.outside);
    }
}
