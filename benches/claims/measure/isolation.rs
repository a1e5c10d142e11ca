//! Isolation: what an edit leaves alone.

use sega::recipe::Direction;

use super::tally::Tally;
use super::{Findings, Study, one};
use crate::figures::{Figure, Measure};

const AIM: f64 = 0.97;

/// The claim, on the pictures of one concept added and of one taken away.
pub(super) fn measure(study: &mut Study<'_>, findings: &mut Findings) {
    for direction in [Direction::Plus, Direction::Minus] {
        let mut sum = Tally::default();
        for edited in one::edited(study, direction).0 {
            sum.merge(&edited.tally);
        }
        let name = direction.name();
        let figure = |row: String, measure, aim| Figure { claim: "isolation", row, measure, aim, paper: None };
        let unchanged = Measure::Share(sum.unchanged);
        findings.figures.push(figure(format!("{name}, other attributes unchanged"), unchanged, Some(AIM)));
        let outside = Measure::Change(sum.outside);
        findings.figures.push(figure(
            format!("{name}, change of pixels outside the attribute's region"),
            outside,
            None,
        ));
        findings.figures.push(figure(format!("{name}, change of pixels in all"), Measure::Change(sum.all), None));
    }
}
