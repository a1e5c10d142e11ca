//! Explanations of settings, blocks, commands and codes.

use sega::diagnostic::Code;
use sega::recipe::explain::{Explanation, explain};
use sega::recipe::fields::FIELDS;

const COMMANDS: &[(&str, &str)] = &[("run", "renders a recipe"), ("check", "says what is wrong with a recipe")];

fn texts(word: &str) -> String {
    let found = explain(word, COMMANDS).unwrap_or_else(|error| panic!("{error}"));
    found.iter().map(Explanation::to_text).collect::<Vec<_>>().join("\n")
}

#[test]
fn explanations() {
    for word in [
        "threshold",
        "steps",
        "glasses.steps",
        "momentum",
        "plus",
        "minus",
        "run",
        "E0306",
        "w0501",
        "settings",
        "codes",
        "commands",
        "karras",
        "model",
        "seed",
    ] {
        insta::with_settings!({ snapshot_path => "snapshots/explain", prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(word, texts(word));
        });
    }
}

#[test]
fn everything_is_explained_within_80_columns() {
    let fields = FIELDS.iter().map(|field| field.key);
    let codes = Code::ALL.iter().map(|code| code.as_str());
    for word in fields.chain(codes).chain(["plus", "minus", "run", "settings", "codes"]) {
        let text = texts(word);
        assert!(text.lines().all(|line| line.chars().count() <= 80 && line.trim_end() == line), "{text}");
        for explanation in explain(word, COMMANDS).unwrap() {
            let json = explanation.to_json();
            assert_eq!(json["word"], explanation.word.as_str());
            assert_eq!(json.as_object().unwrap().len(), explanation.parts.len() + 3, "{json}");
        }
    }
}

#[test]
fn unknown_words_have_suggestions() {
    let suggestion = |word: &str| explain(word, COMMANDS).unwrap_err().suggestion;
    assert_eq!(suggestion("strenght").as_deref(), Some("strength"));
    assert_eq!(suggestion("glasses.treshold").as_deref(), Some("threshold"));
    assert_eq!(suggestion("cfg_scale").as_deref(), Some("guidance"));
    assert_eq!(suggestion("remove").as_deref(), Some("minus"));
    assert_eq!(suggestion("chek").as_deref(), Some("check"));
    assert_eq!(suggestion("xylophone"), None);
    let error = explain("strenght", COMMANDS).unwrap_err();
    assert_eq!(error.to_string(), "there is nothing to explain about `strenght`; did you mean `strength`?");
}
