//! The checker: every file of `corpus/check` against the messages that it gives.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::PathBuf;

use proptest::prelude::*;
use sega::diagnostic::{Code, Diagnostic, Severity, render, to_json};
use sega::quantity::Seed;
use sega::recipe::{self, Checked, Recipe, fields::FIELDS, fields::Level};
use sega::source::Source;

fn corpus() -> Vec<Source> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/check");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "sega"));
    files.sort();
    let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
    files.iter().map(|path| Source::new(name(path), std::fs::read_to_string(path).unwrap())).collect()
}

fn check(text: &str) -> Checked {
    recipe::parse(&Source::new("test.sega", text))
}

fn found(text: &str) -> Vec<Diagnostic> {
    check(text).diagnostics.map_or_else(Vec::new, |all| all.into_iter().collect())
}

fn codes(text: &str) -> Vec<Code> {
    found(text).iter().map(|diagnostic| diagnostic.code).collect()
}

/// A fragment with the lines that every recipe needs.
fn complete(fragment: &str) -> String {
    let has = |key: &str| fragment.lines().any(|line| line.starts_with(key));
    let mut text = String::new();
    if fragment.starts_with("sega") || has("sega") {
        return fragment.to_owned();
    }
    for (key, line) in [("sega", "sega 1\n"), ("model", "model \"mini\"\n"), ("prompt", "prompt \"a cat\"\n")] {
        if !has(key) {
            text += line;
        }
    }
    text + fragment + "\n"
}

fn recipe_of(text: &str) -> Recipe {
    let source = Source::new("test.sega", text);
    let checked = recipe::parse(&source);
    let messages = checked.diagnostics.as_ref().map(|all| render(all, &source, false, 100)).unwrap_or_default();
    checked.recipe.unwrap_or_else(|| panic!("{text}\n{messages}"))
}

#[test]
fn messages() {
    for source in corpus() {
        let checked = recipe::parse(&source);
        let rendered = checked.diagnostics.as_ref().map_or_else(String::new, |all| render(all, &source, false, 100));
        let summary = checked.diagnostics.as_ref().map_or_else(|| "nothing".to_owned(), ToString::to_string);
        insta::with_settings!({ prepend_module_to_snapshot => false, snapshot_path => "snapshots/check", omit_expression => true }, {
            insta::assert_snapshot!(source.name.trim_end_matches(".sega"), format!("{summary}\n\n{rendered}"));
        });
    }
}

#[test]
fn ten_mistakes_are_ten_diagnostics() {
    let source = corpus().into_iter().find(|source| source.name == "ten-mistakes.sega").unwrap();
    let checked = recipe::parse(&source);
    assert!(checked.recipe.is_none());
    let all = checked.diagnostics.unwrap();
    let seen: Vec<(&str, Code, bool)> = all
        .iter()
        .map(|one| (source.slice(one.span()), one.code, one.help.as_ref().is_some_and(|help| !help.is_empty())))
        .collect();
    assert_eq!(
        seen,
        [
            ("guidence", Code::UnknownSetting, true),
            ("130x128", Code::BadSize, true),
            ("dpm++ 2m", Code::UnknownWord, true),
            ("strength", Code::WrongLevel, true),
            ("95", Code::BareShare, true),
            ("warmup    6", Code::RepeatedSetting, true),
            ("-4", Code::Negative, true),
            ("10", Code::NotARange, true),
            ("\"curly hair\"", Code::MissingName, true),
            ("add", Code::UnknownBlock, true),
        ]
    );
    for (at, repair) in [
        (0, "`guidance`"),
        (1, "`size 128x128`"),
        (2, "`scheduler dpmpp-2m`"),
        (4, "`threshold 95%`"),
        (6, "`plus` instead of `minus`"),
        (7, "`steps 10..`"),
        (8, "`plus curly-hair \"curly hair\"`"),
        (9, "`plus`"),
    ] {
        let help = all.as_slice()[at].help.clone().unwrap();
        assert!(help.contains(repair), "{help}");
    }
}

/// The lines of `corpus/check/repairs.txt` in a recipe: wrong, the repair as help has it, and repaired.
fn repairs() -> impl Iterator<Item = (String, &'static str, String)> {
    let lines =
        include_str!("corpus/check/repairs.txt").lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.map(|line| {
        let (wrong, right) = line.split_once(" => ").unwrap();
        let place = |text: &str| match wrong.starts_with(". ") {
            true => complete(&format!("plus smile \"smile\" {{\n{}\n}}", text.trim_start_matches(". "))),
            false => complete(&text.replace(" / ", "\n")),
        };
        (place(wrong), right, place(right))
    })
}

fn errors(text: &str) -> Vec<Diagnostic> {
    found(text).into_iter().filter(|one| one.severity() == Severity::Error).collect()
}

#[test]
fn repairs_of_single_mistakes_pass() {
    for (wrong, repair, right) in repairs() {
        let said = found(&wrong);
        let [Diagnostic { help: Some(help), .. }] = &said[..] else { panic!("{wrong}: {said:?}") };
        assert!(help.contains(&format!("`{repair}`")), "{wrong}: {help}");
        assert_eq!(errors(&right), [], "{right}");
    }
}

/// Whatever a help text has between back-ticks and is a setting or a concept, passes where it may stand.
fn help_passes(help: &str) {
    for literal in help.split('`').skip(1).step_by(2) {
        let key = literal.split(' ').next().unwrap_or_default();
        let is_line = FIELDS.iter().any(|field| field.key == key) || matches!(key, "plus" | "minus");
        if is_line && literal.contains(' ') && !literal.starts_with("sega") && !literal.ends_with('{') {
            // A line that sets `model` as well sets it again here.
            let wrong = |text: &str| errors(text).iter().any(|one| one.code != Code::RepeatedSetting);
            let inner = complete(&format!("plus a \"a\" {{ {literal} }}"));
            assert!(!wrong(&complete(literal)) || !wrong(&inner), "{literal}: {help}");
        }
    }
}

#[test]
fn what_help_says_to_write_passes() {
    let texts = corpus().into_iter().map(|source| source.text).chain(repairs().map(|(wrong, ..)| wrong));
    // What follows would be a comment.
    let commented = ["Steps: {momentum cooldown =#strength sega 1\n", "cooldown: 5#7"].map(str::to_owned);
    for help in texts.chain(commented).flat_map(|text| found(&text)).filter_map(|one| one.help) {
        help_passes(&help);
    }
}

#[test]
fn help_for_any_value_of_any_setting_passes() {
    let values = include_str!("corpus/check/forms.txt").lines();
    let keys = FIELDS.iter().map(|field| field.key).chain(["cfg scale", "Sampler", "width", "cooldown", "strenght"]);
    for (key, value) in keys.flat_map(|key| values.clone().map(move |value| (key, value))) {
        for line in [" ", "=", ": "].map(|sign| format!("{key}{sign}{value}")) {
            for text in [complete(&line), complete(&format!("plus a \"a\" {{\n{line}\n}}"))] {
                found(&text).iter().filter_map(|one| one.help.as_ref()).for_each(|help| help_passes(help));
            }
        }
    }
}

/// A list that names a great many seeds is counted, not kept.
#[test]
fn too_many_seeds_take_no_room() {
    let text = complete(&format!("seed [{}]", "0 to 9999, ".repeat(50_000)));
    let said = found(&text);
    assert_eq!(said.iter().map(|one| one.message.as_str()).collect::<Vec<_>>(), ["500000000 seeds are too many"]);
}

/// All codes but the one that needs a model: tests of the commands have that.
fn checked_codes() -> impl Iterator<Item = &'static Code> {
    Code::ALL.iter().filter(|code| **code != Code::UnfitForModel)
}

#[test]
fn every_code_is_in_the_corpus() {
    let seen: BTreeSet<Code> = corpus()
        .iter()
        .filter_map(|source| recipe::parse(source).diagnostics)
        .flat_map(|all| all.into_iter().map(|one| one.code))
        .collect();
    let missing: Vec<&Code> = checked_codes().filter(|code| !seen.contains(code)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn codes_are_unique_and_say_how_grave_they_are() {
    let words: BTreeSet<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(words.len(), Code::ALL.len());
    for code in Code::ALL {
        assert_eq!(code.as_str().starts_with('W'), code.severity() == Severity::Warning);
        assert_eq!(Code::from_name(&code.as_str().to_lowercase()), Some(*code));
    }
}

#[test]
fn examples_of_codes_have_that_mistake_and_its_repair() {
    for code in checked_codes() {
        assert_eq!(codes(&complete(code.wrong())), [*code], "{}", code.wrong());
        assert_eq!(codes(&complete(code.right())), [], "{}", code.right());
    }
}

#[test]
fn examples_of_settings_are_clean() {
    for field in FIELDS {
        let top = field.place.allows(Level::Recipe);
        let inner = field.place.allows(Level::Concept);
        if top && !field.required {
            let fragment = if field.key == "eta" {
                format!("scheduler ddim\n{}", field.example)
            } else {
                field.example.to_owned()
            };
            assert_eq!(found(&complete(&fragment)), [], "{}", field.example);
        }
        if inner {
            let block = format!("plus smile \"smile\" {{ {} }}", field.example);
            assert_eq!(found(&complete(&block)), [], "{}", field.example);
        }
    }
    let required: Vec<&str> = FIELDS.iter().filter(|field| field.required).map(|field| field.example).collect();
    assert_eq!(found(&required.join("\n")), []);
}

#[test]
fn defaults_are_those_that_help_names() {
    let recipe = recipe_of(&complete("plus smile \"smile\""));
    let concept = &recipe.concepts[0];
    let default = |key: &str, level: Level| sega::recipe::fields::Field::find(key, level).unwrap().default();
    assert_eq!(default("steps", Level::Recipe), recipe.steps.get().to_string());
    assert_eq!(default("guidance", Level::Recipe), recipe.guidance.to_string());
    assert_eq!(default("strength", Level::Concept), concept.strength.to_string());
    assert_eq!(default("threshold", Level::Concept), format!("{}%", concept.threshold.get() * 100.0));
    assert_eq!(default("momentum", Level::Concept), concept.momentum.to_string());
    assert_eq!(default("beta", Level::Concept), concept.beta.to_string());
    assert_eq!(default("weight", Level::Concept), concept.weight.to_string());
    assert_eq!(default("warmup", Level::Concept), "10");
}

#[test]
fn settings_of_the_recipe_are_defaults_of_concepts() {
    let recipe = recipe_of(&complete("plus a \"a\"\nplus b \"b\" { momentum 70%, beta 0 }\nmomentum 0.3\nbeta 0.6"));
    let momenta: Vec<f64> = recipe.concepts.iter().map(|concept| concept.momentum.get()).collect();
    let betas: Vec<f64> = recipe.concepts.iter().map(|concept| concept.beta.get()).collect();
    assert_eq!((momenta, betas), (vec![0.3, 0.7], vec![0.6, 0.0]));
}

#[test]
fn seeds_are_numbers_lists_and_sweeps() {
    let seeds = |value: &str| recipe_of(&complete(&format!("seed {value}"))).seeds;
    let of = |numbers: &[u64]| numbers.iter().copied().map(Seed).collect::<Vec<_>>();
    assert_eq!(recipe_of(&complete("")).seeds, []);
    assert_eq!(seeds("18446744073709551615"), of(&[u64::MAX]));
    assert_eq!(seeds("[3, 1]"), of(&[3, 1]));
    assert_eq!(seeds("1 to 9 by 2"), of(&[1, 3, 5, 7, 9]));
    assert_eq!(seeds("1 to 6 by 2"), of(&[1, 3, 5]));
    assert_eq!(seeds("[7, 1 to 3]"), of(&[7, 1, 2, 3]));
    assert_eq!(seeds("18446744073709551614 to 18446744073709551615"), of(&[u64::MAX - 1, u64::MAX]));
    assert_eq!(codes(&complete("seed 0 to 18446744073709551615")), [Code::BadSeeds]);
}

#[test]
fn with_seed_changes_nothing_else() {
    let cases = [
        ("sega 1\nseed [1, 2] # two\nprompt \"a\"\nmodel \"m\"\n", "sega 1\nseed 9 # two\nprompt \"a\"\nmodel \"m\"\n"),
        (
            "sega 1\nmodel \"m\"\nprompt \"a\" # it\n\nsteps 5\n",
            "sega 1\nmodel \"m\"\nprompt \"a\" # it\nseed      9\n\nsteps 5\n",
        ),
        ("sega 1\nmodel \"m\"\nprompt \"a\"", "sega 1\nmodel \"m\"\nprompt \"a\"\nseed      9"),
        ("sega 1\r\nmodel \"m\"\r\nprompt \"a\"\r\n", "sega 1\r\nmodel \"m\"\r\nprompt \"a\"\r\nseed      9\r\n"),
        ("sega 1, model \"m\", prompt \"a\", steps 5", "sega 1, model \"m\", prompt \"a\", seed 9, steps 5"),
        (
            "sega 1\nmodel \"m\"\nprompt \"\"\"\n  a\n  b\n\"\"\"\nsteps 5",
            "sega 1\nmodel \"m\"\nprompt \"\"\"\n  a\n  b\n\"\"\"\nseed      9\nsteps 5",
        ),
    ];
    for (before, after) in cases {
        let seeded = recipe::with_seed(&Source::new("test.sega", before), Seed(9));
        assert_eq!(seeded, after);
        let mut expected = recipe_of(before);
        expected.seeds = vec![Seed(9)];
        assert_eq!(recipe_of(&seeded), expected);
    }
}

#[test]
fn compat_without_momentum_warns_by_range_and_with_it_by_render() {
    let block = "compat diffusers\nsteps 20\nplus a \"a\" { steps ..10, warmup 10 }\n";
    assert_eq!(codes(&complete(&format!("momentum 0\n{block}"))), [Code::NeverActs]);
    assert_eq!(codes(&complete(&format!("momentum 0.3\n{block}"))), []);
}

#[test]
fn json_has_places_for_editors() {
    let source = Source::new("test.sega", "sega 1\nmodel \"m\u{e9}\"\nprompt \"\u{e9}\"; guidance\n");
    let checked = recipe::parse(&source);
    let json = to_json(&checked.diagnostics.unwrap(), &source);
    insta::assert_snapshot!(serde_json::to_string_pretty(&json).unwrap());
}

#[test]
fn the_source_never_steers_the_terminal() {
    let source = Source::new(
        "a\u{1b}[2J.sega",
        "sega 1\nmodel \"m\"\nprompt \"a\"\n\u{1b}[31mred\u{202e} 5\nguidanc\u{e9} \u{9b}5\n",
    );
    let checked = recipe::parse(&source);
    let rendered = render(&checked.diagnostics.unwrap(), &source, false, 100);
    assert!(rendered.chars().all(|char| char == '\n' || !char.is_control()), "{rendered:?}");
    assert!(!rendered.contains('\u{202e}'));
}

#[test]
fn colour_changes_only_colour() {
    for source in corpus() {
        let Some(all) = recipe::parse(&source).diagnostics else { continue };
        let coloured = render(&all, &source, true, 100);
        let mut plain = String::new();
        let mut rest = coloured.as_str();
        while let Some((before, after)) = rest.split_once('\u{1b}') {
            plain += before;
            rest = after.split_once('m').map_or("", |(_, rest)| rest);
        }
        plain += rest;
        let trimmed: Vec<&str> = plain.lines().map(str::trim_end).collect();
        assert_eq!(trimmed.join("\n") + "\n", render(&all, &source, false, 100));
    }
}

/// Tens of thousands of mistakes are checked and shown in a time that grows with the file, not with its square.
#[test]
fn many_mistakes_take_linear_time() {
    let head = "sega 1\nmodel \"mini\"\nprompt \"a\"\n";
    let texts = [
        head.to_owned() + &"guidence 7\n".repeat(30_000),
        head.to_owned() + &"guidance 7\n".repeat(30_000),
        head.to_owned() + &"plus a \"a\"\n".repeat(30_000),
        head.to_owned() + &"plus a \"a\" { plus b".repeat(30_000),
        head.to_owned() + &"x, ".repeat(100_000),
        head.to_owned() + "seed [" + &"1, ".repeat(100_000),
        "\"".repeat(1_000_000),
        "x".repeat(1_000_000),
    ];
    let start = std::time::Instant::now();
    for text in texts {
        let source = Source::new("test.sega", text);
        if let Some(all) = recipe::parse(&source).diagnostics {
            render(&all, &source, false, 100);
            to_json(&all, &source);
        }
    }
    // Seconds without optimization; the square of these sizes would be hours.
    assert!(start.elapsed().as_secs() < 120, "{:?}", start.elapsed());
}

const VALID: &str = include_str!("corpus/check/clean.sega");

/// Pieces that make texts which come near to recipes.
const PIECES: &[&str] = &[
    "sega 1\n",
    "sega",
    " ",
    "\n",
    "plus ",
    "minus ",
    "a",
    "\"",
    "\"\"\"",
    "{",
    "}",
    "[",
    "]",
    ",",
    "#",
    "..",
    "5",
    "-4",
    "95",
    "95%",
    "1e999",
    "0.5",
    "128x128",
    "x",
    "strength ",
    "steps ",
    "seed ",
    "to ",
    "by ",
    "guidance ",
    "model ",
    "prompt ",
    "\\",
    "\\u{",
    "\u{e9}",
    "size ",
    "=",
    ":",
    "compat diffusers\n",
    "momentum ",
    "threshold ",
    "warmup ",
    "\r\n",
    "\t",
    ";",
    "(",
    ")",
    "'",
    "\u{201c}",
    "\u{201d}",
    "cfg_scale ",
    "Steps: ",
    "width ",
    "height ",
    "cooldown ",
    "scheduler ",
    "karras",
    "plus smile \"smile\" ",
];

fn never_panics(text: &str) {
    let source = Source::new("test.sega", text);
    let checked = recipe::parse(&source);
    if let Some(all) = &checked.diagnostics {
        render(all, &source, false, 100);
        to_json(all, &source);
        for help in all.iter().filter_map(|one| one.help.as_ref()).filter(|_| !text.contains('`')) {
            help_passes(help);
        }
        for label in all.iter().flat_map(|one| &one.labels) {
            assert!(source.text.get(label.span.start..label.span.end).is_some(), "{label:?}");
        }
    }
    assert_eq!(checked.recipe.is_none(), checked.diagnostics.as_ref().is_some_and(|all| all.has_errors()));
    recipe::with_seed(&source, Seed(1));
}

/// Blocks that are right, one for each name.
fn block(name: &str, text: &str, strength: u32, minus: bool, range: u32) -> String {
    let kind = if minus { "minus" } else { "plus" };
    format!("{kind} {name} \"{text}\" {{ strength {strength}, steps {range}.., warmup 1 }}\n")
}

/// The concepts without what must not matter: names and order.
fn essence(mut recipe: Recipe) -> Recipe {
    for concept in &mut recipe.concepts {
        concept.name.value.clear();
        concept.name.span = sega::source::Span::default();
    }
    recipe.concepts.sort_by(|left, right| format!("{left:?}").cmp(&format!("{right:?}")));
    recipe
}

proptest! {
    #![proptest_config(crate::cases::cases(256))]

    #[test]
    fn no_text_makes_the_checker_panic(text in "\\PC{0,200}") {
        never_panics(&text);
    }

    #[test]
    fn no_pieces_make_the_checker_panic(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..60)) {
        never_panics(&pieces.concat());
        never_panics(&format!("sega 1\n{}", pieces.concat()));
    }

    #[test]
    fn no_edit_of_a_recipe_makes_the_checker_panic(
        at in 0..VALID.len(), length in 0_usize..40, piece in prop::sample::select(PIECES),
    ) {
        let start = VALID.floor_char_boundary(at);
        let end = VALID.floor_char_boundary((at + length).min(VALID.len())).max(start);
        never_panics(&format!("{}{piece}{}", &VALID[..start], &VALID[end..]));
    }

    #[test]
    fn order_and_names_of_concepts_are_nothing_but_order_and_names(
        concepts in prop::collection::vec((1_u32..20, any::<bool>(), 0_u32..20), 1..6)
            .prop_flat_map(|concepts| { let places = (0..concepts.len()).collect::<Vec<_>>(); (Just(concepts), Just(places).prop_shuffle()) }),
    ) {
        let (concepts, places) = concepts;
        let write = |order: &[usize], prefix: &str| {
            let blocks: String = order
                .iter()
                .map(|at| {
                    let (strength, minus, range) = concepts[*at];
                    block(&format!("{prefix}{at}"), &format!("text {at}"), strength, minus, range)
                })
                .collect();
            recipe_of(&complete(&blocks))
        };
        let in_order: Vec<usize> = (0..concepts.len()).collect();
        prop_assert_eq!(essence(write(&in_order, "a")), essence(write(&places, "other-")));
    }
}
