//! Texts as trees.

#![allow(clippy::unwrap_used)]

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use proptest::prelude::*;
use sega::source::{Source, Span};
use sega::syntax::{Entry, File, ListItem, Literal, Value, parse};

/// The files of a corpus folder, in order.
pub(crate) fn corpus(folder: &str) -> Vec<(String, PathBuf)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(folder);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let named = |path: PathBuf| (path.file_stem().unwrap().to_string_lossy().into_owned(), path);
    paths.into_iter().map(named).collect()
}

/// What a tree says, without places and layout: two trees of the same meaning print the same.
pub(crate) fn meaning(file: &File) -> String {
    let mut out = String::new();
    entries(&file.entries, 0, &mut out);
    out
}

fn entries(entries: &[Entry], depth: usize, out: &mut String) {
    let indent = "  ".repeat(depth);
    for entry in entries {
        match entry {
            Entry::Blank => out.push_str("--\n"),
            Entry::Comment(comment) => writeln!(out, "{indent}{}", comment.value).unwrap(),
            Entry::Junk(_) => writeln!(out, "{indent}junk").unwrap(),
            Entry::Setting(setting) => {
                writeln!(
                    out,
                    "{indent}{} = {}{}",
                    setting.key.value,
                    values(&setting.values),
                    behind(&setting.comment)
                )
                .unwrap();
            }
            Entry::Block(block) => {
                let open = if block.closed { "" } else { " (not closed)" };
                writeln!(
                    out,
                    "{indent}{}: {}{open}{}",
                    block.kind.value,
                    values(&block.head),
                    behind(&block.open_comment)
                )
                .unwrap();
                self::entries(block.body.as_deref().unwrap_or_default(), depth + 1, out);
                if let Some(comment) = &block.comment {
                    writeln!(out, "{indent}end  {}", comment.value).unwrap();
                }
            }
        }
    }
}

fn behind(comment: &Option<sega::source::Spanned<String>>) -> String {
    comment.as_ref().map_or(String::new(), |comment| format!("  {}", comment.value))
}

fn values(all: &[Value]) -> String {
    all.iter().map(value).collect::<Vec<_>>().join(" | ")
}

fn value(value: &Value) -> String {
    let end = |end: &Option<Box<Value>>| end.as_deref().map_or(String::new(), self::value);
    match &value.value {
        Literal::Number(number) => format!("{}", number.value),
        Literal::Percent(number) => format!("{}%", number.value),
        Literal::Size(width, height) => format!("{}x{}", width.value, height.value),
        Literal::Range(from, to) => format!("{}..{}", end(from), end(to)),
        Literal::Sweep(from, to, by) => format!("{} to {} by {}", self::value(from), self::value(to), end(by)),
        Literal::Word(word) => word.clone(),
        Literal::Text(text) => {
            let (form, open) = (if text.block { "block " } else { "" }, if text.closed { "" } else { " (not closed)" });
            let bad = if text.bad_escapes.is_empty() {
                String::new()
            } else {
                format!(" ({} bad escapes)", text.bad_escapes.len())
            };
            format!("{form}{:?}{open}{bad}", text.content)
        }
        Literal::List(list) => {
            let item = |item: &ListItem| match item {
                ListItem::Value(item) => self::value(item),
                ListItem::Comment(comment) => comment.value.clone(),
            };
            let open = if list.closed { "" } else { " (not closed)" };
            format!("[{}]{open}", list.items.iter().map(item).collect::<Vec<_>>().join("; "))
        }
        Literal::Junk(text) => format!("junk {text:?}"),
    }
}

/// Every place that a tree knows of.
fn spans(all: &[Entry], out: &mut Vec<Span>) {
    for entry in all {
        match entry {
            Entry::Blank => {}
            Entry::Junk(span) => out.push(*span),
            Entry::Comment(comment) => out.push(comment.span),
            Entry::Setting(setting) => {
                out.push(setting.span);
                out.extend(setting.comment.iter().map(|comment| comment.span));
            }
            Entry::Block(block) => {
                out.push(block.span);
                out.extend(block.open_comment.iter().chain(&block.comment).map(|comment| comment.span));
                spans(block.body.as_deref().unwrap_or_default(), out);
            }
        }
    }
}

/// Every character that is no space stands in some place of the tree, except commas between entries.
fn check_covered(text: &str) {
    let file = parse(&Source::new("text", text));
    let mut places = Vec::new();
    spans(&file.entries, &mut places);
    let mut covered = vec![false; text.len()];
    for place in places {
        assert!(place.start <= place.end && text.get(place.start..place.end).is_some(), "{place:?} in {text:?}");
        covered[place.start..place.end].fill(true);
    }
    for (at, character) in text.char_indices() {
        let layout = character.is_whitespace() || character == ',' || character == '\u{feff}';
        assert!(layout || covered[at], "{character:?} at {at} of {text:?} is in no place\n{}", meaning(&file));
    }
}

#[test]
fn trees_of_the_corpus() {
    for (name, path) in corpus("syntax") {
        let text = std::fs::read_to_string(path).unwrap();
        check_covered(&text);
        insta::assert_snapshot!(format!("tree-{name}"), meaning(&parse(&Source::new(&name, text))));
    }
}

#[test]
fn places_are_exact() {
    let source = Source::new("text", "sega 1\nplus a \"é\" { strength 5.5, steps 1..2 } # c");
    let file = parse(&source);
    let Entry::Block(block) = &file.entries[1] else { panic!("{file:?}") };
    assert_eq!(source.slice(block.span), "plus a \"é\" { strength 5.5, steps 1..2 }");
    assert_eq!(source.slice(block.head[1].span), "\"é\"");
    let body = block.body.as_ref().unwrap();
    let Entry::Setting(setting) = &body[0] else { panic!("{file:?}") };
    assert_eq!(source.slice(setting.key.span), "strength");
    assert_eq!(source.slice(setting.values[0].span), "5.5");
    let Entry::Setting(setting) = &body[1] else { panic!("{file:?}") };
    assert_eq!(source.slice(setting.span), "steps 1..2");
    assert_eq!(source.slice(block.comment.as_ref().unwrap().span), "# c");
    assert_eq!(source.places().line_column(block.span.start), (2, 1));
}

/// Characters and words that the language is made of, in any order.
pub(crate) fn scraps() -> impl Strategy<Value = String> {
    let scrap = prop::sample::select(vec![
        "sega 1",
        "\n",
        "\n",
        " ",
        "  ",
        "\t",
        "\r\n",
        "plus",
        "minus",
        "hat",
        "\"",
        "\"a hat\"",
        "\"\"\"",
        "{",
        "}",
        "[",
        "]",
        ",",
        "#",
        "# c",
        "..",
        ".",
        "1",
        "2.5",
        "-",
        "95%",
        "%",
        "128x128",
        "x",
        "to",
        "by",
        "strength",
        "steps",
        "model",
        "prompt",
        "seed",
        "threshold",
        "warmup",
        "\\",
        "\\n",
        "\\u{",
        "é",
        "\u{feff}",
        "=",
        "guidance",
        "compat diffusers",
        "1 to 9 by 2",
    ]);
    prop::collection::vec(scrap, 0..60).prop_map(|scraps| scraps.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_text_is_lost(text in prop_oneof![scraps(), any::<String>()]) {
        check_covered(&text);
    }
}

/// One megabyte of anything takes about four times as long as a quarter of it, checked as a whole: parser and checker.
#[test]
fn junk_takes_no_more_than_its_length() {
    const QUARTER: usize = 250_000;
    let seconds = |text: String| {
        let source = Source::new("junk", text);
        let began = Instant::now();
        std::hint::black_box(sega::recipe::parse(&source));
        began.elapsed().as_secs_f64()
    };
    let pieces = [
        "[",
        "]",
        "{",
        "}",
        "\"",
        "\"\"\" ",
        "\\",
        "#",
        "# c\n",
        "\n",
        ",",
        "..",
        "1 to ",
        "plus ",
        "plus a \"b\" {",
        "plus a \"b\" {\n",
        "a {",
        "a [",
        "[[",
        "steps 1\n",
        "stepz 1\n",
        "plus a \"b\"\n",
        "\"\\",
        "é",
        "x",
        "1",
        "-",
        "%",
        "1x",
        "\u{feff}",
        "\r",
        "seed [1,\n",
    ];
    for piece in pieces {
        let of_length = |length: usize| piece.repeat(length / piece.len());
        // The least of three for the short one: other programs run on this machine.
        let quarter = (0..3).map(|_| seconds(of_length(QUARTER))).fold(f64::INFINITY, f64::min);
        let whole = seconds(of_length(4 * QUARTER));
        eprintln!("{piece:?} {quarter:.2} {whole:.2}");
        assert!(whole <= 12.0 * quarter + 0.05, "{piece:?}: {quarter:.3} s for a quarter, {whole:.3} s for a megabyte");
    }
}
