//! The canonical form and its laws.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use sega::source::Source;
use sega::syntax::format::format;
use sega::syntax::{Entry, File, ListItem, Literal, parse};

use crate::syntax::{corpus, meaning, scraps};

fn tree(text: &str) -> File {
    parse(&Source::new("text", text))
}

/// All comments in their order.
fn comments(entries: &[Entry], out: &mut Vec<String>) {
    for entry in entries {
        match entry {
            Entry::Comment(comment) => out.push(comment.value.clone()),
            Entry::Setting(setting) => {
                for value in &setting.values {
                    if let Literal::List(list) = &value.value {
                        out.extend(list.items.iter().filter_map(|item| match item {
                            ListItem::Comment(comment) => Some(comment.value.clone()),
                            ListItem::Value(_) => None,
                        }));
                    }
                }
                out.extend(setting.comment.iter().map(|comment| comment.value.clone()));
            }
            Entry::Block(block) => {
                out.extend(block.open_comment.iter().map(|comment| comment.value.clone()));
                comments(block.body.as_deref().unwrap_or_default(), out);
                out.extend(block.comment.iter().map(|comment| comment.value.clone()));
            }
            Entry::Blank | Entry::Junk(_) => {}
        }
    }
}

/// The laws: the same meaning, the same comments, and formatting again changes nothing. Whether it could be formatted.
fn check(text: &str) -> bool {
    let before = tree(text);
    let Ok(formatted) = format(&before) else { return false };
    let after = tree(&formatted);
    assert_eq!(meaning(&before), meaning(&after), "{text:?} became\n{formatted}");
    assert_eq!(format(&after).as_ref(), Ok(&formatted), "formatting {text:?} twice");
    let (mut was, mut is) = (Vec::new(), Vec::new());
    comments(&before.entries, &mut was);
    comments(&after.entries, &mut is);
    assert_eq!(was, is);
    assert!(formatted.is_empty() || formatted.ends_with('\n') && !formatted.contains('\r'));
    assert!(
        formatted.lines().all(|line| line.trim_end() == line || line.contains('"')),
        "spaces at an end:\n{formatted}"
    );
    true
}

#[test]
fn canonical_forms_of_the_corpus() {
    for (name, path) in corpus("syntax") {
        let text = std::fs::read_to_string(path).unwrap();
        let formatted = match format(&tree(&text)) {
            Ok(formatted) => formatted,
            Err(broken) => {
                let (line, column) = Source::new(&name, &text).places().line_column(broken.span.start);
                format!("refused at {line}:{column}\n")
            }
        };
        check(&text);
        insta::assert_snapshot!(format!("canonical-{name}"), formatted);
    }
}

#[test]
fn the_recipe_stays_the_same() {
    for (_, path) in corpus("check") {
        let text = std::fs::read_to_string(path).unwrap();
        if check(&text) {
            let recipe = |text: &str| sega::recipe::parse(&Source::new("text", text)).recipe;
            assert_eq!(recipe(&text), recipe(&format(&tree(&text)).unwrap()));
        }
    }
}

fn blanks() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![" ", "  ", "\t"])
}

fn comment() -> impl Strategy<Value = String> {
    "[ a-z\"{}#é]{0,12}".prop_map(|text| format!("#{text}"))
}

fn trailing() -> impl Strategy<Value = String> {
    prop_oneof![3 => Just(String::new()), 1 => comment().prop_map(|comment| format!("  {comment}"))]
}

fn quoted() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ a-zA-Z,.#{}\\[\\]é]{0,30}".prop_map(|text| format!("\"{text}\"")),
        Just(r#""say \"hi\" \\ \n\t \u{1F600}""#.to_owned()),
        prop::collection::vec("[ ]{0,3}[a-z \"#]{0,12}[a-z]?", 0..4)
            .prop_map(|lines| format!("\"\"\"\n{}\n\"\"\"", lines.join("\n").replace("\"\"", "'"))),
    ]
}

fn plain_value() -> impl Strategy<Value = String> {
    prop_oneof![
        quoted(),
        prop::sample::select(vec![
            "5",
            "-4",
            "+2",
            ".5",
            "0.25",
            "1e-3",
            "95%",
            "128x192",
            "1..2",
            "..5",
            "5%..",
            "..",
            "ddim",
            "1 to 9",
            "1 to 9 by 2"
        ])
        .prop_map(str::to_owned),
    ]
}

fn list() -> impl Strategy<Value = String> {
    let item = (
        prop::sample::select(vec!["1", "22", "3 to 5"]),
        prop::sample::select(vec![", ", ",\n", "\n", " # c\n", ",\n  # own\n"]),
    );
    prop::collection::vec(item, 0..40).prop_map(|items| {
        let items: String = items.iter().map(|(value, separator)| format!("{value}{separator}")).collect();
        format!("[{items}]")
    })
}

fn setting() -> impl Strategy<Value = String> {
    let key = prop::sample::select(vec!["sega", "model", "prompt", "scheduler", "strength", "a_very_long_setting"]);
    (key, blanks(), prop_oneof![4 => plain_value(), 1 => list()])
        .prop_map(|(key, blank, value)| format!("{key}{blank}{value}"))
}

fn block() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        4 => (blanks(), setting(), trailing()).prop_map(|(blank, setting, comment)| format!("{blank}{setting}{comment}\n")),
        1 => comment().prop_map(|comment| format!("  {comment}\n")),
        1 => Just("\n".to_owned()),
        1 => (setting(), setting()).prop_map(|(a, b)| format!("  {a}, {b},\n")),
    ];
    let body = prop_oneof![
        Just(String::new()),
        setting().prop_map(|setting| format!(" {{ {setting} }}")),
        (trailing(), prop::collection::vec(line, 0..5))
            .prop_map(|(comment, lines)| format!(" {{{comment}\n{}}}", lines.concat())),
    ];
    (prop::sample::select(vec!["plus", "minus"]), "[a-z]{1,8}", quoted(), body)
        .prop_map(|(kind, name, text, body)| format!("{kind} {name} {text}{body}"))
}

fn recipe() -> impl Strategy<Value = String> {
    let entry = prop_oneof![
        (setting(), trailing()).prop_map(|(setting, comment)| format!("{setting}{comment}\n")),
        (block(), trailing()).prop_map(|(block, comment)| format!("{block}{comment}\n")),
        comment().prop_map(|comment| format!("{comment}\n")),
        Just("\n".to_owned()),
        Just("  \n\n".to_owned()),
    ];
    (prop::collection::vec(entry, 0..8), any::<bool>()).prop_map(|(entries, windows)| {
        let text = entries.concat();
        if windows { text.replace('\n', "\r\n") } else { text }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn well_formed_recipes_keep_the_laws(text in recipe()) {
        prop_assert!(check(&text), "refused: {text:?}");
    }

    #[test]
    fn any_text_keeps_the_laws_or_is_refused(text in prop_oneof![scraps(), any::<String>()]) {
        check(&text);
    }
}
