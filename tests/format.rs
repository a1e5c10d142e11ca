//! The canonical form: examples, and its laws for every text.

#![allow(clippy::unwrap_used)]

#[path = "format/texts.rs"]
mod texts;

use proptest::prelude::*;
use sega::source::Source;
use sega::syntax::format::{Broken, format};
use sega::syntax::parse;

use crate::syntax::outline::{comments, line_column, meaning};
use crate::syntax::{any_text, corpus};

/// The canonical form of a text, if it has one; checks that it means the same, keeps all comments, and is its own.
fn formatted(text: &str) -> Result<String, Broken> {
    let source = Source::new("text", text);
    let tree = parse(&source);
    let first = format(&tree, &source)?;
    let again = Source::new("formatted", first.as_str());
    let second_tree = parse(&again);
    assert_eq!(meaning(&tree), meaning(&second_tree), "{text:?} became {first:?}");
    assert_eq!(comments(&tree), comments(&second_tree), "{text:?} became {first:?}");
    assert_eq!(format(&second_tree, &again).as_deref(), Ok(first.as_str()), "{text:?}");
    check_layout(&first);
    Ok(first)
}

/// What holds for every canonical text.
fn check_layout(text: &str) {
    assert!(text.is_empty() || text.ends_with('\n') && !text.ends_with("\n\n") && !text.starts_with('\n'), "{text:?}");
    assert!(!text.contains('\r'), "{text:?}");
}

#[test]
fn forms_of_the_corpus() {
    for (name, text) in corpus() {
        let shown = match formatted(&text) {
            Ok(formatted) => formatted,
            Err(broken) => {
                let (line, column) = line_column(&text, broken.span.start);
                let part = &text[broken.span.start..broken.span.end];
                format!("refused: line {line}, column {column}: {part:?}")
            }
        };
        insta::assert_snapshot!(format!("form_{name}"), shown);
    }
}

proptest! {
    #![proptest_config(crate::cases::cases(2000))]

    #[test]
    fn laws_hold_for_recipes(text in texts::recipe()) {
        let formatted = formatted(&text);
        prop_assert!(formatted.is_ok(), "{:?} in {text:?}", formatted.map_err(|broken| text[broken.span.start..broken.span.end].to_owned()));
    }

    #[test]
    fn laws_hold_for_any_text_that_is_not_refused(text in any_text()) {
        let _ = formatted(&text);
    }

    #[test]
    fn every_content_can_be_written(content in any::<String>(), lines in prop::collection::vec("[ \t\r\"\\\\a-z]{0,5}", 0..5)) {
        for content in [content, lines.join("\n")] {
            let escaped: String = content.chars().map(|character| format!("\\u{{{:x}}}", u32::from(character))).collect();
            for text in [format!("prompt \"{escaped}\""), format!("prompt \"\"\"{escaped}\"\"\""), format!("prompt \"\"\"\n  {escaped}\n  \"\"\"")] {
                let shown = format!("{content:?}\n");
                let tree = meaning(&parse(&Source::new("text", text.as_str())));
                prop_assert!(tree.ends_with(&shown), "{tree}, not {shown}");
                prop_assert!(formatted(&text).is_ok());
            }
        }
    }
}
