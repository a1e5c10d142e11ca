//! What is painted: prompts that no setting was chosen with, each in two wordings, and the portraits made from them.

use crate::concepts::Concept;

/// A prompt, the same in other words, and what it says.
#[derive(Debug)]
pub(crate) struct Prompt {
    text: &'static str,
    paraphrase: &'static str,
    /// Attribute and value; `|` parts values of which any will do.
    pub(crate) says: &'static [(&'static str, &'static str)],
}

/// Which words a prompt is put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wording {
    Plain,
    Paraphrased,
}

impl Prompt {
    /// Its text in the given words.
    pub(crate) fn text(&self, wording: Wording) -> &'static str {
        match wording {
            Wording::Plain => self.text,
            Wording::Paraphrased => self.paraphrase,
        }
    }

    /// Whether it leaves an attribute open.
    pub(crate) fn leaves_open(&self, group: &str) -> bool {
        self.says.iter().all(|(said, _)| *said != group)
    }

    /// Whether a concept can be put to it: what is about hair needs a person.
    pub(crate) fn suits(&self, concept: &Concept) -> bool {
        let person = self.says.iter().any(|(group, value)| *group == "subject" && value.contains("man"));
        self.leaves_open(concept.group) && (concept.group != "hair" || person)
    }
}

/// A prompt with a seed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Portrait {
    pub(crate) prompt: &'static Prompt,
    pub(crate) seed: u64,
}

/// From one portrait's prompt to the next one's: so that a few portraits are of many kinds.
const STRIDE: usize = 12;
const _: () =
    assert!(!PROMPTS.len().is_multiple_of(2) && !PROMPTS.len().is_multiple_of(3), "a stride must meet all prompts");

/// Portrait number `number`: all prompts in turn, every portrait with a seed of its own.
pub(crate) fn portrait(number: usize) -> Portrait {
    const FIRST_SEED: u64 = 700_000;
    Portrait { prompt: &PROMPTS[number * STRIDE % PROMPTS.len()], seed: FIRST_SEED + number as u64 }
}

const fn prompt(text: &'static str, paraphrase: &'static str, says: &'static [(&'static str, &'static str)]) -> Prompt {
    Prompt { text, paraphrase, says }
}

const WOMAN: (&str, &str) = ("subject", "woman");
const MAN: (&str, &str) = ("subject", "man");
const PERSON: (&str, &str) = ("subject", "woman|man");
const CAT: (&str, &str) = ("subject", "cat");
const DOG: (&str, &str) = ("subject", "dog");
const ROBOT: (&str, &str) = ("subject", "robot");
const OLD: (&str, &str) = ("old", "yes");
const YOUNG: (&str, &str) = ("old", "no");

/// Every prompt.
pub(crate) const PROMPTS: &[Prompt] = &[
    prompt("a portrait of a woman", "an image of a woman", &[WOMAN]),
    prompt("a portrait of a man", "a picture of a man", &[MAN]),
    prompt("a portrait of a cat", "a cat", &[CAT]),
    prompt("a portrait of a robot", "a picture of a robot", &[ROBOT]),
    prompt("a portrait of a person", "portrait of a person", &[PERSON]),
    prompt("a portrait of a dog", "an image of a dog", &[DOG]),
    prompt(
        "a portrait of an old woman with long gray hair",
        "an old woman, long gray hair",
        &[WOMAN, OLD, ("hair", "long"), ("hair_colour", "gray")],
    ),
    prompt(
        "a portrait of a young man with short black hair",
        "a picture of a young man, short black hair",
        &[MAN, YOUNG, ("hair", "short"), ("hair_colour", "black")],
    ),
    prompt(
        "a portrait of a woman, green clothes, pink background",
        "an image of a woman, a pink background, a green shirt",
        &[WOMAN, ("clothes", "green"), ("place", "plain"), ("plain_colour", "pink")],
    ),
    prompt("a portrait of a man, a blue shirt", "portrait of a man, blue clothes", &[MAN, ("clothes", "blue")]),
    prompt(
        "a portrait of an orange cat, yellow background",
        "an orange cat, a yellow background",
        &[CAT, ("fur", "orange"), ("place", "plain"), ("plain_colour", "yellow")],
    ),
    prompt(
        "a portrait of a brown dog, at the beach",
        "a picture of a brown dog, the sea",
        &[DOG, ("fur", "brown"), ("place", "beach")],
    ),
    prompt(
        "a portrait of a robot, in a city, white clothes",
        "a robot, a white shirt, buildings",
        &[ROBOT, ("place", "city"), ("clothes", "white")],
    ),
    prompt(
        "a portrait of a woman with curly red hair, in a forest",
        "a woman, trees, curly red hair",
        &[WOMAN, ("hair", "curly"), ("hair_colour", "red"), ("place", "forest")],
    ),
    prompt(
        "a portrait of a man with a beard, yellow clothes",
        "an image of a man, a yellow shirt, beard",
        &[MAN, ("beard", "yes"), ("clothes", "yellow")],
    ),
    prompt(
        "a portrait of a woman with glasses, blue background",
        "a picture of a woman, a blue background, wearing glasses",
        &[WOMAN, ("glasses", "glasses"), ("place", "plain"), ("plain_colour", "blue")],
    ),
    prompt(
        "a portrait of a man with sunglasses, at sunset",
        "portrait of a man, sunset, wearing sunglasses",
        &[MAN, ("glasses", "sunglasses"), ("place", "sunset")],
    ),
    prompt(
        "a portrait of a person with a crown, at night",
        "a person, night sky, a golden crown",
        &[PERSON, ("hat", "crown"), ("place", "night")],
    ),
    prompt(
        "a portrait of a gray dog with a red scarf",
        "a gray dog, a red scarf",
        &[DOG, ("fur", "gray"), ("scarf", "yes"), ("accent", "red")],
    ),
    prompt(
        "a portrait of a cat with a top hat, smiling",
        "a cat, a happy smile, a black top hat",
        &[CAT, ("hat", "top hat"), ("mouth", "smile")],
    ),
    prompt(
        "a portrait of an old robot, green background",
        "an old robot, a green background",
        &[ROBOT, OLD, ("place", "plain"), ("plain_colour", "green")],
    ),
    prompt(
        "a portrait of a woman with lipstick, earrings",
        "a picture of a woman, wearing earrings, red lipstick",
        &[WOMAN, ("lipstick", "yes"), ("earrings", "yes")],
    ),
    prompt(
        "a portrait of a man, frowning, gray background",
        "an image of a man, a gray background, a sad frown",
        &[MAN, ("mouth", "frown"), ("place", "plain"), ("plain_colour", "gray")],
    ),
    prompt(
        "a portrait of a person with freckles, open mouth",
        "portrait of a person, surprised, freckles",
        &[PERSON, ("freckles", "yes"), ("mouth", "open")],
    ),
    prompt(
        "a portrait of a man, bald, a purple shirt",
        "a man, purple clothes, a bald head",
        &[MAN, ("hair", "bald"), ("clothes", "purple")],
    ),
    prompt(
        "a portrait of an old man with a blue cap",
        "a picture of an old man, a blue cap",
        &[MAN, OLD, ("hat", "cap"), ("accent", "blue")],
    ),
    prompt(
        "a portrait of a woman with long blond hair, red clothes",
        "an image of a woman, a red shirt, long blond hair",
        &[WOMAN, ("hair", "long"), ("hair_colour", "blond"), ("clothes", "red")],
    ),
    prompt(
        "a portrait of a dog with a green beanie, at the beach",
        "a dog, beach, a green beanie",
        &[DOG, ("hat", "beanie"), ("accent", "green"), ("place", "beach")],
    ),
    prompt(
        "a portrait of a woman, a pencil sketch",
        "a woman, black and white drawing",
        &[WOMAN, ("style", "pencil sketch")],
    ),
    prompt(
        "a portrait of a young man, sepia",
        "a young man, an old sepia photograph",
        &[MAN, YOUNG, ("style", "sepia")],
    ),
    prompt("a portrait of a robot, neon", "a picture of a robot, neon lights", &[ROBOT, ("style", "neon")]),
];
