//! The strict checker: a syntax tree becomes a [`Recipe`], or every mistake of the file at once.

use std::collections::HashMap;

use super::concept::concept;
use super::fields::{Field, Kind, Level, field};
use super::values::{Given, level_name, read};
use super::{Recipe, Rule, rules, suggest};
use crate::diagnostic::{Code, Diagnostic, Severity};
use crate::model::training::{SchedulerKind, Sigmas, Spacing};
use crate::quantity::{Beta, Eta, GuidanceScale, Momentum, Steps};
use crate::source::{Source, Span, Spanned};
use crate::syntax::{self, Block, Entry, File, ListItem, Literal, Setting, Text, Value};

/// The only edition.
const EDITION: f64 = 1.0;

/// What checking a file gives.
#[derive(Debug, Clone)]
pub struct Checked {
    /// The recipe, if there is no error.
    pub recipe: Option<Recipe>,
    /// Errors and warnings in the order of their places.
    pub diagnostics: Vec<Diagnostic>,
    /// The file's tree.
    pub file: File,
}

impl Checked {
    /// How many of the diagnostics are errors.
    pub fn errors(&self) -> usize {
        count_errors(&self.diagnostics)
    }
}

fn count_errors(diagnostics: &[Diagnostic]) -> usize {
    diagnostics.iter().filter(|diagnostic| diagnostic.code.severity() == Severity::Error).count()
}

/// Parses and checks a recipe.
pub fn parse(source: &Source) -> Checked {
    let file = syntax::parse(source);
    let mut diagnostics = Vec::new();
    let recipe = recipe(&file, source, &mut diagnostics);
    diagnostics.sort_by_key(|diagnostic| (diagnostic.span(), diagnostic.code));
    let recipe = recipe.filter(|_| count_errors(&diagnostics) == 0);
    Checked { recipe, diagnostics, file }
}

/// The settings that a scope has, by their words.
pub(super) type Settings = HashMap<&'static str, Spanned<Given>>;

fn recipe(file: &File, source: &Source, out: &mut Vec<Diagnostic>) -> Option<Recipe> {
    let edition = edition(file, out)?;
    let given = settings(&file.entries, Level::Recipe, source, out);
    for field in super::fields::FIELDS.iter().filter(|field| field.required && field.key != "sega") {
        let written = |entry: &Entry| matches!(entry, Entry::Setting(setting) if setting.key.value == field.key);
        if !file.entries.iter().any(written) {
            let diagnostic =
                Diagnostic::new(Code::MissingSetting, edition, format!("the recipe has no `{}`", field.key));
            let help = format!("add a line such as `{}`", field.example);
            out.push(diagnostic.labelled(format!("`{}` goes below", field.key)).help(help));
        }
    }
    let number = |key: &str| number(&given, key);
    let momentum = number("momentum").and_then(|value| Momentum::new(value).ok()).unwrap_or_default();
    let beta = number("beta").and_then(|value| Beta::new(value).ok()).unwrap_or_default();
    let concepts = concepts(file, source, (momentum, beta), out);

    let recipe = Recipe {
        model: Spanned::new(
            text(&given, "model").unwrap_or_default(),
            given.get("model").map_or(edition, |model| model.span),
        ),
        prompt: text(&given, "prompt").unwrap_or_default(),
        negative: text(&given, "negative").unwrap_or_default(),
        seeds: match given.get("seed").map(|seed| &seed.value) {
            Some(Given::Seeds(seeds)) => seeds.clone(),
            _ => Vec::new(),
        },
        size: match given.get("size").map(|size| &size.value) {
            Some(Given::Size(size)) => Some(*size),
            _ => None,
        },
        scheduler: word(&given, "scheduler").map(|index| SchedulerKind::ALL[index]),
        eta: number("eta").and_then(|value| Eta::new(value).ok()).unwrap_or_default(),
        sigmas: word(&given, "sigmas").map(|index| Sigmas::ALL[index]),
        spacing: word(&given, "spacing").map(|index| Spacing::ALL[index]),
        steps: number("steps").and_then(|value| Steps::new(value as u32).ok()).unwrap_or(Steps::DEFAULT),
        guidance: number("guidance").and_then(|value| GuidanceScale::new(value).ok()).unwrap_or_default(),
        rule: if given.contains_key("compat") { Rule::Diffusers } else { Rule::Edition1 },
        overwrite: word(&given, "overwrite") == Some(0),
        concepts: concepts.iter().map(|(concept, _)| concept.clone()).collect(),
    };
    rules::check(&recipe, &given, &concepts, out);
    Some(recipe)
}

/// The place of the edition's line; `None` where the edition is unknown, which makes everything else meaningless.
fn edition(file: &File, out: &mut Vec<Diagnostic>) -> Option<Span> {
    let settings = || {
        file.entries.iter().filter_map(|entry| match entry {
            Entry::Setting(setting) => Some(setting),
            _ => None,
        })
    };
    let Some(setting) = settings().find(|setting| setting.key.value == "sega") else {
        let diagnostic = Diagnostic::new(Code::MissingSetting, Span::new(0, 0), "the recipe does not say its edition");
        out.push(diagnostic.help("write `sega 1` as its first line"));
        return Some(Span::new(0, 0));
    };
    if let [Value { value: Literal::Number(number), span }] = setting.values.as_slice()
        && number.value != EDITION
    {
        let message = format!("this program does not know edition `{}` of the language", number.text);
        out.push(
            Diagnostic::new(Code::UnknownEdition, *span, message)
                .help("write `sega 1`, or get a newer program for a newer edition"),
        );
        return None;
    }
    let first = file.entries.iter().find(|entry| !matches!(entry, Entry::Comment(_) | Entry::Blank));
    if !matches!(first, Some(Entry::Setting(first)) if first.span == setting.span) {
        let diagnostic =
            Diagnostic::new(Code::MissingSetting, setting.span, "the edition is not the recipe's first line");
        out.push(diagnostic.help("move `sega 1` above everything else"));
    }
    Some(setting.span)
}

fn concepts(
    file: &File,
    source: &Source,
    defaults: (Momentum, Beta),
    out: &mut Vec<Diagnostic>,
) -> Vec<(super::Concept, Settings)> {
    let mut names: HashMap<String, Span> = HashMap::new();
    let mut concepts = Vec::new();
    for entry in &file.entries {
        let Entry::Block(block) = entry else { continue };
        let Some((concept, given)) = concept(block, source, defaults, out) else { continue };
        if !concept.name.value.is_empty() {
            if let Some(first) = names.get(&concept.name.value) {
                let message = format!("there are two concepts `{}`", concept.name.value);
                let diagnostic =
                    Diagnostic::new(Code::RepeatedName, concept.name.span, message).labelled("the same name again");
                out.push(diagnostic.also_at(*first, "the first is here").help("give each concept a name of its own"));
            } else {
                names.insert(concept.name.value.clone(), concept.name.span);
            }
        }
        concepts.push((concept, given));
    }
    concepts
}

/// Reads the settings of a scope; reports whatever else stands there.
pub(super) fn settings(entries: &[Entry], level: Level, source: &Source, out: &mut Vec<Diagnostic>) -> Settings {
    let mut given = Settings::new();
    let mut seen: HashMap<&'static str, Span> = HashMap::new();
    for entry in entries {
        match entry {
            Entry::Comment(_) | Entry::Blank => {}
            Entry::Junk(span) => out.push(
                Diagnostic::new(
                    Code::Unreadable,
                    *span,
                    format!("`{}` is neither a setting nor a concept", excerpt(source, *span)),
                )
                .help("a setting is `key value`, a concept is `plus name \"text\" { settings }`"),
            ),
            Entry::Block(block) if level == Level::Concept => out.push(nested(block)),
            Entry::Block(_) => {}
            Entry::Setting(setting) => {
                let Some(field) = field(level, &setting.key.value) else {
                    out.push(unknown(setting, level));
                    continue;
                };
                if let Some(first) = seen.get(field.key) {
                    let message = format!("`{}` is given twice", field.key);
                    let diagnostic =
                        Diagnostic::new(Code::RepeatedSetting, setting.key.span, message).labelled("again here");
                    out.push(diagnostic.also_at(*first, "first here").help("keep one of them"));
                    continue;
                }
                seen.insert(field.key, setting.key.span);
                if let Some(value) = single_value(field, setting, out)
                    && let Some(value_given) = read(field, value, out)
                {
                    given.insert(field.key, Spanned::new(value_given, value.span));
                }
            }
        }
    }
    given
}

/// The one value of a setting, if it has one and that is whole.
fn single_value<'a>(field: &Field, setting: &'a Setting, out: &mut Vec<Diagnostic>) -> Option<&'a Value> {
    let key = field.key;
    match setting.values.as_slice() {
        [] => {
            let diagnostic = Diagnostic::new(Code::MissingValue, setting.key.span, format!("`{key}` has no value"));
            let example = field.example.lines().last().unwrap_or_default();
            out.push(diagnostic.help(format!("it takes {}; for example: `{example}`", field.kind.expectation())));
            None
        }
        [value] => is_whole(value, out).then_some(value),
        [first, .., last] => {
            if !setting.values.iter().all(|value| is_whole(value, out)) {
                return None;
            }
            let words = |value: &Value| matches!(value.value, Literal::Word(_) | Literal::Number(_));
            let help = match &field.kind {
                Kind::Text { .. } if setting.values.iter().all(words) => "put the text in quotes".to_owned(),
                Kind::Seeds => "several seeds are a list: `[1, 2, 3]`".to_owned(),
                Kind::Size => "write width and height with an `x` between them: `512x512`".to_owned(),
                kind => format!("`{key}` takes {}", kind.expectation()),
            };
            let message = format!("`{key}` has {} values", setting.values.len());
            out.push(Diagnostic::new(Code::SeveralValues, first.span.to(last.span), message).help(help));
            None
        }
    }
}

/// Whether a value is closed and its escapes are known; reports where not.
pub(super) fn is_whole(value: &Value, out: &mut Vec<Diagnostic>) -> bool {
    match &value.value {
        Literal::Text(text) => is_whole_text(text, value.span, out),
        Literal::List(list) => {
            if !list.closed {
                out.push(
                    Diagnostic::new(Code::Unclosed, value.span, "this list is not closed").help("add the missing `]`"),
                );
                return false;
            }
            list.items.iter().fold(true, |whole, item| match item {
                ListItem::Value(value) => is_whole(value, out) && whole,
                ListItem::Comment(_) => whole,
            })
        }
        _ => true,
    }
}

fn is_whole_text(text: &Text, span: Span, out: &mut Vec<Diagnostic>) -> bool {
    if !text.closed {
        let (message, help) = if text.block {
            ("this text is not closed", "add the missing `\"\"\"`")
        } else {
            (
                "this text is not closed on its line",
                "add the missing `\"`, or begin and end a text of several lines with `\"\"\"`",
            )
        };
        out.push(Diagnostic::new(Code::Unclosed, span, message).help(help));
        return false;
    }
    for &escape in &text.bad_escapes {
        out.push(
            Diagnostic::new(Code::BadEscape, escape, "this is no escape")
                .help("known are \\\" \\\\ \\n \\t \\r and \\u{...}; a backslash of its own is `\\\\`"),
        );
    }
    text.bad_escapes.is_empty()
}

fn unknown(setting: &Setting, level: Level) -> Diagnostic {
    let key = &setting.key.value;
    let other = match level {
        Level::Recipe => Level::Concept,
        Level::Concept => Level::Recipe,
    };
    let meant = suggest::setting(level, key);
    if field(other, key).is_some() {
        let message = format!("`{key}` does not belong to {}", level_name(level));
        let help = match (level, meant) {
            (Level::Concept, Some(meant)) => {
                format!("in a concept it is called `{meant}`; or move `{key}` to the top level")
            }
            (Level::Concept, None) => format!("move `{key}` to the top level"),
            (Level::Recipe, _) => format!("put it in the braces of a concept: `plus name \"text\" {{ {key} ... }}`"),
        };
        return Diagnostic::new(Code::WrongLevel, setting.key.span, message).help(help);
    }
    let help = match meant {
        Some(meant) => {
            let example = field(level, meant).map_or("", |field| field.example.lines().last().unwrap_or_default());
            format!("did you mean `{meant}`? For example: `{example}`")
        }
        None => match suggest::setting(other, key) {
            Some(meant) => format!("there is `{meant}`, which belongs to {}", level_name(other)),
            None => {
                format!("{} knows {}", level_name(level), super::fields::keys(level).collect::<Vec<_>>().join(", "))
            }
        },
    };
    Diagnostic::new(Code::UnknownSetting, setting.key.span, format!("there is no setting `{}`", shortened(key)))
        .help(help)
}

fn nested(block: &Block) -> Diagnostic {
    let message = format!("`{}` stands within another concept", shortened(&block.kind.value));
    Diagnostic::new(Code::NestedBlock, block.kind.span, message).help("close the concept above with `}` first")
}

/// The beginning of what a span covers, on one line.
fn excerpt(source: &Source, span: Span) -> String {
    shortened(source.slice(span).lines().next().unwrap_or_default())
}

/// A word of bearable length.
pub(super) fn shortened(text: &str) -> String {
    const LONGEST: usize = 40;
    if text.chars().count() <= LONGEST {
        text.to_owned()
    } else {
        text.chars().take(LONGEST).chain("...".chars()).collect()
    }
}

/// A setting's number, if it was given.
pub(super) fn number(given: &Settings, key: &str) -> Option<f64> {
    match given.get(key).map(|given| &given.value) {
        Some(Given::Number(number)) => Some(*number),
        _ => None,
    }
}

fn text(given: &Settings, key: &str) -> Option<String> {
    match given.get(key).map(|given| &given.value) {
        Some(Given::Text(text)) => Some(text.clone()),
        _ => None,
    }
}

fn word(given: &Settings, key: &str) -> Option<usize> {
    match given.get(key).map(|given| &given.value) {
        Some(Given::Word(index)) => Some(*index),
        _ => None,
    }
}
