//! Random texts that are right in form: every kind of value, odd spacing, comments wherever they may stand.

use proptest::collection::vec;
use proptest::prelude::*;

type Texts = BoxedStrategy<String>;

fn pick(choices: &'static [&'static str]) -> Texts {
    prop::sample::select(choices).prop_map(str::to_owned).boxed()
}

/// Texts one after another.
fn chain<const N: usize>(parts: [Texts; N]) -> Texts {
    Vec::from(parts).prop_map(|parts| parts.concat()).boxed()
}

fn maybe(text: Texts) -> Texts {
    prop_oneof![Just(String::new()), text].boxed()
}

fn text(text: &'static str) -> Texts {
    Just(text.to_owned()).boxed()
}

fn gap() -> Texts {
    pick(&[" ", " ", "  ", "\t", "          "])
}

fn space() -> Texts {
    pick(&["", "", " ", "\t "])
}

fn newline() -> Texts {
    pick(&["\n", "\n", "\r\n"])
}

fn comment() -> Texts {
    "#[^\r\n]{0,10}".boxed()
}

fn word() -> Texts {
    prop_oneof![pick(&["sega", "strength", "to", "by", "dpmpp-2m", "größe", "plus"]), "[a-z_][a-z0-9_+/.-]{0,10}"]
        .boxed()
}

fn number() -> Texts {
    "[+-]?([0-9]{1,4}(\\.[0-9]{1,3})?|\\.[0-9]{1,3})([eE][+-]?[0-9]{1,2})?".boxed()
}

fn share_or_number() -> Texts {
    prop_oneof![number(), chain([number(), text("%")])].boxed()
}

fn string() -> Texts {
    let pieces = prop_oneof![
        "[^\"\\\\\r\n]{0,6}",
        pick(&["\\\"", "\\\\", "\\n", "\\r", "\\t", "\\u{41}", "\\u{1F600}", "\\u{0}"])
    ];
    let long = prop_oneof![9 => vec(pieces.clone(), 0..4), 1 => vec(pieces, 10..30)];
    let line = long.prop_map(|pieces| format!("\"{}\"", pieces.concat()));
    let pieces = pick(&[
        "a", "b c", " ", "\t", "\n", "\n", "\n  ", "\n    ", "\r\n", "\"", "\\\"", "\\\\", "\\n", "\\u{20}", "#", "é",
    ]);
    let block = vec(pieces, 0..10).prop_map(|pieces| {
        let mut content = pieces.concat();
        // Quotes that would end the text early.
        while content.contains("\"\"") {
            content = content.replace("\"\"", "\"");
        }
        format!("\"\"\"{}\"\"\"", content.trim_end_matches(['"', '\\']))
    });
    prop_oneof![line, block].boxed()
}

fn simple() -> Texts {
    let range = chain([maybe(share_or_number()), text(".."), maybe("[0-9]{1,3}%?".boxed())]);
    let size = chain([number(), text("x"), number()]);
    let by = chain([gap(), text("by"), gap(), share_or_number()]);
    let sweep = chain([share_or_number(), gap(), text("to"), gap(), share_or_number(), maybe(by)]);
    prop_oneof![share_or_number(), word(), string(), range, size, sweep].boxed()
}

fn list(item: Texts) -> Texts {
    let line_end = chain([space(), maybe(comment()), newline(), space()]);
    let free = prop_oneof![3 => space(), 1 => line_end].boxed();
    let items = vec((free.clone(), item, free.clone()), 0..6);
    (items, any::<bool>(), free)
        .prop_map(|(items, trailing_comma, end)| {
            let count = items.len();
            let comma = |at: usize| if at + 1 < count || trailing_comma { "," } else { "" };
            let items = items.into_iter().enumerate();
            let items: String =
                items.map(|(at, (before, item, after))| format!("{before}{item}{after}{}", comma(at))).collect();
            // Words at the start of a line could begin a setting, if nothing indents them.
            format!("[{items}{end}]").replace('\n', "\n ")
        })
        .boxed()
}

fn value() -> Texts {
    let nested = list(prop_oneof![3 => simple(), 1 => list(simple())].boxed());
    prop_oneof![5 => simple(), 1 => list(number()), 1 => nested].boxed()
}

fn setting() -> Texts {
    let more = chain([gap(), value()]);
    let more = prop_oneof![6 => text(""), 1 => more].boxed();
    chain([word(), gap(), value(), more])
}

fn settings() -> Texts {
    let comma = chain([space(), text(","), space()]);
    let more = vec(chain([comma.clone(), setting()]), 0..3).prop_map(|more| more.concat());
    chain([setting(), more.boxed(), maybe(comma)])
}

fn block() -> Texts {
    let head = chain([pick(&["plus", "minus", "blend"]), gap(), word(), gap(), string()]);
    let indent = chain([gap(), space()]);
    let body_line = prop_oneof![
        4 => chain([indent.clone(), settings(), space(), maybe(comment())]),
        1 => chain([indent, comment()]),
        1 => space(),
    ];
    let body_line = chain([body_line.boxed(), newline()]);
    let lines = vec(body_line, 0..5).prop_map(|lines| lines.concat());
    let open = chain([space(), maybe(comment()), newline()]);
    let long = chain([head.clone(), space(), text("{"), open, lines.boxed(), space(), text("}")]);
    let short = chain([head.clone(), space(), text("{"), space(), maybe(settings()), space(), text("}")]);
    prop_oneof![head, long, short].boxed()
}

/// A recipe with entries of every kind.
pub(crate) fn recipe() -> Texts {
    let line = prop_oneof![
        4 => chain([space(), settings(), space(), maybe(comment())]),
        3 => chain([block(), space(), maybe(text(",")), space(), maybe(comment())]),
        1 => chain([space(), comment()]),
        2 => space(),
    ];
    let line = chain([line.boxed(), newline()]);
    let lines = vec(line, 0..8).prop_map(|lines| lines.concat());
    chain([maybe(text("\u{FEFF}")), lines.boxed(), maybe(setting())])
}
