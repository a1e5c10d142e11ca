//! The blocks of a recipe: each by itself, and all together.

use std::collections::HashMap;

use super::fields::{Field, Level};
use super::heads::{name_from, noun, read_head, read_kind};
use super::loras::LoraDraft;
use super::scope::{Known, Scope};
use super::tags::check_tags;
use super::values::{Reader, first_line, shorten};
use super::{Concept, Direction, Rule};
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
    /// Reads a block, whose head goes on to the end of `line`; `momentum` and `beta` are the recipe's.
    pub(super) fn read(
        reader: &mut Reader<'_>,
        block: &Block,
        line: Span,
        momentum: &Known<Momentum>,
        beta: &Known<Beta>,
    ) -> Self {
        let direction = read_kind(reader, block);
        // What is no concept need not have the parts of one.
        let is_setting = Field::find(&block.kind.value, Level::Recipe).is_some();
        let (name, text) = if direction.is_none() && (is_setting || block.head.is_empty()) {
            (None, None)
        } else {
            read_head(reader, block, line)
        };
        reader.level = Level::Concept;
        let scope = read_body(reader, block);
        check_closed(reader, block);
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
        let draft = Self {
            kind: block.kind.span,
            direction,
            name,
            text,
            strength,
            threshold: scope.read(reader, "threshold", Threshold::DEFAULT, |reader, field, value| {
                Threshold::new(reader.share(field, value)?).ok()
            }),
            warmup: scope.read(reader, "warmup", WarmUp::default(), |reader, field, value| {
                reader.step_point(field, value, value.span).map(WarmUp)
            }),
            range: scope
                .read(reader, "steps", StepRange::default(), |reader, field, value| reader.step_range(field, value)),
            momentum,
            beta,
            weight: scope.read(reader, "weight", Weight::DEFAULT, |reader, field, value| {
                Weight::new(reader.real(field, value)?).ok()
            }),
        };
        reader.level = Level::Recipe;
        draft
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

/// The settings between a block's braces, of the reader's level.
pub(super) fn read_body<'a>(reader: &mut Reader<'_>, block: &'a Block) -> Scope<'a> {
    let mut scope = Scope::default();
    let mut before = None;
    let mut rest = block.body.as_deref().unwrap_or_default();
    while let [entry, behind @ ..] = rest {
        rest = behind;
        match entry {
            Entry::Setting(setting) => rest = &behind[scope.add(reader, setting, behind)..],
            Entry::Block(inner) => nested(reader, inner),
            Entry::Junk(span) => rest = &behind[scope.junk(reader, *span, before, behind)..],
            Entry::Comment(_) | Entry::Blank => {}
        }
        before = Some(entry);
    }
    scope
}

/// Reports a block without its closing brace.
pub(super) fn check_closed(reader: &mut Reader<'_>, block: &Block) {
    if !block.closed {
        let message = format!("this {} has no closing brace", noun(block));
        let help = "put `}` on a line of its own after its last setting";
        let head = first_line(reader.source, block.span);
        reader.report(Diagnostic::new(Code::UnclosedBlock, message).at(head, "opened here").help(help));
    }
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

/// The settings of the recipe that concern concepts.
pub(super) struct Around<'a> {
    pub(super) guidance: &'a Known<GuidanceScale>,
    pub(super) steps: &'a Known<Steps>,
    pub(super) momentum: &'a Known<Momentum>,
    pub(super) beta: &'a Known<Beta>,
    pub(super) rule: &'a Known<Rule>,
}

/// What concerns several concepts, or a concept and the settings of the recipe.
pub(super) fn check_together(
    reader: &mut Reader<'_>,
    concepts: &[ConceptDraft],
    loras: &[LoraDraft],
    around: &Around<'_>,
) {
    let Around { guidance, steps, rule, .. } = around;
    check_names(reader, concepts, loras);
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
        check_compat(reader, concepts, around);
    }
    for concept in concepts {
        if !no_effect(reader, concept, compat) && steps.valid {
            check_steps(reader, concept, steps.value, compat);
        }
    }
}

/// A name is unique among all blocks.
fn check_names(reader: &mut Reader<'_>, concepts: &[ConceptDraft], loras: &[LoraDraft]) {
    let mut seen: HashMap<&str, (Span, bool)> = HashMap::new();
    let of_concepts = concepts.iter().filter_map(|concept| Some((concept.name.as_ref()?, concept.text.as_ref(), true)));
    let of_loras = loras.iter().filter_map(|lora| Some((lora.name.as_ref()?, None::<&Spanned<String>>, false)));
    let mut named: Vec<_> = of_concepts.chain(of_loras).collect();
    named.sort_by_key(|(name, ..)| name.span.start);
    let all: std::collections::HashSet<&str> = named.iter().map(|(name, ..)| name.value.as_str()).collect();
    for (name, text, is_concept) in named {
        if let Some((first, other_is_concept)) = seen.get(name.value.as_str()) {
            let from_text = text.map(|text| name_from(&text.value)).filter(|name| !all.contains(name.as_str()));
            let free = from_text.unwrap_or_else(|| format!("{}-2", name.value));
            let what = match (is_concept, other_is_concept) {
                (true, true) => "two concepts",
                (false, false) => "two LoRAs",
                _ => "a concept and a LoRA",
            };
            let message = format!("{what} are called `{}`", shorten(&name.value));
            reader.report(
                Diagnostic::new(Code::RepeatedName, message)
                    .at(name.span, "the same name again")
                    .at(*first, "first here")
                    .help(format!("give it a name of its own, such as `{}`", shorten(&free))),
            );
        } else {
            seen.insert(&name.value, (name.span, is_concept));
        }
    }
}

fn check_texts(reader: &mut Reader<'_>, concepts: &[ConceptDraft]) {
    let mut seen: HashMap<&str, Span> = HashMap::new();
    for text in concepts.iter().filter_map(|concept| concept.text.as_ref()) {
        check_tags(reader, text.span);
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
                    .help("one concept with another `strength` does the same"),
            );
        } else {
            seen.insert(content, text.span);
        }
    }
}

/// What the rule of diffusers cannot do.
fn check_compat(reader: &mut Reader<'_>, concepts: &[ConceptDraft], around: &Around<'_>) {
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
    let mut one_for_all = |name: &str, outer: &Known<f64>, inner: Vec<Known<f64>>| {
        let mut sound = inner.iter().filter(|known| known.valid);
        let first = sound.next().map(|known| known.value);
        if !outer.valid || sound.all(|known| Some(known.value) == first) {
            return;
        }
        // The value of the rest: the recipe's, or, where each concept has its own, the first concept's.
        let all_own = outer.span.is_none() && inner.iter().all(|known| known.span.is_some());
        let rest = inner.iter().find(|known| all_own && known.valid).unwrap_or(outer);
        for own in inner.iter().filter(|known| known.valid && known.value != rest.value) {
            let Some(span) = own.span else { continue };
            let message = format!("with `compat diffusers` all concepts share one `{name}`");
            let mut diagnostic = Diagnostic::new(Code::CompatMomentum, message)
                .at(span, format!("{} here", own.value))
                .help(format!("set it once, outside of the concepts: `{name} {}`", own.value));
            if let Some(span) = rest.span {
                diagnostic = diagnostic.at(span, format!("{} here", rest.value));
            }
            reader.report(diagnostic);
        }
    };
    let momenta = concepts.iter().map(|concept| concept.momentum.map(Momentum::get)).collect();
    one_for_all("momentum", &around.momentum.map(Momentum::get), momenta);
    let betas = concepts.iter().map(|concept| concept.beta.map(Beta::get)).collect();
    one_for_all("beta", &around.beta.map(Beta::get), betas);
}

/// Warns of settings that take the concept out of the picture; whether it is out altogether.
fn no_effect(reader: &mut Reader<'_>, concept: &ConceptDraft, compat: bool) -> bool {
    let mut warn = |span: Option<Span>, what: &str, label: &str, help: &str| {
        let message = format!("{} {what}", concept.called());
        let span = span.unwrap_or_else(|| concept.place());
        reader.report(Diagnostic::new(Code::NoEffect, message).at(span, label).help(help));
    };
    // In the rule of diffusers even a concept of strength or weight 0 has a part in the weights of the others.
    let help = "take the concept away, or write `#` before its lines to keep it for later";
    let zero_strength = concept.strength.valid && concept.strength.value.get() == 0.0 && !compat;
    let zero_weight = concept.weight.valid && concept.weight.value.get() == 0.0 && !compat;
    if zero_strength {
        warn(concept.strength.span, "does nothing with `strength 0`", "takes it out of the picture", help);
    } else if zero_weight {
        warn(concept.weight.span, "does nothing with `weight 0`", "takes it out of the picture", help);
    }
    if concept.threshold.valid && concept.threshold.value.get() == 1.0 {
        let help = "write `threshold 99%` for the smallest details";
        warn(
            concept.threshold.span,
            "is all but gone: `threshold 100%` keeps one element of each channel",
            "discards the rest",
            help,
        );
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
        let label = match (concept.warmup.span, concept.range.span) {
            (Some(_), _) => "too long a warm-up",
            (None, Some(_)) => "shorter than the warm-up",
            (None, None) => "the render is shorter than the warm-up",
        };
        let mut diagnostic = Diagnostic::new(Code::NeverActs, message).at(place, label);
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
