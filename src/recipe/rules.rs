//! What settings demand of each other.

use std::collections::HashMap;

use super::check::{Settings, number};
use super::{Concept, Direction, Recipe, Rule};
use crate::diagnostic::{Code, Diagnostic};
use crate::model::training::{SchedulerKind, Sigmas};
use crate::quantity::StepPoint;
use crate::source::Span;

/// Reports where settings contradict each other, or have no effect together.
pub(super) fn check(recipe: &Recipe, given: &Settings, concepts: &[(Concept, Settings)], out: &mut Vec<Diagnostic>) {
    guidance(recipe, given, out);
    scheduler(recipe, given, out);
    for (concept, settings) in concepts {
        if recipe.rule == Rule::Diffusers {
            compat(recipe, given, concept, settings, out);
        }
        effect(recipe, concept, settings, out);
    }
    same_texts(concepts, out);
}

fn guidance(recipe: &Recipe, given: &Settings, out: &mut Vec<Diagnostic>) {
    let (Some(guidance), Some(concept)) = (given.get("guidance"), recipe.concepts.first()) else { return };
    if recipe.guidance.get() <= 1.0 {
        let message =
            "concepts need guidance: with a guidance scale of 1 there is no unconditional estimate to steer from";
        out.push(
            Diagnostic::new(Code::NoGuidance, guidance.span, message)
                .also_at(concept.name.span, "this concept would be ignored")
                .help("raise `guidance`, to 7.5 for example, or take the concepts away"),
        );
    }
}

fn scheduler(recipe: &Recipe, given: &Settings, out: &mut Vec<Diagnostic>) {
    // Where the recipe leaves the scheduler to the model, the plan finds out.
    let Some(scheduler) = recipe.scheduler else { return };
    let at = |key: &str| given.get(key).map(|given| given.span);
    if let Some(span) = at("eta")
        && recipe.eta.get() > 0.0
        && scheduler != SchedulerKind::Ddim
    {
        let message = format!("`eta` is a setting of ddim; {scheduler} has none");
        out.push(
            Diagnostic::new(Code::NotForScheduler, span, message).help("take `eta` away, or say `scheduler ddim`"),
        );
    }
    if let Some(span) = at("sigmas")
        && recipe.sigmas == Some(Sigmas::Karras)
        && !scheduler.has_karras()
    {
        let with: Vec<&str> =
            SchedulerKind::ALL.iter().filter(|kind| kind.has_karras()).map(|kind| kind.name()).collect();
        let message = format!("{scheduler} has no `sigmas karras`");
        out.push(
            Diagnostic::new(Code::NotForScheduler, span, message).help(format!("it works with {}", with.join(", "))),
        );
    }
}

fn compat(recipe: &Recipe, given: &Settings, concept: &Concept, settings: &Settings, out: &mut Vec<Diagnostic>) {
    let starts_late = !matches!(concept.range.start, None | Some(StepPoint::Count(0)))
        && concept.range.resolve(recipe.steps).start > 0;
    if let Some(range) = settings.get("steps")
        && starts_late
    {
        let message =
            format!("under `compat diffusers` every concept begins at step 0; `{}` begins later", concept.name.value);
        out.push(
            Diagnostic::new(Code::CompatRange, range.span, message)
                .help("begin at `0..`, and act later by a longer `warmup`"),
        );
    }
    let shared = [("momentum", recipe_momentum(given)), ("beta", recipe_beta(given))];
    for (key, shared) in shared {
        if let Some(own) = settings.get(key)
            && number(settings, key) != Some(shared)
        {
            let message = format!("under `compat diffusers` all concepts share one `{key}`");
            out.push(
                Diagnostic::new(Code::CompatMomentum, own.span, message)
                    .help(format!("give `{key}` at the top level, for all concepts")),
            );
        }
    }
}

fn recipe_momentum(given: &Settings) -> f64 {
    number(given, "momentum").unwrap_or(crate::quantity::Momentum::DEFAULT.get())
}

fn recipe_beta(given: &Settings) -> f64 {
    number(given, "beta").unwrap_or(crate::quantity::Beta::DEFAULT.get())
}

fn effect(recipe: &Recipe, concept: &Concept, settings: &Settings, out: &mut Vec<Diagnostic>) {
    let name = &concept.name.value;
    let span = |key: &str| settings.get(key).map_or(concept.name.span, |given| given.span);
    for (key, value) in [("strength", concept.strength.get()), ("weight", concept.weight.get())] {
        if value == 0.0 {
            let message = format!("`{name}` changes nothing: its {key} is 0");
            out.push(
                Diagnostic::new(Code::NoEffect, span(key), message)
                    .help(format!("raise its `{key}`, or take the concept away")),
            );
            return;
        }
    }
    let steps = recipe.steps.get();
    let beyond =
        |point: Option<StepPoint>, last: usize| matches!(point, Some(StepPoint::Count(count)) if count as usize > last);
    if beyond(concept.range.end, steps) || beyond(concept.range.start, steps - 1) {
        let message = format!("the steps of `{name}` reach past the last of the {steps} steps");
        out.push(
            Diagnostic::new(Code::BeyondRender, span("steps"), message)
                .help("leave the end open, `5..`, or raise the recipe's `steps`"),
        );
    }
    let range = concept.range.resolve(recipe.steps);
    let warmup = concept.warmup.0.resolve(recipe.steps);
    if range.start + warmup >= range.end {
        let message = if range.is_empty() {
            format!("`{name}` never acts: none of the {steps} steps is in its range")
        } else {
            format!("`{name}` never acts: its warm-up of {warmup} is as long as its {} steps", range.len())
        };
        let help = if range.is_empty() {
            "begin its range earlier, or raise the recipe's `steps`"
        } else {
            "lower its `warmup`"
        };
        let place = if settings.contains_key("warmup") { span("warmup") } else { concept.name.span };
        out.push(Diagnostic::new(Code::NeverActive, place, message).help(help));
    }
}

fn same_texts(concepts: &[(Concept, Settings)], out: &mut Vec<Diagnostic>) {
    let mut seen: HashMap<(&str, Direction), Span> = HashMap::new();
    for (concept, _) in concepts.iter().filter(|(concept, _)| !concept.text.trim().is_empty()) {
        if let Some(first) = seen.get(&(concept.text.as_str(), concept.direction)) {
            let message = format!("`{}` says the same as another concept", concept.name.value);
            let diagnostic = Diagnostic::new(Code::SameText, concept.name.span, message).also_at(*first, "this one");
            out.push(diagnostic.help("one concept of greater strength does the same"));
        } else {
            seen.insert((&concept.text, concept.direction), concept.name.span);
        }
    }
}
