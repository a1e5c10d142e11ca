//! Weights in texts, as AUTOMATIC1111's web interface defines them.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use sega::model::emphasis::{Fragment, fragments};

/// `text` weighs its parts so: `word*1.1 other*1`.
fn check(text: &str, wanted: &[(&str, f64)]) {
    let found: Vec<(String, f64)> = fragments(text)
        .into_iter()
        .map(|fragment| match fragment {
            Fragment::Text(text, weight) => (text, weight),
            Fragment::Break => ("BREAK".to_owned(), -1.0),
        })
        .collect();
    let texts: Vec<&str> = found.iter().map(|(text, _)| text.as_str()).collect();
    assert_eq!(texts, wanted.iter().map(|(text, _)| *text).collect::<Vec<_>>(), "{text}");
    for ((part, ours), (_, theirs)) in found.iter().zip(wanted) {
        assert!((ours - theirs).abs() < 1e-9, "{text}: `{part}` weighs {ours}, not {theirs}");
    }
}

/// The examples in the documentation of that program's own parser, and its edges.
#[test]
fn weights() {
    check("normal text", &[("normal text", 1.0)]);
    check("an (important) word", &[("an ", 1.0), ("important", 1.1), (" word", 1.0)]);
    check("(unbalanced", &[("unbalanced", 1.1)]);
    check("\\(literal\\]", &[("(literal]", 1.0)]);
    check("(unnecessary)(parens)", &[("unnecessaryparens", 1.1)]);
    check(
        "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).",
        &[
            ("a ", 1.0),
            ("house", 1.573),
            (" ", 1.1),
            ("on", 1.0),
            (" a ", 1.1),
            ("hill", 0.55),
            (", sun, ", 1.1),
            ("sky", 1.4641),
            (".", 1.1),
        ],
    );
    check("", &[("", 1.0)]);
    check("()", &[("", 1.0)]);
    check("a ) b ] c", &[("a ) b ] c", 1.0)]);
    check("time 12:30, ratio :2)", &[("time 12:30, ratio :2)", 1.0)]);
    check("(a: 1.5 )", &[("a", 1.5)]);
    check("(a:b)", &[("a:b", 1.1)]);
    check("[[a]]", &[("a", 1.0 / 1.21)]);
    check("back\\slash", &[("back\\slash", 1.0)]);
    check("a (b BREAK c) d", &[("a ", 1.0), ("b", 1.1), ("BREAK", -1.0), ("c", 1.1), (" d", 1.0)]);
    check("BREAKFAST, a BREAK", &[("BREAKFAST, a", 1.0), ("BREAK", -1.0)]);
}

proptest! {
    #![proptest_config(crate::cases::cases(256))]

    #[test]
    fn no_text_panics_and_none_is_lost(text in "[a-c()\\[\\]:.0-2\\\\é BREAK]{0,40}") {
        let kept: String = fragments(&text)
            .into_iter()
            .map(|fragment| match fragment {
                Fragment::Text(text, weight) => {
                    assert!(weight.is_finite());
                    text
                }
                Fragment::Break => String::new(),
            })
            .collect();
        let letters = |text: &str| text.replace("BREAK", "").chars().filter(|char| "abcé".contains(*char)).count();
        prop_assert_eq!(letters(&kept), letters(&text));
    }
}
