//! The claims, each a function from readings to figures.
//!
//! A claim asks for the readings that it needs. Those that are not there yet are put on a list; when the list has been
//! painted the claim is asked again, until nothing is missing. So which pictures are painted may depend on others: an
//! edit is painted only where its portrait counts.

mod alternatives;
mod isolation;
mod monotonic;
mod one;
mod prompts;
mod robust;
mod several;
mod tally;

use std::collections::BTreeMap;
use std::sync::Arc;

use sega::recipe::Direction;

use crate::attributes::others;
use crate::book::{Book, Shot};
use crate::concepts::{CONCEPTS, Concept, regions};
use crate::figures::{Figure, Table};
use crate::oracle::Vocabulary;
use crate::prompts::{Portrait, portrait};
use crate::recipes::{Edit, Setup, asking, recipe};
use crate::statistics::Share;
use crate::store::{Change, Reading};

/// What the claims add their findings to.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) figures: Vec<Figure>,
    pub(crate) tables: Vec<Table>,
    /// For the plot.
    pub(crate) curves: Vec<Curve>,
    /// For the contact sheet.
    pub(crate) pairs: Vec<Pair>,
}

/// The effect of a concept by its strength.
#[derive(Debug)]
pub(crate) struct Curve {
    pub(crate) concept: &'static Concept,
    pub(crate) direction: Direction,
    /// Strength, mean probability of the concept's value, share of pictures in which the edit worked.
    pub(crate) points: Vec<[f64; 3]>,
    /// The number of portraits.
    pub(crate) of: usize,
}

/// A picture before an edit and after it, as recipes.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) before: String,
    pub(crate) after: String,
    pub(crate) prompt: String,
    pub(crate) edit: String,
    pub(crate) worked: bool,
}

/// A claim's name and how it is measured.
pub(crate) type Claim = (&'static str, fn(&mut Study<'_>, &mut Findings));

/// Every claim.
pub(crate) const CLAIMS: &[Claim] = &[
    ("prompts", prompts::measure),
    ("one", one::plus),
    ("minus", one::minus),
    ("several", several::measure),
    ("isolation", isolation::measure),
    ("monotonic", monotonic::measure),
    ("robust", robust::measure),
    ("alternatives", alternatives::measure),
];

/// What a claim is measured with.
pub(crate) struct Study<'a> {
    pub(crate) book: &'a mut Book,
    pub(crate) vocabulary: &'a Vocabulary,
    /// For each attribute how often the oracle itself is right, where that is known.
    pub(crate) accuracy: &'a BTreeMap<String, f64>,
    pub(crate) setup: Setup,
    /// Portraits for each row.
    pub(crate) seeds: usize,
    /// Portraits for each concept that is measured by itself.
    pub(crate) each: usize,
    pub(crate) quick: bool,
}

/// A portrait that counts, and its picture before any edit.
#[derive(Debug, Clone)]
struct Chosen {
    portrait: Portrait,
    prompt: String,
    recipe: String,
    before: Arc<Reading>,
}

/// Portraits that count.
struct Selection {
    portraits: Vec<Chosen>,
    /// How many they are of those that were looked at. Where prompts ask for a concept: how often it is painted.
    share: Share,
}

/// What is done to a portrait.
#[derive(Debug, Clone)]
enum Treatment<'a> {
    /// Blocks of a recipe.
    Edits(&'a [Edit]),
    /// The prompt asks for it.
    LongerPrompt(&'static Concept),
    /// The negative prompt names it.
    NegativePrompt(&'static Concept),
}

impl Treatment<'_> {
    /// The recipe of the treated portrait.
    fn recipe(&self, setup: &Setup, prompt: &str, seed: u64) -> String {
        match self {
            Self::Edits(edits) => recipe(setup, prompt, None, seed, edits),
            Self::LongerPrompt(concept) => recipe(setup, &asking(prompt, concept.text), None, seed, &[]),
            Self::NegativePrompt(concept) => recipe(setup, prompt, Some(concept.text), seed, &[]),
        }
    }

    fn concepts(&self) -> Vec<&'static Concept> {
        match self {
            Self::Edits(edits) => edits.iter().map(|edit| edit.concept).collect(),
            Self::LongerPrompt(concept) | Self::NegativePrompt(concept) => vec![concept],
        }
    }
}

/// What came of it.
#[derive(Debug, Clone)]
struct Outcome {
    /// Whether every concept is there, or gone.
    worked: bool,
    /// The attributes that it should leave.
    others: Vec<Other>,
    change: Change,
    after: Arc<Reading>,
    recipe: String,
}

/// An attribute that an edit should leave.
#[derive(Debug, Clone)]
struct Other {
    attribute: String,
    /// Whether the prompt says it.
    said: bool,
    stayed: bool,
}

impl Study<'_> {
    /// The concepts of a direction that are measured one by one.
    fn concepts(&self, direction: Direction) -> Vec<&'static Concept> {
        let measured =
            |concept: &&Concept| (!self.quick || concept.core) && (direction == Direction::Plus || concept.minus);
        CONCEPTS.iter().filter(measured).collect()
    }

    /// The concepts that stand for their kinds, and how many portraits each gets of a row's.
    fn core(&self, direction: Direction) -> (Vec<&'static Concept>, usize) {
        let core = |concept: &&Concept| concept.core && (direction == Direction::Plus || concept.minus);
        let concepts: Vec<&Concept> = CONCEPTS.iter().filter(core).collect();
        let each = self.seeds.div_ceil(concepts.len().max(1));
        (concepts, each)
    }

    /// The first portraits that count for a concept: to add it the oracle must not see it yet, to take it away the
    /// prompt asks for it and the oracle sees it. `treatments` are those that will be given to each.
    fn choose(
        &mut self,
        setup: &Setup,
        direction: Direction,
        concept: &'static Concept,
        number: usize,
        treatments: &[Treatment<'_>],
    ) -> Selection {
        let mut portraits = Vec::new();
        let mut sought = Sought::new(number);
        for portrait in (0..pool(number)).map(portrait).filter(|portrait| portrait.prompt.suits(concept)) {
            if sought.enough() {
                break;
            }
            let text = portrait.prompt.text(setup.wording);
            let prompt = match direction {
                Direction::Plus => text.to_owned(),
                Direction::Minus => asking(text, concept.text),
            };
            match self.before(setup, portrait, prompt.clone()) {
                None => {
                    sought.unknown += 1;
                    for treatment in treatments {
                        self.book.foresee(treatment.recipe(setup, &prompt, portrait.seed));
                    }
                }
                Some(before) => {
                    let counts = self.counts(&before, direction, concept);
                    sought.look(counts);
                    if counts {
                        portraits.push(before);
                    }
                }
            }
        }
        Selection { portraits, share: Share::of(sought.counted, sought.looked) }
    }

    /// Whether an edit has something to do in a portrait, and can do it.
    fn counts(&self, chosen: &Chosen, direction: Direction, concept: &Concept) -> bool {
        let logits = &chosen.before.logits;
        let person = matches!(self.vocabulary.value(logits, "subject"), "woman" | "man");
        let present = self.present(logits, concept);
        present == (direction == Direction::Minus) && (person || concept.group != "hair")
    }

    /// A portrait before any edit.
    fn before(&mut self, setup: &Setup, portrait: Portrait, prompt: String) -> Option<Chosen> {
        let recipe = recipe(setup, &prompt, None, portrait.seed, &[]);
        let before = self.book.look(&Shot { recipe: recipe.clone(), before: None })?;
        Some(Chosen { portrait, prompt, recipe, before })
    }

    /// What a treatment makes of a portrait.
    fn after(
        &mut self,
        setup: &Setup,
        direction: Direction,
        chosen: &Chosen,
        treatment: &Treatment<'_>,
    ) -> Option<Outcome> {
        let recipe = treatment.recipe(setup, &chosen.prompt, chosen.portrait.seed);
        let concepts = treatment.concepts();
        let regions = concepts.iter().flat_map(|concept| regions(concept.group)).copied().collect();
        let after = self.book.look(&Shot { recipe: recipe.clone(), before: Some((chosen.recipe.clone(), regions)) })?;
        let groups: Vec<&str> = concepts.iter().map(|concept| concept.group).collect();
        let wanted = direction == Direction::Plus;
        let others = others(self.vocabulary, &chosen.before.logits, &after.logits, &groups);
        let other = |(group, stayed): (&str, bool)| Other {
            attribute: group.to_owned(),
            said: !chosen.portrait.prompt.leaves_open(group),
            stayed,
        };
        Some(Outcome {
            worked: concepts.iter().all(|concept| self.present(&after.logits, concept) == wanted),
            others: others.into_iter().map(other).collect(),
            change: after.change?,
            after,
            recipe,
        })
    }

    /// Whether the oracle sees a concept.
    fn present(&self, logits: &[f32], concept: &Concept) -> bool {
        self.vocabulary.value(logits, concept.group) == concept.value
    }
}

/// How far the search for portraits that count has come.
struct Sought {
    number: usize,
    counted: usize,
    looked: usize,
    /// Portraits whose pictures are not there yet.
    unknown: usize,
}

impl Sought {
    fn new(number: usize) -> Self {
        Self { number, counted: 0, looked: 0, unknown: 0 }
    }

    fn look(&mut self, counts: bool) {
        self.looked += 1;
        self.counted += usize::from(counts);
    }

    /// Whether as many count as are sought, or would if those yet unknown count as often as the others. Painting one
    /// too many now and then is better than many rounds.
    fn enough(&self) -> bool {
        let share = (self.counted + 1) as f64 / (self.looked + 1) as f64;
        self.counted as f64 + self.unknown as f64 * share >= self.number as f64
    }
}

/// How many portraits are looked at, at most, to find so many that count.
fn pool(number: usize) -> usize {
    4 * number + 40
}
