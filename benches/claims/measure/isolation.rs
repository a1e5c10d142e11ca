//! Isolation: what an edit leaves alone.

use sega::recipe::Direction;

use super::tally::Tally;
use super::{Findings, Study, one};
use crate::figures::{Figure, Measure, Table, interval_text, share_text};

const AIM: f64 = 0.97;

/// The claim, on the pictures of one concept added and of one taken away.
pub(super) fn measure(study: &mut Study<'_>, findings: &mut Findings) {
    let mut rows = Vec::new();
    for direction in [Direction::Plus, Direction::Minus] {
        let mut sum = Tally::default();
        for edited in one::edited(study, direction).0 {
            sum.merge(&edited.tally);
        }
        let name = direction.name();
        let figure = |row: String, measure, aim| Figure { claim: "isolation", row, measure, aim, paper: None };
        let unchanged = Measure::Share(sum.unchanged);
        findings.figures.push(figure(format!("{name}, other attributes unchanged"), unchanged, Some(AIM)));
        findings.figures.push(figure(
            format!("{name}, attributes that the prompt says"),
            Measure::Share(sum.said),
            None,
        ));
        findings.figures.push(figure(
            format!("{name}, attributes that it leaves open"),
            Measure::Share(sum.open),
            None,
        ));
        let outside = Measure::Change(sum.outside);
        findings.figures.push(figure(
            format!("{name}, change of pixels outside the attribute's region"),
            outside,
            None,
        ));
        findings.figures.push(figure(format!("{name}, change of pixels in all"), Measure::Change(sum.all), None));
        rows.extend(sum.by_attribute.iter().map(|(attribute, share)| {
            let unsure = study.accuracy.get(attribute).map_or(String::new(), |right| format!("{:.1} %", 100.0 * right));
            vec![
                name.to_owned(),
                attribute.clone(),
                share_text(*share),
                interval_text(*share),
                share.of.to_string(),
                unsure,
            ]
        }));
    }
    findings.tables.push(Table {
        title: "Isolation, by attribute".to_owned(),
        header: vec!["direction", "attribute", "unchanged", "95 % interval", "counted", "the oracle is right"],
        rows,
    });
}
