//! From text to tree: examples with their trees, and what holds for every text whatsoever.

#![allow(clippy::unwrap_used)]

#[path = "syntax/outline.rs"]
pub(crate) mod outline;

use std::path::Path;
use std::time::Duration;

use cpu_time::ThreadTime;
use proptest::prelude::*;
use sega::source::{Source, Span};
use sega::syntax::{self, Block, Entry, ListItem, Literal, Value};

/// The texts of the corpus with their names.
pub(crate) fn corpus() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/syntax");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let name = |path: &Path| path.file_stem().unwrap().to_string_lossy().into_owned();
    let texts: Vec<_> = paths.iter().map(|path| (name(path), std::fs::read_to_string(path).unwrap())).collect();
    assert!(!texts.is_empty());
    texts
}

#[test]
fn trees_of_the_corpus() {
    for (name, text) in corpus() {
        let source = Source::new(&name, text);
        let tree = syntax::parse(&source);
        check_places(&source);
        let snapshot = format!("{}\n----\n{}", source.text, outline::with_places(&tree, &source));
        insta::assert_snapshot!(format!("tree_{name}"), snapshot);
    }
}

#[test]
fn line_ends_and_a_byte_order_mark_do_not_matter() {
    for (name, text) in corpus() {
        let unix = Source::new(&name, text.trim_start_matches('\u{FEFF}').replace("\r\n", "\n"));
        let windows = Source::new(&name, format!("\u{FEFF}{}", unix.text.replace('\n', "\r\n")));
        check_places(&windows);
        let (unix, windows) = (syntax::parse(&unix), syntax::parse(&windows));
        assert_eq!(outline::meaning(&unix), outline::meaning(&windows), "{name}");
    }
}

/// Every character that is no blank lies in a place of the tree, and places neither overlap nor lie out of order.
/// Only commas, braces, and a byte order mark have no place of their own.
pub(crate) fn check_places(source: &Source) {
    let mut places = Vec::new();
    entries(&syntax::parse(source).entries, &mut places);
    let mut covered = 0;
    for place in places {
        assert!(covered <= place.start && place.start < place.end, "{place:?} in {:?}", source.text);
        assert_unplaced(source, Span::new(covered, place.start));
        assert!(!source.slice(place).is_empty(), "{place:?} cuts a character of {:?}", source.text);
        covered = place.end;
    }
    assert_unplaced(source, Span::new(covered, source.text.len()));
}

/// Checks that a stretch without a place holds nothing that should have one.
fn assert_unplaced(source: &Source, span: Span) {
    let stretch = source.slice(span);
    let stretch = if span.start == 0 { stretch.trim_start_matches('\u{FEFF}') } else { stretch };
    let lost = stretch.contains(|character: char| !character.is_whitespace() && !",{}".contains(character));
    assert!(!lost, "{stretch:?} has no place in {:?}", source.text);
}

/// The places of the smallest parts.
fn entries(list: &[Entry], places: &mut Vec<Span>) {
    for entry in list {
        match entry {
            Entry::Blank => {}
            Entry::Junk(span) => places.push(*span),
            Entry::Comment(comment) => places.push(comment.span),
            Entry::Setting(setting) => {
                places.push(setting.key.span);
                values(&setting.values, places);
                let last = setting.values.last().map_or(setting.key.span, |value| value.span);
                assert_eq!(setting.span, setting.key.span.to(last));
                places.extend(setting.comment.iter().map(|comment| comment.span));
            }
            Entry::Block(block) => {
                block_places(block, places);
                places.extend(block.comment.iter().map(|comment| comment.span));
            }
        }
    }
}

fn block_places(block: &Block, places: &mut Vec<Span>) {
    let first = places.len();
    places.push(block.kind.span);
    values(&block.head, places);
    places.extend(block.open_comment.iter().map(|comment| comment.span));
    entries(block.body.as_deref().unwrap_or_default(), places);
    let inside = &places[first..];
    assert!(inside.iter().all(|place| block.span.start <= place.start && place.end <= block.span.end));
}

fn values(list: &[Value], places: &mut Vec<Span>) {
    for value in list {
        let Literal::List(items) = &value.value else {
            places.push(value.span);
            continue;
        };
        places.push(Span::new(value.span.start, value.span.start + 1));
        for item in &items.items {
            match item {
                ListItem::Value(item) => values(std::slice::from_ref(item), places),
                ListItem::Comment(comment) => places.push(comment.span),
            }
        }
        let end = Span::new(value.span.end - 1, value.span.end);
        if items.closed {
            places.push(end);
        }
        assert!(places.iter().rev().take(items.items.len() + 1).all(|place| place.end <= value.span.end));
    }
}

/// Texts of the language's characters in any order, and texts of any characters.
pub(crate) fn any_text() -> impl Strategy<Value = String> {
    let pieces = [
        "plus ",
        "minus a \"b\" ",
        "{",
        "}",
        "[",
        "]",
        ",",
        "#c",
        "# c {\n",
        "\"",
        "\"\"\"",
        "\n",
        "\n\n",
        "\r\n",
        "\r",
        " ",
        "\t",
        "1",
        "-.5",
        "12x8",
        "5%",
        "..",
        "%",
        "x",
        " to ",
        " by ",
        "word",
        "seed 1\n",
        "text \"a\"",
        "\\",
        "\\n",
        "\\u{41}",
        "é",
        "\u{FEFF}",
        "\u{a0}",
        "\0",
        "=",
        "1 to 9 by 2",
        "[1, 2]",
        "a-b",
        "\"a\"",
    ];
    let soup = prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..40).prop_map(|pieces| pieces.concat());
    prop_oneof![8 => soup, 1 => any::<String>(), 1 => "[ -~\n]{0,80}"]
}

proptest! {
    #![proptest_config(crate::cases::cases(3000))]
    #[test]
    fn every_text_has_a_tree_that_covers_it(text in any_text()) {
        check_places(&Source::new("any", text));
    }
}

/// How long a text takes to parse and to format.
fn time(source: &Source) -> Duration {
    let start = ThreadTime::now();
    let tree = syntax::parse(source);
    let formatted = syntax::format::format(&tree, source);
    drop((tree, formatted));
    start.elapsed()
}

#[test]
fn time_is_linear_for_any_junk() {
    const SMALL: usize = 16 * 1024;
    const LARGE: usize = 128 * 1024;
    // Linear is 8; a square law would be 64.
    const FACTOR: u32 = 28;
    let mut state = 1_u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    let noise: Vec<u8> = (0..LARGE).map(|_| random()).collect();
    let noise = String::from_utf8_lossy(&noise).into_owned();
    let units = [
        "[",
        "]",
        "{",
        "}",
        "\"",
        "\"\"\"",
        "\"\"\"\n",
        "#",
        "# \n",
        ",",
        ", ",
        "..",
        ".",
        "1",
        "1..",
        "-",
        "%",
        "1x",
        "\\",
        "\"\\",
        "\n",
        " ",
        "\r",
        "a",
        "a ",
        "a\n",
        "é",
        "plus ",
        "plus {",
        "plus a \"b\" {",
        "plus a \"b\" {\n",
        "a [",
        "a [\n",
        "a [1] ",
        "[ [] ",
        "[{",
        "{ [",
        "{ }",
        "1 to ",
        "a 1 to 9 by ",
        "a 1, ",
        "a {}\n",
        "a\"\"",
        "a \"\"\"\n x\"\"\"",
        "x 1 # c\n",
        "[1, # c\n",
        "= {\n",
        "\u{FEFF}",
    ];
    let units = units.into_iter().chain([noise.as_str()]);
    for unit in units {
        let prefix = |bytes: usize| match unit.len() > bytes {
            true => Source::new("prefix", unit.chars().take(bytes / 2).collect::<String>()),
            false => Source::new("repeated", unit.repeat(bytes / unit.len())),
        };
        let (small, large) = (prefix(SMALL), prefix(LARGE));
        // The thread's own time does not count what else the machine does; its caches are still shared, so that the
        // shortest of a few runs counts.
        let (mut short, mut long) = (Duration::MAX, Duration::MAX);
        let linear = (0..10).any(|_| {
            short = short.min(time(&small));
            long = long.min(time(&large));
            long < short * FACTOR
        });
        assert!(linear, "{:?}: {short:?} and {long:?}", unit.chars().take(20).collect::<String>());
    }
}

#[test]
fn a_megabyte_of_openings_is_no_deep_tree() {
    const SIZE: usize = 1024 * 1024;
    for unit in ["[", "{", "a {", "a [", "\"\"\"", "= {"] {
        let source = Source::new("deep", unit.repeat(SIZE / unit.len()));
        // A stack that a recursion over the text would overflow.
        let parse = move || drop(syntax::parse(&source).clone());
        std::thread::Builder::new().stack_size(512 * 1024).spawn(parse).unwrap().join().unwrap();
    }
}
