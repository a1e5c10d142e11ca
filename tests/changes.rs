//! What is told of an edit.

#![allow(clippy::unwrap_used)]

use sega::source::Source;
use sega::syntax::changes::{Text, changes};
use sega::syntax::parse;

const BEFORE: &str = r#"sega 1
model "mini"
prompt "a portrait"
steps 30

plus glasses "glasses" { strength 5, warmup 5 }
minus smile "smile" { strength 4 }
"#;

/// Edits the recipe by replacing `from` with `to` and compares what is told.
fn check(from: &str, to: &str, expected: &[(&str, Option<&str>, Option<&str>)]) {
    assert!(BEFORE.contains(from));
    let (before, after) = (Source::new("a", BEFORE), Source::new("b", BEFORE.replace(from, to)));
    let (old, new) = (parse(&before), parse(&after));
    let found = changes(Text { file: &old, source: &before }, Text { file: &new, source: &after });
    let found: Vec<_> = found.iter().map(|c| (c.what.as_str(), c.before.as_deref(), c.after.as_deref())).collect();
    assert_eq!(found, expected);
}

#[test]
fn settings() {
    check("steps 30", "steps 20", &[("steps", Some("30"), Some("20"))]);
    check("steps 30", "steps 30\nseed 4", &[("seed", None, Some("4"))]);
    check("steps 30\n", "", &[("steps", Some("30"), None)]);
    check("a portrait", "a  cat", &[("prompt", Some("\"a portrait\""), Some("\"a cat\""))]);
    check("strength 5", "strength 6", &[("glasses.strength", Some("5"), Some("6"))]);
    check("strength 5, ", "", &[("glasses.strength", Some("5"), None)]);
}

#[test]
fn blocks() {
    check("minus smile \"smile\" { strength 4 }\n", "", &[("minus smile", Some("\"smile\""), None)]);
    check("minus smile", "plus hat \"a hat\"\nminus smile", &[("plus hat", None, Some("\"a hat\""))]);
    check("minus smile", "plus smile", &[("smile", Some("minus"), Some("plus"))]);
    check("\"smile\"", "\"smiling\"", &[("smile", Some("\"smile\""), Some("\"smiling\""))]);
    check("minus smile", "minus grin", &[("name", Some("smile"), Some("grin"))]);
}

#[test]
fn what_is_no_change() {
    check("steps 30", "  steps   30 # thirty", &[]);
    check("strength 5, warmup 5", "warmup 5\n# so\nstrength 5", &[]);
    check("steps 30\n", "steps 30\n\n\n# the end\n", &[]);
    let glasses = "plus glasses \"glasses\" { strength 5, warmup 5 }\n";
    check(
        "minus smile \"smile\" { strength 4 }\n",
        &format!("minus smile \"smile\" {{ strength 4 }}\n# {glasses}"),
        &[],
    );
}
