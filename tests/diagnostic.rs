//! Messages of recipes that nobody would write: they are shown all the same, and briefly.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use sega::diagnostic::{Code, Diagnostic, Diagnostics, render};
use sega::source::{Source, Span};

const WIDTH: usize = 100;

fn shown(text: &str) -> String {
    let source = Source::new("odd.sega", text);
    let diagnostics = sega::recipe::parse(&source).diagnostics.unwrap();
    render(&diagnostics, &source, false, WIDTH)
}

#[test]
fn places_far_apart_on_one_line_are_named_not_drawn() {
    let text = format!("sega 1\nmodel \"mini\"\nprompt \"p\"\n{}", "steps 4, ".repeat(20_000));
    let shown = shown(&text);
    assert!(shown.len() < 1 << 20, "{} bytes", shown.len());
    assert!(shown.contains(": line 4, column 1)"), "{}", &shown[..2000]);
}

#[test]
fn the_first_hundred_are_shown_and_the_rest_counted() {
    let shown = shown(&format!("sega 1\nmodel \"mini\"\nprompt \"p\"\n{}", "a,\n".repeat(5_000)));
    assert_eq!(shown.matches("error[").count(), 100);
    assert!(shown.contains("and 4900 more"), "{}", &shown[shown.len() - 200..]);
}

proptest! {
    #![proptest_config(crate::cases::cases(64))]

    /// Two places anywhere in any text, however long its lines.
    #[test]
    fn any_places_can_be_shown(
        lines in prop::collection::vec((0usize..90_000, "[a\u{e9} \t\u{1b}\"]{0,3}"), 1..5),
        places in prop::collection::vec((0.0..1.0f64, 0usize..300), 1..4),
    ) {
        let text: Vec<String> = lines.iter().map(|(length, unit)| unit.repeat(length / unit.len().max(1))).collect();
        let source = Source::new("odd.sega", text.join("\n"));
        let mut diagnostic = Diagnostic::new(Code::Unreadable, "odd");
        for (at, length) in places {
            let start = source.text.floor_char_boundary((at * source.text.len() as f64) as usize);
            let end = source.text.floor_char_boundary((start + length).min(source.text.len()));
            diagnostic = diagnostic.at(Span::new(start, end.max(start)), "here");
        }
        let shown = render(&Diagnostics::from(diagnostic), &source, false, WIDTH);
        prop_assert!(shown.contains("odd") && shown.len() < 100_000, "{} bytes", shown.len());
    }
}
