//! What was measured, as a table in Markdown.

use crate::statistics::{Share, difference, mean, mean_interval};

/// A measured quantity.
#[derive(Debug, Clone)]
pub(crate) enum Measure {
    /// How often something is so.
    Share(Share),
    /// How much more often one thing is so than another, in percentage points.
    Lead(Share, Share),
    /// The mean of rank correlations, one a picture or a concept.
    Correlations(Vec<f64>),
    /// The largest of some shares less the smallest, in percentage points; over so many pictures.
    Spread(Vec<Share>),
    /// A mean change of pixels, of 255.
    Change(Vec<f64>),
}

impl Measure {
    /// The number that an aim is compared with.
    fn value(&self) -> f64 {
        match self {
            Self::Share(share) => share.value(),
            Self::Lead(a, b) => a.value() - b.value(),
            Self::Correlations(values) | Self::Change(values) => mean(values),
            Self::Spread(shares) => {
                let values = || shares.iter().map(|share| share.value());
                values().fold(f64::NEG_INFINITY, f64::max) - values().fold(f64::INFINITY, f64::min)
            }
        }
    }

    fn of(&self) -> usize {
        match self {
            Self::Share(share) | Self::Lead(share, _) => share.of,
            Self::Correlations(values) | Self::Change(values) => values.len(),
            Self::Spread(shares) => shares.iter().map(|share| share.of).sum(),
        }
    }

    fn number(&self) -> String {
        match self {
            _ if self.of() == 0 => "none counted".to_owned(),
            Self::Share(share) => share_text(*share),
            Self::Lead(..) => format!("{:+.1} points", 100.0 * self.value()),
            Self::Spread(..) => format!("{:.1} points", 100.0 * self.value()),
            Self::Correlations(..) => format!("{:.3}", self.value()),
            Self::Change(..) => format!("{:.2} of 255", self.value()),
        }
    }

    fn interval(&self) -> String {
        match self {
            _ if self.of() == 0 => String::new(),
            Self::Share(share) => interval_text(*share),
            Self::Lead(a, b) => {
                let (low, high) = difference(*a, *b);
                format!("{:+.1} to {:+.1}", 100.0 * low, 100.0 * high)
            }
            Self::Correlations(values) => {
                let (low, high) = mean_interval(values);
                format!("{low:.3} to {high:.3}")
            }
            Self::Spread(..) | Self::Change(..) => String::new(),
        }
    }
}

/// One line of the table of claims.
#[derive(Debug, Clone)]
pub(crate) struct Figure {
    pub(crate) claim: &'static str,
    pub(crate) row: String,
    pub(crate) measure: Measure,
    /// The least that is aimed at.
    pub(crate) aim: Option<f64>,
    /// What the paper reports.
    pub(crate) paper: Option<f64>,
}

/// A table beside that of the claims.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub(crate) title: String,
    pub(crate) header: Vec<&'static str>,
    pub(crate) rows: Vec<Vec<String>>,
}

/// The table of claims.
pub(crate) fn claims(figures: &[Figure]) -> Table {
    let percent = |value: f64| format!("{:.0} %", 100.0 * value);
    let row = |figure: &Figure| {
        let aim = match (&figure.measure, figure.aim) {
            (_, None) => String::new(),
            (Measure::Share(_), Some(aim)) => format!(">= {}", percent(aim)),
            (Measure::Lead(..), Some(aim)) => format!("> {aim:.0}"),
            (_, Some(aim)) => format!(">= {aim}"),
        };
        let met = match figure.aim {
            Some(aim) if figure.measure.of() > 0 => {
                let value = figure.measure.value();
                let met = if matches!(figure.measure, Measure::Lead(..)) { value > aim } else { value >= aim };
                if met { "yes" } else { "no" }
            }
            _ => "",
        };
        vec![
            figure.claim.to_owned(),
            figure.row.clone(),
            figure.measure.number(),
            figure.measure.interval(),
            figure.measure.of().to_string(),
            aim,
            met.to_owned(),
            figure.paper.map(percent).unwrap_or_default(),
        ]
    };
    Table {
        title: "Claims".to_owned(),
        header: vec!["claim", "row", "measured", "95 % interval", "counted", "aim", "met", "paper"],
        rows: figures.iter().map(row).collect(),
    }
}

impl Table {
    /// As Markdown, its columns aligned.
    pub(crate) fn markdown(&self) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells.chain([self.header[column].len()]).max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..self.header.len()).map(width).collect();
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            let cells: Vec<String> = cells
                .zip(&widths)
                .map(|(cell, &width)| format!("{}{}", cell, " ".repeat(width - cell.chars().count())))
                .collect();
            format!("| {} |\n", cells.join(" | "))
        };
        let mut out = format!("## {}\n\n", self.title);
        out.push_str(&line(&mut self.header.iter().copied()));
        out.push_str(&format!(
            "|{}|\n",
            widths.iter().map(|width| "-".repeat(width + 2)).collect::<Vec<_>>().join("|")
        ));
        for row in &self.rows {
            out.push_str(&line(&mut row.iter().map(String::as_str)));
        }
        out
    }
}

/// `97.5 %`.
pub(crate) fn share_text(share: Share) -> String {
    if share.of == 0 { "none counted".to_owned() } else { format!("{:.1} %", 100.0 * share.value()) }
}

/// `93.1 to 99.0`; empty of nothing.
pub(crate) fn interval_text(share: Share) -> String {
    let (low, high) = share.interval();
    if share.of == 0 { String::new() } else { format!("{:.1} to {:.1}", 100.0 * low, 100.0 * high) }
}

/// A mean with two digits; empty of nothing.
pub(crate) fn mean_text(values: &[f64]) -> String {
    if values.is_empty() { String::new() } else { format!("{:.2}", mean(values)) }
}
