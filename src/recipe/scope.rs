//! The settings of one level: which are there, and what is wrong with those that do not belong there.

use super::fields::{self, FIELDS, Field, Kind, Level};
use super::suggest;
use super::values::{Reader, first_line, shorten};
use crate::diagnostic::{Code, Diagnostic};
use crate::source::Span;
use crate::syntax::{Entry, Literal, Setting, Value};

/// The settings of one level that are there and known.
pub(super) struct Scope<'a> {
    pub(super) level: Level,
    set: Vec<(&'static Field, &'a Setting)>,
    /// Settings that are probably there in a broken or misspelt form: to call them missing as well would be one
    /// complaint too many.
    pub(super) excused: Vec<&'static str>,
}

/// A setting's value, and whether it can be relied upon.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known<T> {
    /// The value; the default where the setting is absent or wrong.
    pub(super) value: T,
    /// Where the value is written.
    pub(super) span: Option<Span>,
    /// False where what is written is wrong, so that nothing more should be said about the value.
    pub(super) valid: bool,
}

impl<'a> Scope<'a> {
    pub(super) fn new(level: Level) -> Self {
        Self { level, set: Vec::new(), excused: Vec::new() }
    }

    pub(super) fn get(&self, key: &str) -> Option<(&'static Field, &'a Setting)> {
        self.set.iter().find(|(field, _)| field.key == key).copied()
    }

    /// Adds a setting, or reports that it is unknown, misplaced or repeated.
    pub(super) fn add(&mut self, reader: &mut Reader<'_>, setting: &'a Setting) {
        let key = setting.key.value.as_str();
        if let Some(field) = Field::find(key, self.level) {
            match self.get(key) {
                None => self.set.push((field, setting)),
                Some((_, first)) => {
                    let message = format!("`{key}` is set twice");
                    let help = "keep the one that is meant";
                    reader.broken(&setting.values);
                    reader.report(
                        Diagnostic::new(Code::RepeatedSetting, message)
                            .at(setting.span, "set again")
                            .at(first.key.span, "first set here")
                            .help(help),
                    );
                }
            }
            return;
        }
        reader.broken(&setting.values);
        if Field::all(key).next().is_some() {
            self.wrong_level(reader, setting);
        } else {
            self.unknown(reader, setting);
        }
    }

    pub(super) fn wrong_level(&self, reader: &mut Reader<'_>, setting: &Setting) {
        let key = &setting.key.value;
        let written = reader.written(setting.span);
        let (message, help) = match self.level {
            Level::Recipe => (
                format!("`{key}` belongs to a concept"),
                format!("move it between the braces of one: `plus smile \"smile\" {{ {written} }}`"),
            ),
            Level::Concept => (
                format!("`{key}` belongs to the whole picture, not to one concept"),
                "move it out of the braces, to a line of its own".to_owned(),
            ),
        };
        reader.report(
            Diagnostic::new(Code::WrongLevel, message).at(setting.key.span, "stands in the wrong place").help(help),
        );
    }

    pub(super) fn unknown(&mut self, reader: &mut Reader<'_>, setting: &Setting) {
        let key = setting.key.value.as_str();
        let values =
            reader.written(setting.values.iter().fold(Span::default(), |all, value| {
                if all == Span::default() { value.span } else { all.to(value.span) }
            }));
        let here = || FIELDS.iter().filter(|field| field.place.allows(self.level)).map(|field| field.key);
        let slip = suggest::nearest(key, here());
        let synonym = suggest::setting_synonym(key);
        let block = suggest::block_synonym(key).or_else(|| suggest::nearest(key, ["plus", "minus"]));
        let starts_text = matches!(setting.values.first().map(|value| &value.value), Some(Literal::Text(_)));
        let elsewhere = suggest::nearest(key, FIELDS.iter().map(|field| field.key));
        let message = format!("there is no setting `{}`", shorten(key));
        let help = match (slip, synonym.or(elsewhere), block) {
            (None, None, Some(block)) | (None, Some(block @ ("plus" | "minus")), _) => {
                let text = if starts_text { values } else { "\"smile\"".to_owned() };
                let message = format!("there is no block `{}`", shorten(key));
                let help = format!("did you mean `{block}`? a concept is written `{block} smile {text}`");
                reader.report(Diagnostic::new(Code::UnknownBlock, message).at(setting.key.span, "unknown").help(help));
                return;
            }
            (Some(slip), ..) => {
                self.excuse(slip);
                format!("did you mean `{slip}`?")
            }
            (None, Some(other), _) => {
                self.excuse(other);
                let example = match Field::find(other, self.level).or_else(|| Field::all(other).next()) {
                    // A value that means the same in other tools can be kept, except where the kind of value differs.
                    // A cooldown is the end of a range.
                    Some(Field { key: "steps", kind: Kind::StepRange, .. }) if values.parse::<u32>().is_ok() => {
                        format!("steps ..{values}")
                    }
                    Some(Field { kind: Kind::Word(words), .. }) if suggest::word(&values, words).is_some() => {
                        format!("{other} {}", suggest::word(&values, words).unwrap_or_default())
                    }
                    Some(field) if values.is_empty() || matches!(other, "size" | "sigmas" | "steps") => {
                        field.example.to_owned()
                    }
                    _ => format!("{other} {values}"),
                };
                match (Field::find(other, self.level), self.level) {
                    (Some(_), _) => format!("did you mean `{example}`?"),
                    (None, Level::Recipe) => format!("did you mean `{example}`, between the braces of a concept?"),
                    (None, Level::Concept) => format!("did you mean `{example}`, outside of the braces?"),
                }
            }
            (None, None, None) => {
                let words: Vec<&str> = here().collect();
                match self.level {
                    Level::Recipe => "`sega explain settings` lists all settings".to_owned(),
                    Level::Concept => format!("a concept has {}", fields::list(&words).replace(" or ", " and ")),
                }
            }
        };
        reader.report(Diagnostic::new(Code::UnknownSetting, message).at(setting.key.span, "unknown").help(help));
    }

    pub(super) fn excuse(&mut self, key: &str) {
        self.excused.extend(FIELDS.iter().map(|field| field.key).find(|known| *known == key));
    }

    /// Reads a setting by one of the reader's methods.
    pub(super) fn read<'r, T>(
        &self,
        reader: &mut Reader<'r>,
        key: &str,
        default: T,
        read: impl FnOnce(&mut Reader<'r>, &'static Field, &Value) -> Option<T>,
    ) -> Known<T> {
        let Some((field, setting)) = self.get(key) else {
            return Known { value: default, span: None, valid: true };
        };
        let value = reader.single(setting, field);
        let span = value.map(|value| value.span);
        match value.and_then(|value| read(reader, field, value)) {
            Some(value) => Known { value, span, valid: true },
            None => Known { value: default, span, valid: false },
        }
    }
}

impl Scope<'_> {
    /// Reports text that is neither a setting nor a block.
    pub(super) fn junk(&mut self, reader: &mut Reader<'_>, span: Span, before: Option<&Entry>) {
        let slice = reader.source.slice(span);
        let key_end =
            slice.find(|char: char| !(char.is_alphanumeric() || matches!(char, '_' | '-'))).unwrap_or(slice.len());
        let (key, rest) = slice.split_at(key_end);
        let rest = rest.trim_start();
        let comma = matches!(before, Some(Entry::Setting(setting)) if matches!(setting.values.last(), Some(value)
            if matches!(value.value, Literal::Number(_)) && reader.source.slice(Span::new(value.span.end, span.start)) == ","));
        let mark = first_line(reader.source, span);
        let written = reader.written(mark);
        let (message, help) = match (slice.chars().next(), rest.strip_prefix([':', '='])) {
            (Some('0'..='9'), _) if comma => {
                let key = match before {
                    Some(Entry::Setting(Setting { key, values, .. })) => {
                        let value = values.last().map_or("", |value| reader.source.slice(value.span));
                        shorten(&format!("{} {value}", key.value))
                    }
                    _ => String::new(),
                };
                ("a number has a point, not a comma".to_owned(), format!("write `{key}.{written}`"))
            }
            (_, Some(value)) if !key.is_empty() => {
                self.excuse(key);
                let sign = &rest[..1];
                let value = shorten(value.trim());
                (format!("no `{sign}` stands between a setting and its value"), format!("write `{key} {value}`"))
            }
            (Some('}'), _) => (
                "there is no block to close here".to_owned(),
                "take this brace away, or find the `{` that is missing".to_owned(),
            ),
            (Some('{'), _) => (
                "these braces belong to no concept".to_owned(),
                "a concept begins with a word, a name and a text: `plus smile \"smile\" { strength 4 }`".to_owned(),
            ),
            (Some('"'), _) => (
                "this text belongs to no setting".to_owned(),
                "say what it is: `prompt \"...\"`; a text of several lines has three quotes on both sides".to_owned(),
            ),
            (Some('/' | ';' | '-' | '%'), _) => (
                format!("`{written}` is neither a setting nor a block"),
                "if it is a comment, begin it with `#`".to_owned(),
            ),
            _ => (
                format!("`{written}` is neither a setting nor a block"),
                "a line begins with the word of a setting, with `plus` or with `minus`".to_owned(),
            ),
        };
        reader.report(Diagnostic::new(Code::Unreadable, message).at(mark, "not understood").help(help));
    }
}
