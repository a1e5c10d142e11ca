//! What a word means: a setting, a direction, a command or a code.

use serde_json::{Value, json};

use super::fields::{FIELDS, Field, Level};
use super::suggest;
use super::values::level_name;
use crate::diagnostic::Code;

/// A command of the program and what it does, in a sentence.
pub type Command = (&'static str, &'static str);

/// An explanation: a heading and named parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// What is explained.
    pub heading: String,
    /// The parts by their names, in order; the first has none.
    pub parts: Vec<(&'static str, String)>,
}

/// Explains a word; every meaning that it has. Empty where it has none.
///
/// The word may be an address, such as `glasses.strength`: the setting counts.
pub fn explain(word: &str, commands: &[Command]) -> Vec<Explanation> {
    let word = word.rsplit('.').next().unwrap_or(word);
    let mut explanations: Vec<Explanation> = FIELDS.iter().filter(|field| field.key == word).map(of_field).collect();
    if let Some((_, about)) = DIRECTIONS.iter().find(|(direction, _)| *direction == word) {
        explanations.push(of_direction(word, about));
    }
    if let Some((name, about)) = commands.iter().find(|(name, _)| *name == word) {
        let parts = vec![("", (*about).to_owned()), ("more", format!("sega {name} --help"))];
        explanations.push(Explanation { heading: format!("{name}: a command"), parts });
    }
    explanations.extend(Code::from_name(word).map(of_code));
    explanations
}

/// What an unknown word may mean.
pub fn suggestion<'a>(word: &str, commands: &'a [Command]) -> Option<&'a str> {
    let setting = || [Level::Recipe, Level::Concept].into_iter().find_map(|level| suggest::setting(level, word));
    let others = DIRECTIONS.iter().chain(commands).map(|(name, _)| *name);
    let codes = Code::ALL.iter().map(|code| code.as_str());
    setting().or_else(|| suggest::nearest(word, others)).or_else(|| suggest::nearest(&word.to_uppercase(), codes))
}

/// A list of everything that can be explained.
pub fn overview(commands: &[Command]) -> String {
    let mut out = String::new();
    let mut list = |title: &str, rows: Vec<(&str, String)>| {
        out.push_str(&format!("{title}\n"));
        for (name, about) in rows {
            out.push_str(&hanging(&format!("  {name:<10}"), &about));
        }
        out.push('\n');
    };
    for (level, title) in [(Level::Recipe, "settings of a recipe"), (Level::Concept, "settings of a concept")] {
        list(
            title,
            FIELDS.iter().filter(|field| field.level == level).map(|field| (field.key, brief(field))).collect(),
        );
    }
    list("concepts", DIRECTIONS.iter().map(|(name, about)| (*name, (*about).to_owned())).collect());
    list("commands", commands.iter().map(|(name, about)| (*name, (*about).to_owned())).collect());
    list("codes", Code::ALL.iter().map(|code| (code.as_str(), code.title().to_owned())).collect());
    out.trim_end().to_owned() + "\n"
}

impl Explanation {
    /// The explanation for a terminal.
    pub fn text(&self) -> String {
        let mut out = format!("{}\n", self.heading);
        for (name, text) in &self.parts {
            if name.is_empty() {
                out.push_str(&hanging("  ", text));
            } else if text.contains('\n') {
                out.push_str(&format!("  {name}\n"));
                text.lines().for_each(|line| out.push_str(&format!("      {line}\n")));
            } else {
                out.push_str(&hanging(&format!("  {name:<9} "), text));
            }
        }
        out
    }

    /// The explanation for a program.
    pub fn json(&self) -> Value {
        let name = |name: &str| if name.is_empty() { "meaning".to_owned() } else { name.to_owned() };
        let parts = self.parts.iter().map(|(part, text)| (name(part), json!(text)));
        Value::Object([("heading".to_owned(), json!(self.heading))].into_iter().chain(parts).collect())
    }
}

/// The two directions of a concept.
const DIRECTIONS: [Command; 2] = [
    ("plus", "Adds a concept: the picture moves towards what its text says, and stays as it is elsewhere."),
    ("minus", "Takes a concept away: the picture moves away from what its text says, and stays as it is elsewhere."),
];

fn brief(field: &Field) -> String {
    field.meaning.split_inclusive(". ").next().unwrap_or(field.meaning).trim_end().to_owned()
}

fn of_field(field: &Field) -> Explanation {
    let mut parts = vec![("", field.meaning.to_owned()), ("takes", field.kind.expectation())];
    parts.extend(field.formula.map(|formula| ("formula", formula.to_owned())));
    parts.push(("default", field.default.to_owned()));
    parts.extend(field.good.map(|good| ("good", good.to_owned())));
    parts.push(("example", field.example.to_owned()));
    Explanation {
        heading: format!(
            "{}: a setting of {}",
            field.key,
            level_name(field.level).replace("the top level", "the recipe")
        ),
        parts,
    }
}

fn of_direction(word: &str, about: &str) -> Explanation {
    let keys: Vec<&str> = super::fields::keys(Level::Concept).collect();
    let parts = vec![
        ("", about.to_owned()),
        ("form", format!("{word} NAME \"TEXT\" {{ SETTINGS }}; without braces every setting has its default")),
        ("settings", keys.join(", ")),
        ("formula", "psi = +-(e_c - e_u), its smallest elements set to 0, times `strength`, added to e".to_owned()),
        ("example", format!("{word} glasses \"glasses, wearing glasses\" {{ strength 5 }}")),
    ];
    Explanation { heading: format!("{word}: a concept"), parts }
}

fn of_code(code: Code) -> Explanation {
    let (wrong, right) = code.examples();
    // Examples of several lines are set off from their names.
    let block = |text: &str| if text.contains('\n') { format!("{text}\n") } else { text.to_owned() };
    let parts = vec![("", code.explanation().to_owned()), ("instead of", block(wrong)), ("write", block(right))];
    Explanation { heading: format!("{code} ({}): {}", code.severity().name(), code.title()), parts }
}

/// Text broken into lines of bearable length, the later ones indented as deep as the first begins.
fn hanging(first: &str, text: &str) -> String {
    const WIDTH: usize = 90;
    let indent = " ".repeat(first.chars().count());
    let mut lines = vec![first.to_owned()];
    for word in text.split_whitespace() {
        let line = lines.last().map_or(0, |line| line.chars().count());
        let begun = lines.last().is_some_and(|line| line.len() > indent.len());
        if begun && line + 1 + word.chars().count() > WIDTH {
            lines.push(indent.clone());
        }
        if let Some(line) = lines.last_mut() {
            if line.len() > indent.len() && !line.ends_with(' ') {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines.join("\n") + "\n"
}
