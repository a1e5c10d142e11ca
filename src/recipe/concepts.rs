//! The blocks of a recipe: each by itself, and all together.

use std::collections::HashMap;

use super::check::{Known, Scope};
use super::fields::{Field, Level};
use super::values::{Reader, first_line, shorten};
use super::{Concept, Direction, Rule, suggest};
use crate::diagnostic::{Code, Diagnostic};
use crate::quantity::{
    Beta, GuidanceScale, Momentum, StepPoint, StepRange, Steps, Strength, Threshold, WarmUp, Weight,
};
use crate::source::{Span, Spanned};
use crate::syntax::{Block, Entry, Literal, Value};

/// A concept whose parts may still be wrong.
pub(super) struct ConceptDraft {
    kind: Span,
    direction: Option<Direction>,
    name: Option<Spanned<String>>,
    text: Option<Spanned<String>>,
    strength: Known<Strength>,
    threshold: Known<Threshold>,
    warmup: Known<WarmUp>,
    range: Known<StepRange>,
    momentum: Known<Momentum>,
    beta: Known<Beta>,
    weight: Known<Weight>,
}

impl ConceptDraft {
    /// Reads a block; `momentum` and `beta` are the recipe's.
    pub(super) fn read(reader: &mut Reader<'_>, block: &Block, momentum: &Known<Momentum>, beta: &Known<Beta>) -> Self {
        let direction = read_kind(reader, block);
        let (name, text) = read_head(reader, block);
        let mut scope = Scope::new(Level::Concept);
        let mut before = None;
        for entry in block.body.iter().flatten() {
            match entry {
                Entry::Setting(setting) => scope.add(reader, setting),
                Entry::Block(inner) => nested(reader, inner),
                Entry::Junk(span) => scope.junk(reader, *span, before),
                Entry::Comment(_) | Entry::Blank => {}
            }
            before = Some(entry);
        }
        if !block.closed {
            let message = "this concept has no closing brace";
            let help = "put `}` on a line of its own after its last setting";
            let head = first_line(reader.source, block.span);
            reader.report(Diagnostic::new(Code::UnclosedBlock, message).at(head, "opened here").help(help));
        }
        let strength = scope.read(reader, "strength", Strength::DEFAULT, |reader, field, value| {
            read_strength(reader, field, value, block, direction)
        });
        // A default that is itself wrong is not to be relied upon either.
        let momentum_default = *momentum;
        let beta_default = *beta;
        let inherited = |valid: bool, span: Option<Span>, outer: bool| valid && (span.is_some() || outer);
        let mut momentum = scope.read(reader, "momentum", momentum.value, |reader, field, value| {
            Momentum::new(reader.share(field, value)?).ok()
        });
        momentum.valid = inherited(momentum.valid, momentum.span, momentum_default.valid);
        let mut beta =
            scope.read(reader, "beta", beta.value, |reader, field, value| Beta::new(reader.share(field, value)?).ok());
        beta.valid = inherited(beta.valid, beta.span, beta_default.valid);
        Self {
            kind: block.kind.span,
            direction,
            name,
            text,
            strength,
            threshold: scope.read(reader, "threshold", Threshold::DEFAULT, |reader, field, value| {
                Threshold::new(reader.share(field, value)?).ok()
            }),
            warmup: scope.read(reader, "warmup", WarmUp::default(), |reader, field, value| {
                reader.step_point(field, value).map(WarmUp)
            }),
            range: scope
                .read(reader, "steps", StepRange::default(), |reader, field, value| reader.step_range(field, value)),
            momentum,
            beta,
            weight: scope.read(reader, "weight", Weight::DEFAULT, |reader, field, value| {
                Weight::new(reader.real(field, value)?).ok()
            }),
        }
    }

    /// The concept, if its head was right.
    pub(super) fn finish(self) -> Option<Concept> {
        Some(Concept {
            name: self.name?,
            direction: self.direction?,
            text: self.text?.value,
            strength: self.strength.value,
            threshold: self.threshold.value,
            warmup: self.warmup.value,
            range: self.range.value,
            momentum: self.momentum.value,
            beta: self.beta.value,
            weight: self.weight.value,
        })
    }

    /// How messages call it.
    fn called(&self) -> String {
        self.name.as_ref().map_or_else(|| "this concept".to_owned(), |name| format!("`{}`", shorten(&name.value)))
    }

    /// The place that stands for the whole concept.
    fn place(&self) -> Span {
        self.name.as_ref().map_or(self.kind, |name| name.span)
    }
}

/// The direction that a block's first word says.
fn read_kind(reader: &mut Reader<'_>, block: &Block) -> Option<Direction> {
    let kind = block.kind.value.as_str();
    if let Some(direction) = [Direction::Plus, Direction::Minus].into_iter().find(|known| known.name() == kind) {
        return Some(direction);
    }
    let message = format!("there is no block `{}`", shorten(kind));
    let meant = suggest::block_synonym(kind).or_else(|| suggest::nearest(kind, ["plus", "minus"]));
    let help = match (meant, Field::find(kind, Level::Recipe)) {
        (Some(meant), _) => format!("did you mean `{meant}`?"),
        (None, Some(field)) => format!("`{kind}` is a setting and has no braces: `{}`", field.example),
        (None, None) => "`plus` adds a concept, `minus` takes one away".to_owned(),
    };
    reader.report(Diagnostic::new(Code::UnknownBlock, message).at(block.kind.span, "unknown").help(help));
    None
}

/// Name and text of a block.
fn read_head(reader: &mut Reader<'_>, block: &Block) -> (Option<Spanned<String>>, Option<Spanned<String>>) {
    let kind = shorten(&block.kind.value);
    let head = &block.head[..];
    let is_text = |value: &Value| matches!(value.value, Literal::Text(_));
    let broken = reader.broken(head);
    let at = head.iter().position(is_text);
    let before = &head[..at.unwrap_or(head.len())];
    let mut after = at.map_or(&head[..0], |at| &head[at + 1..]);
    let text = at.map(|at| &head[at]).and_then(|value| match &value.value {
        Literal::Text(text) => Some(Spanned::new(text.content.clone(), value.span)),
        _ => None,
    });
    let quoted = at.map_or_else(|| "\"smile\"".to_owned(), |at| reader.written(head[at].span));
    let proposal = text.as_ref().map_or_else(|| "smile".to_owned(), |text| name_from(&text.value));

    let name = match before {
        [] if at.is_none() => {
            let message = format!("this `{kind}` has no name and no text");
            let help = "write both, as in `plus smile \"smiling, smile\"`";
            reader.report(
                Diagnostic::new(Code::MissingName, message)
                    .at(block.kind.span, "a name and a text must follow")
                    .help(help),
            );
            return (None, None);
        }
        [] => {
            let swapped = match after {
                [first, rest @ ..] if word(first).is_some_and(|name| Field::find(name, Level::Concept).is_none()) => {
                    after = rest;
                    word(first)
                }
                _ => None,
            };
            let proposal = swapped.unwrap_or(&proposal);
            let message = match swapped {
                Some(_) => "the name of a concept stands before its text".to_owned(),
                None => "this concept has no name".to_owned(),
            };
            let place = at.map_or(block.kind.span, |at| first_line(reader.source, head[at].span));
            let help = format!("write `{kind} {proposal} {quoted}`; the name never changes the picture");
            reader.report(Diagnostic::new(Code::MissingName, message).at(place, "a name goes before this").help(help));
            None
        }
        [only] => read_name(reader, only, &proposal),
        [first, .., last] => {
            let span = first.span.to(last.span);
            let joined = name_from(reader.source.slice(span));
            let message = "the name of a concept is a single word";
            let help = if at.is_some() {
                format!("write `{kind} {joined} {quoted}`")
            } else {
                format!("put quotes around the text: `{kind} {joined} \"{}\"`", reader.written(span))
            };
            reader.report(Diagnostic::new(Code::ExtraInHead, message).at(span, "more than one word").help(help));
            return (None, text.filter(|_| !broken));
        }
    };
    match &text {
        None if at.is_none() => {
            let name = before.last().map_or(block.kind.span, |value| value.span);
            let word = reader.written(name);
            let message = format!("the concept `{word}` has no text");
            let help = format!("say in quotes what it is: `{kind} {word} \"{}\"`", word.replace(['-', '_'], " "));
            reader.report(Diagnostic::new(Code::MissingText, message).at(name, "a text must follow").help(help));
        }
        Some(text) if text.value.trim().is_empty() && !broken => {
            let message = "the text of this concept is empty";
            let help = format!(
                "say what it is: `{kind} {0} \"{0}\"`",
                name.as_ref().map_or("smile", |name| name.value.as_str())
            );
            reader.report(Diagnostic::new(Code::EmptyText, message).at(text.span, "nothing in it").help(help));
        }
        _ => {}
    }
    if let ([first, ..], [.., last]) = (after, after) {
        let span = first.span.to(last.span);
        let name = name.as_ref().map_or(proposal.as_str(), |name| name.value.as_str());
        let help = match (word(first), after.iter().all(is_text)) {
            (Some(key), _) if Field::find(key, Level::Concept).is_some() => {
                format!("settings stand between braces: `{kind} {name} {quoted} {{ {} }}`", reader.written(span))
            }
            (_, true) => "put everything into one text, with commas: `\"smiling, smile\"`".to_owned(),
            _ => format!("take it away: `{kind} {name} {quoted}`"),
        };
        let message = "after the text of a concept come its braces";
        reader.report(Diagnostic::new(Code::ExtraInHead, message).at(span, "does not belong here").help(help));
    }
    (name, text.filter(|_| !broken))
}

fn word(value: &Value) -> Option<&str> {
    match &value.value {
        Literal::Word(word) => Some(word),
        _ => None,
    }
}

/// A name: a letter, then letters, digits, `_` and `-`.
fn read_name(reader: &mut Reader<'_>, value: &Value, proposal: &str) -> Option<Spanned<String>> {
    let good = |name: &&str| {
        name.starts_with(char::is_alphabetic)
            && name.chars().all(|char| char.is_alphanumeric() || matches!(char, '_' | '-'))
    };
    if let Some(name) = word(value).filter(good) {
        return Some(Spanned::new(name.to_owned(), value.span));
    }
    let written = reader.written(value.span);
    let message = format!("`{written}` cannot be a name");
    let repaired = name_from(&written);
    let proposal = if repaired == FALLBACK { proposal } else { &repaired };
    let help = format!("a name is a letter, then letters, digits, `_` or `-`; for example `{proposal}`");
    reader.report(Diagnostic::new(Code::BadName, message).at(value.span, "not a name").help(help));
    None
}

/// The name where a text offers none.
const FALLBACK: &str = "concept";

/// A name made from the first words of a text.
fn name_from(text: &str) -> String {
    let phrase = text.split([',', '.', ';']).find(|phrase| !phrase.trim().is_empty()).unwrap_or_default();
    let words = phrase
        .split(|char: char| !char.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .skip_while(|word| !word.starts_with(char::is_alphabetic))
        .take(2);
    let name = words.map(str::to_lowercase).collect::<Vec<_>>().join("-");
    let name: String = name.chars().take(24).collect();
    if name.is_empty() { FALLBACK.to_owned() } else { name }
}

/// A block in a block; what stands in it is not looked at.
fn nested(reader: &mut Reader<'_>, inner: &Block) {
    let message = "a concept cannot stand within another";
    let help = "move it out of the braces: concepts stand side by side, and their order does not matter";
    let mark = first_line(reader.source, inner.span);
    reader.report(Diagnostic::new(Code::NestedBlock, message).at(mark, "stands within a concept").help(help));
}

/// A strength, whose sign is a word.
fn read_strength(
    reader: &mut Reader<'_>,
    field: &'static Field,
    value: &Value,
    block: &Block,
    direction: Option<Direction>,
) -> Option<Strength> {
    let Literal::Number(number) = &value.value else { return reader.real(field, value).and(None) };
    if number.value >= 0.0 {
        return Strength::new(reader.real(field, value)?).ok();
    }
    let other = match direction {
        Some(Direction::Minus) => Direction::Plus,
        _ => Direction::Minus,
    };
    let positive = number.text.trim_start_matches('-');
    let message = "a strength has no sign: the direction is a word";
    let help =
        format!("write `{}` instead of `{}`, and `strength {positive}`", other.name(), shorten(&block.kind.value));
    reader.report(
        Diagnostic::new(Code::Negative, message)
            .at(value.span, "below 0")
            .at(block.kind.span, format!("make this `{}`", other.name()))
            .help(help),
    );
    None
}

/// What concerns several concepts, or a concept and the settings of the recipe.
pub(super) fn check_together(
    reader: &mut Reader<'_>,
    concepts: &[ConceptDraft],
    guidance: &Known<GuidanceScale>,
    steps: &Known<Steps>,
    rule: &Known<Rule>,
) {
    check_names(reader, concepts);
    check_texts(reader, concepts);
    if let (Some(first), Some(span)) = (concepts.first(), guidance.span)
        && guidance.valid
        && guidance.value.get() <= 1.0
    {
        let message = "concepts need guidance, and `guidance 1` is none";
        reader.report(
            Diagnostic::new(Code::NeedsGuidance, message)
                .at(span, "must be more than 1")
                .at(first.place(), "would do nothing")
                .help(format!("write `guidance {}`, or take the concepts away", GuidanceScale::DEFAULT)),
        );
    }
    let compat = rule.value == Rule::Diffusers;
    if compat {
        check_compat(reader, concepts, rule);
    }
    for concept in concepts {
        if !no_effect(reader, concept, compat) && steps.valid {
            check_steps(reader, concept, steps.value, compat);
        }
    }
}

fn check_names(reader: &mut Reader<'_>, concepts: &[ConceptDraft]) {
    let mut seen: HashMap<&str, Span> = HashMap::new();
    let all: std::collections::HashSet<&str> =
        concepts.iter().filter_map(|concept| Some(concept.name.as_ref()?.value.as_str())).collect();
    for concept in concepts {
        let Some(name) = &concept.name else { continue };
        if let Some(first) = seen.get(name.value.as_str()) {
            let from_text =
                concept.text.as_ref().map(|text| name_from(&text.value)).filter(|name| !all.contains(name.as_str()));
            let free = from_text.unwrap_or_else(|| format!("{}-2", name.value));
            let message = format!("two concepts are called `{}`", shorten(&name.value));
            reader.report(
                Diagnostic::new(Code::RepeatedName, message)
                    .at(name.span, "the same name again")
                    .at(*first, "first here")
                    .help(format!("give it a name of its own, such as `{}`", shorten(&free))),
            );
        } else {
            seen.insert(&name.value, name.span);
        }
    }
}

fn check_texts(reader: &mut Reader<'_>, concepts: &[ConceptDraft]) {
    let mut seen: HashMap<&str, Span> = HashMap::new();
    for text in concepts.iter().filter_map(|concept| concept.text.as_ref()) {
        let content = text.value.trim();
        if content.is_empty() {
            continue;
        }
        if let Some(first) = seen.get(content) {
            let message = "two concepts have the same text";
            let (again, first) = (first_line(reader.source, text.span), first_line(reader.source, *first));
            reader.report(
                Diagnostic::new(Code::DuplicateText, message)
                    .at(again, "the same text again")
                    .at(first, "first here")
                    .help("one concept with another `strength` does the same in less time"),
            );
        } else {
            seen.insert(content, text.span);
        }
    }
}

/// What the rule of diffusers cannot do.
fn check_compat(reader: &mut Reader<'_>, concepts: &[ConceptDraft], rule: &Known<Rule>) {
    let compat = |diagnostic: Diagnostic| match rule.span {
        Some(span) => diagnostic.at(span, "this rule has one for all"),
        None => diagnostic,
    };
    for concept in concepts {
        let from_start = match concept.range.value.start {
            None | Some(StepPoint::Count(0)) => true,
            Some(StepPoint::Share(share)) => share == 0.0,
            Some(StepPoint::Count(_)) => false,
        };
        if let (Some(span), false) = (concept.range.span, from_start) {
            let message = format!("with `compat diffusers` the range of {} must start at 0", concept.called());
            let written = reader.written(span);
            let end = written.split_once("..").map_or("", |(_, end)| end);
            let help = match end {
                "" => "leave the range out; `warmup` says from when on the concept acts".to_owned(),
                end => format!("write `steps ..{end}`; `warmup` says from when on the concept acts"),
            };
            reader.report(Diagnostic::new(Code::CompatRange, message).at(span, "starts later").help(help));
        }
    }
    // The recipe's one value is the first concept's; every other that differs is reported.
    let mut differs = |name: &str, values: Vec<(f64, &Known<f64>, &ConceptDraft)>| {
        let mut sound = values.into_iter().filter(|(_, known, _)| known.valid);
        let Some((one, first, owner)) = sound.next() else { return };
        for (value, known, concept) in sound {
            if value == one {
                continue;
            }
            let (span, label) = match known.span {
                Some(span) => (span, format!("{value} here")),
                None => (concept.place(), format!("{value} by default")),
            };
            let (first_span, first_label) = match first.span {
                Some(span) => (span, format!("{one} here")),
                None => (owner.place(), format!("{one} by default")),
            };
            let message = format!("with `compat diffusers` all concepts share one `{name}`");
            reader.report(compat(
                Diagnostic::new(Code::CompatMomentum, message)
                    .at(span, label)
                    .at(first_span, first_label)
                    .help(format!("set it once, outside of the concepts: `{name} {one}`")),
            ));
        }
    };
    let momenta: Vec<Known<f64>> = concepts.iter().map(|concept| concept.momentum.map(Momentum::get)).collect();
    differs("momentum", momenta.iter().zip(concepts).map(|(known, concept)| (known.value, known, concept)).collect());
    let betas: Vec<Known<f64>> = concepts.iter().map(|concept| concept.beta.map(Beta::get)).collect();
    differs("beta", betas.iter().zip(concepts).map(|(known, concept)| (known.value, known, concept)).collect());
}

/// Warns of settings that take the concept out of the picture; whether it is out altogether.
fn no_effect(reader: &mut Reader<'_>, concept: &ConceptDraft, compat: bool) -> bool {
    let mut warn = |span: Option<Span>, what: &str, help: &str| {
        let message = format!("{} {what}", concept.called());
        let span = span.unwrap_or_else(|| concept.place());
        reader.report(Diagnostic::new(Code::NoEffect, message).at(span, "see here").help(help));
    };
    // In the rule of diffusers even a concept of strength or weight 0 has a part in the weights of the others.
    let help = "take the concept away, or write `#` before its lines to keep it for later";
    let zero_strength = concept.strength.valid && concept.strength.value.get() == 0.0 && !compat;
    let zero_weight = concept.weight.valid && concept.weight.value.get() == 0.0 && !compat;
    if zero_strength {
        warn(concept.strength.span, "does nothing with `strength 0`", help);
    } else if zero_weight {
        warn(concept.weight.span, "does nothing with `weight 0`", help);
    }
    if concept.threshold.valid && concept.threshold.value.get() == 1.0 {
        let help = "write `threshold 99%` for the smallest details";
        warn(concept.threshold.span, "is all but gone: `threshold 100%` keeps one element of each channel", help);
    }
    zero_strength || zero_weight
}

/// Warns of ranges and warm-ups that do not fit the render.
fn check_steps(reader: &mut Reader<'_>, concept: &ConceptDraft, steps: Steps, compat: bool) {
    if !concept.range.valid {
        return;
    }
    let called = concept.called();
    let total = steps.get();
    let range = concept.range.value;
    let start = range.start.map_or(0, |point| point.resolve(steps));
    let end = range.end.map_or(total, |point| point.resolve(steps));
    let place = concept.range.span.unwrap_or_else(|| concept.place());
    if start >= total || end > total {
        let what = if start >= total { "never acts: its range begins after" } else { "has a range that goes on after" };
        let message = format!("{called} {what} the last of the {total} steps");
        let help = if start >= total {
            format!("the last step is {}; write, for example, `steps {}..`", total - 1, total / 2)
        } else {
            let start = if start == 0 { String::new() } else { start.to_string() };
            format!("write `steps {start}..` for a range to the end")
        };
        reader.report(Diagnostic::new(Code::BeyondSteps, message).at(place, "beyond the render").help(help));
        if start >= total {
            return;
        }
    }
    let length = end.min(total).saturating_sub(start);
    if length == 0 {
        let message = format!("{called} never acts: its range holds none of the {total} steps");
        let help = "make the range longer";
        reader.report(Diagnostic::new(Code::NeverActs, message).at(place, "too short").help(help));
        return;
    }
    // The joint momentum of diffusers goes on after a concept's range, so that it may act even then.
    let needed = if compat && concept.momentum.value.get() > 0.0 { total } else { length };
    let warmup = concept.warmup.value.0.resolve(steps);
    if concept.warmup.valid && warmup >= needed {
        let plural = |count: usize| if count == 1 { "1 step".to_owned() } else { format!("{count} steps") };
        let default = if concept.warmup.span.is_none() { ", the default," } else { "" };
        let message = format!(
            "{called} never acts: its warm-up of {}{default} is not over within its {}",
            plural(warmup),
            plural(length)
        );
        let place = concept.warmup.span.unwrap_or(place);
        let mut diagnostic = Diagnostic::new(Code::NeverActs, message).at(place, "too long a warm-up");
        if let (Some(_), Some(range)) = (concept.warmup.span, concept.range.span) {
            diagnostic = diagnostic.at(range, "for this range");
        }
        reader.report(diagnostic.help(format!("write `warmup {}` in its braces, or give it more `steps`", length / 3)));
    }
}

impl<T: Copy> Known<T> {
    /// The same knowledge of something derived from the value.
    fn map<U>(self, derive: impl FnOnce(T) -> U) -> Known<U> {
        Known { value: derive(self.value), span: self.span, valid: self.valid }
    }
}
