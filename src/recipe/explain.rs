//! What `sega explain WORD` says of a setting, a block, a command or an error code.

use serde_json::{Map, Value, json};

use super::Direction;
use super::fields::{FIELDS, Field, Kind, Level, Place};
use super::loras::LORA;
use super::suggest;
use crate::diagnostic::{Code, Severity};

/// Explanations are wrapped at this column.
const WIDTH: usize = 80;
/// What stands beside a part's heading starts at this column.
const INDENT: usize = 12;

/// What is known of a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The word in its full form, such as `strength` or `E0203`.
    pub word: String,
    /// What it is: `setting`, `block`, `command`, `error`, `warning` or `list`.
    pub kind: &'static str,
    /// What it means.
    pub meaning: String,
    /// Headings and what belongs under them, in order.
    pub parts: Vec<(&'static str, Part)>,
}

/// What stands under a heading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Words, to be wrapped.
    Prose(String),
    /// Lines of a recipe, to be kept.
    Recipe(String),
    /// Words with a line about each.
    Table(Vec<(String, String)>),
}

/// A word of which nothing is known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is nothing to explain about `{word}`{}", hint(.suggestion.as_deref()))]
pub struct Unexplained {
    /// The word as given.
    pub word: String,
    /// The word that was probably meant.
    pub suggestion: Option<String>,
}

fn hint(suggestion: Option<&str>) -> String {
    match suggestion {
        Some(word) => format!("; did you mean `{word}`?"),
        None => "; `sega explain settings` lists what there is".to_owned(),
    }
}

/// Everything that is known of a word; a setting that exists on both levels gives two explanations. `commands` are the
/// program's commands with a line about each. `settings`, `codes` and `commands` list all that there are.
pub fn explain(word: &str, commands: &[(&str, &str)]) -> Result<Vec<Explanation>, Unexplained> {
    let word = word.trim();
    if let Some(code) = Code::from_name(word) {
        return Ok(vec![of_code(code)]);
    }
    match word {
        "settings" => return Ok(vec![settings()]),
        "codes" => return Ok(vec![codes()]),
        "commands" => return Ok(vec![list_of(commands)]),
        _ => {}
    }
    // An address such as `glasses.strength` is about the concept's setting.
    let (level, key) = match word.rsplit_once('.') {
        Some((_, key)) => (Some(Level::Concept), key),
        None => (None, word),
    };
    let mut found: Vec<Explanation> =
        Field::all(key).filter(|field| level.is_none_or(|level| field.place.allows(level))).map(of_field).collect();
    if level.is_none() {
        found.extend([Direction::Plus, Direction::Minus].into_iter().filter(|kind| kind.name() == key).map(of_block));
        found.extend((key == LORA).then(of_lora));
        found.extend(commands.iter().filter(|(name, _)| *name == key).map(|(name, line)| of_command(name, line)));
        if found.is_empty() {
            // A word that a setting takes, such as `ddim`.
            let takes = |field: &&Field| matches!(field.kind, Kind::Word(words) if words.contains(&key));
            found.extend(FIELDS.iter().filter(takes).map(of_field));
        }
    }
    if !found.is_empty() {
        return Ok(found);
    }
    let known = FIELDS.iter().map(|field| field.key).chain(["plus", "minus", LORA, "settings", "codes", "commands"]);
    let codes = Code::ALL.iter().map(|code| code.as_str());
    let near = suggest::nearest(key, known.chain(commands.iter().map(|(name, _)| *name)).chain(codes));
    let suggestion = suggest::setting_synonym(key).or_else(|| suggest::block_synonym(key)).or(near).map(str::to_owned);
    Err(Unexplained { word: word.to_owned(), suggestion })
}

fn of_field(field: &Field) -> Explanation {
    let place = match field.place {
        Place::Recipe => "outside of the braces, for the whole picture",
        Place::Concept => "between the braces of a concept",
        Place::Lora => "between the braces of a LoRA",
        Place::Both => "between the braces of a concept, or outside as the default of all concepts",
    };
    let prose = |text: &str| Part::Prose(text.to_owned());
    let unit = if field.unit.is_empty() { String::new() } else { format!(" ({})", field.unit) };
    let mut parts = vec![
        ("stands", prose(place)),
        ("takes", Part::Prose(field.takes() + &unit)),
        ("default", Part::Prose(field.default())),
    ];
    if !field.formula.is_empty() {
        parts.push(("formula", prose(field.formula)));
    }
    if !field.good.is_empty() {
        parts.push(("good", prose(field.good)));
    }
    let example = match field.place {
        Place::Lora => format!("lora grain \"film-grain.safetensors\" {{ {} }}", field.example),
        Place::Concept => format!("plus smile \"smiling, smile\" {{ {} }}", field.example),
        Place::Recipe | Place::Both => field.example.to_owned(),
    };
    parts.push(("example", Part::Recipe(example)));
    Explanation { word: field.key.to_owned(), kind: "setting", meaning: field.meaning.to_owned(), parts }
}

fn of_block(direction: Direction) -> Explanation {
    let (meaning, formula, text) = match direction {
        Direction::Plus => {
            ("adds a concept to the picture", "psi = +(e_c - e_u)", "glasses \"glasses, wearing glasses\"")
        }
        Direction::Minus => ("takes a concept out of the picture", "psi = -(e_c - e_u)", "crowd \"crowd, people\""),
    };
    let word = direction.name();
    let settings = FIELDS.iter().filter(|field| field.place.allows(Level::Concept));
    Explanation {
        word: word.to_owned(),
        kind: "block",
        meaning: format!("{meaning}: a name, a text in quotes, and settings between braces"),
        parts: vec![
            ("name", Part::Prose("one word, different for each concept; it never changes the picture".to_owned())),
            (
                "text",
                Part::Prose(
                    "what the model is asked about; several phrasings, with commas, often work best".to_owned(),
                ),
            ),
            ("formula", Part::Prose(formula.to_owned())),
            ("settings", Part::Table(settings.map(|field| (field.key.to_owned(), field.meaning.to_owned())).collect())),
            ("example", Part::Recipe(format!("{word} {text} {{\n  strength  5\n  threshold 95%\n}}"))),
        ],
    }
}

fn of_lora() -> Explanation {
    let settings = FIELDS.iter().filter(|field| field.place == Place::Lora);
    Explanation {
        word: LORA.to_owned(),
        kind: "block",
        meaning: "adapts the model's weights: a name, a file in quotes, and settings between braces".to_owned(),
        parts: vec![
            ("name", Part::Prose("one word, different for each block; it never changes the picture".to_owned())),
            (
                "file",
                Part::Prose(
                    "a .safetensors file in the layout of kohya's scripts or of diffusers, a folder with a \
                     `pytorch_lora_weights.safetensors`, or a hub's, `owner/name` or `owner/name/file.safetensors`; a \
                     relative one starts from the recipe's folder"
                        .to_owned(),
                ),
            ),
            ("formula", Part::Prose("W + c (alpha / rank) B A for each weight W that the file adapts".to_owned())),
            ("settings", Part::Table(settings.map(|field| (field.key.to_owned(), field.meaning.to_owned())).collect())),
            ("example", Part::Recipe(format!("{LORA} grain \"film-grain.safetensors\" {{ strength 0.6 }}"))),
        ],
    }
}

fn of_command(name: &str, line: &str) -> Explanation {
    Explanation {
        word: name.to_owned(),
        kind: "command",
        meaning: line.to_owned(),
        parts: vec![("more", Part::Prose(format!("`sega {name} --help` lists its options")))],
    }
}

fn of_code(code: Code) -> Explanation {
    Explanation {
        word: code.as_str().to_owned(),
        kind: code.severity().name(),
        meaning: code.title().to_owned(),
        parts: vec![
            ("why", Part::Prose(code.explanation().to_owned())),
            (
                if code.severity() == Severity::Error { "wrong" } else { "doubtful" },
                Part::Recipe(code.wrong().to_owned()),
            ),
            ("right", Part::Recipe(code.right().to_owned())),
        ],
    }
}

fn list_of(commands: &[(&str, &str)]) -> Explanation {
    let rows = commands.iter().map(|(name, line)| ((*name).to_owned(), (*line).to_owned()));
    Explanation {
        word: "commands".to_owned(),
        kind: "list",
        meaning: "what `sega` does; each command has its own `--help`".to_owned(),
        parts: vec![("commands", Part::Table(rows.collect()))],
    }
}

fn settings() -> Explanation {
    let of = |wanted: fn(Place) -> bool| {
        let fields = FIELDS.iter().filter(|field| wanted(field.place));
        Part::Table(fields.map(|field| (field.key.to_owned(), field.meaning.to_owned())).collect())
    };
    Explanation {
        word: "settings".to_owned(),
        kind: "list",
        meaning: "a setting is a word and a value on a line".to_owned(),
        parts: vec![
            ("picture", of(|place| place == Place::Recipe)),
            ("concept", of(|place| place == Place::Concept)),
            ("both", of(|place| place == Place::Both)),
            ("LoRA", of(|place| place == Place::Lora)),
        ],
    }
}

fn codes() -> Explanation {
    let of = |severity: Severity| {
        let codes = Code::ALL.iter().filter(|code| code.severity() == severity);
        Part::Table(codes.map(|code| (code.as_str().to_owned(), code.title().to_owned())).collect())
    };
    Explanation {
        word: "codes".to_owned(),
        kind: "list",
        meaning: "every message of `sega check` has a code, which `sega explain` explains".to_owned(),
        parts: vec![("errors", of(Severity::Error)), ("warnings", of(Severity::Warning))],
    }
}

impl Explanation {
    /// Plain text of at most 80 columns, with a line break at its end.
    pub fn to_text(&self) -> String {
        let mut out = format!("{} ({})\n", self.word, self.kind);
        wrap(&mut out, &self.meaning, 2);
        for (heading, part) in &self.parts {
            out.push('\n');
            match part {
                Part::Prose(text) => {
                    // The heading stands where the first line's indentation would be.
                    let mut body = String::new();
                    wrap(&mut body, text, INDENT);
                    out.push_str(&format!("  {heading:<width$}{}", &body[INDENT..], width = INDENT - 2));
                }
                Part::Recipe(lines) => {
                    out.push_str(&format!("  {heading}\n"));
                    for line in lines.lines() {
                        out.push_str(&format!("      {line}\n"));
                    }
                }
                Part::Table(rows) => {
                    out.push_str(&format!("  {heading}\n"));
                    for (word, text) in rows {
                        let mut body = String::new();
                        wrap(&mut body, text, INDENT + 6);
                        out.push_str(&format!("      {word:<width$}{}", &body[INDENT + 6..], width = INDENT));
                    }
                }
            }
        }
        out
    }

    /// The same as an object: `word`, `kind`, `meaning`, and a member for each heading.
    pub fn to_json(&self) -> Value {
        let mut object = Map::new();
        object.insert("word".to_owned(), json!(self.word));
        object.insert("kind".to_owned(), json!(self.kind));
        object.insert("meaning".to_owned(), json!(self.meaning));
        for (heading, part) in &self.parts {
            let value = match part {
                Part::Prose(text) | Part::Recipe(text) => json!(text),
                Part::Table(rows) => {
                    Value::Object(rows.iter().map(|(word, text)| (word.clone(), json!(text))).collect())
                }
            };
            object.insert((*heading).to_owned(), value);
        }
        Value::Object(object)
    }
}

/// Appends words in lines of at most [`WIDTH`] columns, each with an indentation and a line break.
fn wrap(out: &mut String, text: &str, indent: usize) {
    let mut column = 0;
    for word in text.split_whitespace() {
        let width = word.chars().count();
        if column > 0 && column + 1 + width > WIDTH {
            out.push('\n');
            column = 0;
        }
        if column == 0 {
            out.push_str(&" ".repeat(indent));
            column = indent;
        } else {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += width;
    }
    out.push('\n');
}
