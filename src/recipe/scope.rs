//! The settings of one level: which are there, and what is wrong with those that do not belong there.

use super::fields::{self, FIELDS, Field, Kind, Level};
use super::heads::{name_from, sound};
use super::pairs::{Pair, pairs};
use super::values::{ANY_SEED, Reader, first_line, shorten, shorten_repair, write_or_takes};
use super::{repair, suggest};
use crate::diagnostic::{Code, Diagnostic};
use crate::source::{Span, Spanned};
use crate::syntax::{Block, Entry, Setting, Value};

/// The settings of one level, the reader's, that are there and known.
#[derive(Default)]
pub(super) struct Scope<'a> {
    set: Vec<(&'static Field, &'a Setting)>,
    /// Settings that are there a second time and more.
    again: Vec<(&'static Field, &'a Setting)>,
    /// Settings that are probably there in a broken or misspelt form: to call them missing as well would be one
    /// complaint too many.
    pub(super) excused: Vec<&'static str>,
    /// One side of the size as a setting of its own: which, its value, and the index of what was said of it.
    side: Option<(&'static str, String, usize)>,
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

/// What the braces of a level belong to.
fn block(level: Level) -> &'static str {
    if level == Level::Lora { "LoRA" } else { "concept" }
}

impl<'a> Scope<'a> {
    pub(super) fn get(&self, key: &str) -> Option<(&'static Field, &'a Setting)> {
        self.set.iter().find(|(field, _)| field.key == key).copied()
    }

    /// Adds a setting, or reports that it is unknown, misplaced or repeated. Gives how many of the entries behind it are
    /// a part of its value that a comma cut off.
    pub(super) fn add(&mut self, reader: &mut Reader<'_>, setting: &'a Setting, behind: &'a [Entry]) -> usize {
        let key = setting.key.value.as_str();
        let (run, line) = run_on(reader, setting.span, behind);
        let found =
            if setting.values.len() > 1 { pairs(reader.source.slice(line), 0, reader.level) } else { Vec::new() };
        for pair in found.iter().skip(1) {
            self.excuse(pair.means(reader.level).unwrap_or_default());
        }
        let whole_key = found.first().is_none_or(|first| first.key.len() <= key.len());
        match Field::find(key, reader.level).filter(|_| whole_key) {
            Some(field) if run > 0 => {
                self.excuse(field.key);
                if !reader.broken(&setting.values) {
                    reader.several(field, &setting.values, line);
                }
            }
            Some(field) => {
                let first = self.get(key);
                if let Some((_, first)) = first {
                    let message = format!("`{key}` is set twice");
                    let help = "keep the one that is meant";
                    reader.report(
                        Diagnostic::new(Code::RepeatedSetting, message)
                            .at(setting.span, "set again")
                            .at(first.key.span, "first set here")
                            .help(help),
                    );
                }
                let list = if first.is_some() { &mut self.again } else { &mut self.set };
                list.push((field, setting));
            }
            None => {
                reader.broken(&setting.values);
                if whole_key && Field::all(key).next().is_some() {
                    self.wrong_level(reader, &setting.key, line);
                } else {
                    self.unknown(reader, &setting.key, line);
                }
            }
        }
        run
    }

    /// Reports a line that has the shape of a block (`key word "text"`), but whose key is none of theirs.
    pub(super) fn misread(&mut self, reader: &mut Reader<'_>, block: &Block) {
        let key = block.kind.value.as_str();
        if reader.broken(&block.head) {
            self.excuse(key);
            return;
        }
        let found = pairs(reader.source.slice(block.span), 0, reader.level);
        let whole_key = found.first().is_none_or(|first| first.key.len() <= key.len());
        match Field::find(key, reader.level).filter(|_| whole_key) {
            Some(field) => {
                self.excuse(field.key);
                reader.several(field, &block.head, block.span);
            }
            None if whole_key && Field::all(key).next().is_some() => self.wrong_level(reader, &block.kind, block.span),
            None => self.unknown(reader, &block.kind, block.span),
        }
    }

    /// Reports a setting of the other level.
    fn wrong_level(&self, reader: &mut Reader<'_>, key: &Spanned<String>, line: Span) {
        let name = &key.value;
        let value = reader.source.slice(Span::new(key.span.end, line.end)).trim_start_matches([' ', '\t', '=', ':']);
        let (message, help) = match reader.level {
            Level::Recipe => {
                let field = Field::find(name, Level::Concept);
                let line = field.and_then(|field| repair::setting(field, name, value)).as_deref().map(shorten_repair);
                let (verb, line) = match line {
                    Some(line) => (":", line),
                    None => (", as in", field.map_or_else(String::new, |field| field.example.to_owned())),
                };
                let help = format!("move it between the braces of one{verb} `plus smile \"smile\" {{ {line} }}`");
                (format!("`{name}` belongs to a concept"), help)
            }
            Level::Lora if Field::find(name, Level::Concept).is_some() => {
                (format!("`{name}` belongs to a concept, not to a LoRA"), "a LoRA has `strength` alone".to_owned())
            }
            Level::Concept | Level::Lora => (
                format!("`{name}` belongs to the whole picture, not to one {}", block(reader.level)),
                "move it out of the braces, to a line of its own".to_owned(),
            ),
        };
        reader.report(Diagnostic::new(Code::WrongLevel, message).at(key.span, "stands in the wrong place").help(help));
    }

    /// Reports a line that begins with a key of another tool, or with none at all.
    fn unknown(&mut self, reader: &mut Reader<'_>, key: &Spanned<String>, line: Span) {
        let source = reader.source;
        let all = pairs(source.slice(line), line.start, reader.level);
        let alone = Pair { key: &key.value, sign: None, value: "", key_place: key.span, place: key.span };
        let first = all.first().copied().unwrap_or(alone);
        let block = suggest::block_synonym(first.key).or_else(|| suggest::nearest(first.key, ["plus", "minus"]));
        let (means, block) = match first.means(reader.level) {
            Some(block @ ("plus" | "minus")) => (None, Some(block)),
            means => (means, block.filter(|_| means.is_none())),
        };
        let message =
            format!("there is no {} `{}`", if block.is_some() { "block" } else { "setting" }, shorten(first.key));
        let (code, help) = match (means, block) {
            (Some(means), _) => {
                if self.other_side(reader, &first) {
                    return;
                }
                (Code::UnknownSetting, self.meant(reader.level, &first, &all, means))
            }
            (None, Some(block)) => {
                let quoted = repair::unquoted(first.value).is_some();
                let text = repair::text(first.value).filter(|_| quoted);
                let name = text.as_ref().map_or_else(|| "smile".to_owned(), |text| name_from(text));
                let text = text.unwrap_or_else(|| "\"smile\"".to_owned());
                let help = match reader.level {
                    Level::Recipe => {
                        let line = sound(format!("{block} {name} {text}"));
                        format!("did you mean `{block}`? a concept is written `{line}`")
                    }
                    Level::Concept | Level::Lora => {
                        format!("did you mean `{block}`? it stands before the name of a concept")
                    }
                };
                (Code::UnknownBlock, help)
            }
            (None, None) => {
                let words: Vec<&str> =
                    FIELDS.iter().filter(|field| field.place.allows(reader.level)).map(|field| field.key).collect();
                let help = match reader.level {
                    Level::Recipe => "`sega explain settings` lists all settings".to_owned(),
                    Level::Lora => "a LoRA has `strength` alone".to_owned(),
                    Level::Concept => format!("a concept has {}", fields::list(&words).replace(" or ", " and ")),
                };
                (Code::UnknownSetting, help)
            }
        };
        reader.report(Diagnostic::new(code, message).at(first.key_place, "unknown").help(help));
    }

    /// What a line of another tool is here, whose first key stands for `means`.
    fn meant(&mut self, level: Level, first: &Pair<'_>, all: &[Pair<'_>], means: &'static str) -> String {
        for pair in all {
            self.excuse(pair.means(level).unwrap_or(means));
        }
        self.excuse(means);
        let here = Field::find(means, level).filter(|field| suggest::may_mean(first.key, field));
        let Some(field) = here.or_else(|| Field::all(means).last()) else { return String::new() };
        let slip = first.sign.is_none() && all.len() == 1 && suggest::setting_synonym(first.key).is_none();
        if slip && here.is_some() && repair::passes(&format!("{means} {}", first.value), level) {
            return format!("did you mean `{means}`?");
        }
        let together = (all.len() > 1).then(|| repair::line(all, level)).flatten();
        let place = match (here, level) {
            (Some(_), _) => "",
            (None, Level::Recipe) => ", between the braces of a concept",
            (None, Level::Concept | Level::Lora) => ", outside of the braces",
        };
        match together.or_else(|| repair::setting(field, first.key, first.value)) {
            Some(line) => format!("did you mean `{}`{place}?", shorten_repair(&line)),
            None if field.kind == Kind::Seeds && repair::is_any_seed(first.value) => ANY_SEED.to_owned(),
            None if first.value.is_empty() => format!("did you mean `{}`{place}?", field.example),
            None => format!("did you mean `{means}`{place}, as in `{}`?", field.example),
        }
    }

    /// Whether a key is one side of the size and the other side came before it: then both are one mistake.
    fn other_side(&mut self, reader: &mut Reader<'_>, pair: &Pair<'_>) -> bool {
        let Some(side) = ["width", "height"].into_iter().find(|side| suggest::same(pair.key, side)) else {
            return false;
        };
        if let Some((other, value, index)) = self.side.take()
            && other != side
        {
            let sides = if side == "height" { [&value, pair.value] } else { [pair.value, &value] };
            let size =
                Field::find("size", Level::Recipe).and_then(|field| repair::setting(field, "size", &sides.join("x")));
            if let (Some(size), Some(said)) = (size, reader.found.get_mut(index)) {
                let place = if reader.level == Level::Recipe { "" } else { ", outside of the braces" };
                said.help = Some(format!("did you mean `{size}`{place}?"));
                *said = said.clone().at(pair.key_place, "the other side");
                return true;
            }
        }
        self.side = Some((side, pair.value.to_owned(), reader.found.len()));
        false
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
        read: impl Fn(&mut Reader<'r>, &'static Field, &Value) -> Option<T>,
    ) -> Known<T> {
        let mut known = None;
        // If it is set again, the first holds, but every mistake is said.
        for (field, setting) in self.set.iter().chain(&self.again).filter(|(field, _)| field.key == key) {
            let value = reader.single(setting, field);
            let span = value.map(|value| value.span);
            let value = value.and_then(|value| read(reader, field, value));
            known.get_or_insert((value, span));
        }
        match known {
            Some((Some(value), span)) => Known { value, span, valid: true },
            Some((None, span)) => Known { value: default, span, valid: false },
            None => Known { value: default, span: None, valid: !self.excused.contains(&key) },
        }
    }
}

impl Scope<'_> {
    /// Reports text that is neither a setting nor a block. Gives how many of the entries behind it are a part of it.
    pub(super) fn junk(
        &mut self,
        reader: &mut Reader<'_>,
        span: Span,
        before: Option<&Entry>,
        behind: &[Entry],
    ) -> usize {
        let source = reader.source;
        let mark = first_line(source, span);
        let (run, line) = if mark == span { run_on(reader, span, behind) } else { (0, mark) };
        let all = pairs(source.slice(line), line.start, reader.level);
        if all.first().is_some_and(|pair| pair.sign.is_some()) {
            for pair in &all {
                self.pair(reader, pair);
            }
            return run;
        }
        let written = reader.written(mark);
        let (message, help) = match source.slice(span).chars().next() {
            Some('{') if let Some(Entry::Block(block @ Block { body: None, .. })) = before => (
                "this `{` does not stand on the line of its concept".to_owned(),
                format!("end that line with it: `{} {{`", shorten_repair(source.slice(block.span))),
            ),
            Some('}') => (
                "there is no block to close here".to_owned(),
                "take this brace away, or find the `{` that is missing".to_owned(),
            ),
            Some('{') => (
                "these braces belong to no concept".to_owned(),
                "a concept begins with a word, a name and a text: `plus smile \"smile\" { strength 4 }`".to_owned(),
            ),
            Some('"') => (
                "this text belongs to no setting".to_owned(),
                "say what it is: `prompt \"...\"`; a text of several lines has three quotes on both sides".to_owned(),
            ),
            Some('/' | ';' | '-' | '%') => (
                format!("`{written}` is neither a setting nor a block"),
                "if it is a comment, begin it with `#`".to_owned(),
            ),
            _ => (
                format!("`{written}` is neither a setting nor a block"),
                "a line begins with the word of a setting, with `plus` or with `minus`".to_owned(),
            ),
        };
        reader.report(Diagnostic::new(Code::Unreadable, message).at(mark, "not understood").help(help));
        0
    }

    /// Reports a key and a value with a sign between them.
    fn pair(&mut self, reader: &mut Reader<'_>, pair: &Pair<'_>) {
        if let ("plus" | "minus", Some(sign)) = (pair.key, pair.sign) {
            let message = format!("no `{sign}` stands behind `{}`", pair.key);
            let help = format!("leave it out: `{}`", sound(format!("{} {}", pair.key, pair.value)));
            reader.report(Diagnostic::new(Code::Unreadable, message).at(pair.place, "not understood").help(help));
            return;
        }
        let field = Field::find(pair.key, reader.level);
        let (Some(field), Some(sign)) = (field, pair.sign) else {
            let key = Spanned::new(pair.key.to_owned(), pair.key_place);
            let elsewhere = Field::all(pair.key).next().is_some();
            return if elsewhere {
                self.wrong_level(reader, &key, pair.place)
            } else {
                self.unknown(reader, &key, pair.place)
            };
        };
        self.excuse(field.key);
        let message = format!("no `{sign}` stands between a setting and its value");
        let help = match repair::setting(field, pair.key, pair.value) {
            None if field.kind == Kind::Seeds && repair::is_any_seed(pair.value) => ANY_SEED.to_owned(),
            line => write_or_takes(field, line.as_deref().map(shorten_repair)),
        };
        reader.report(Diagnostic::new(Code::Unreadable, message).at(pair.place, "not understood").help(help));
    }
}

/// How many of the entries behind a line's beginning are a part of its last value, as in `seed 1, 2` or in a text without
/// quotes, and the whole of it.
fn run_on(reader: &Reader<'_>, start: Span, behind: &[Entry]) -> (usize, Span) {
    let (mut count, mut line) = (0, start);
    let slice = |span: Span| reader.source.slice(span);
    let read_text = || {
        let all = pairs(slice(start), 0, reader.level);
        let Some(last) = all.last().filter(|pair| !pair.value.is_empty() && !pair.value.contains('"')) else {
            return false;
        };
        last.means(reader.level).and_then(|key| Field::all(key).next()).is_some_and(|field| field.kind == Kind::Text)
    };
    // Looked up when it is first needed, and once.
    let mut is_text = None;
    for entry in behind {
        let (span, stops) = match entry {
            Entry::Junk(span) => (*span, false),
            Entry::Setting(inner) => {
                (inner.span, Field::find(&inner.key.value, reader.level).is_some() && !inner.values.is_empty())
            }
            Entry::Block(inner) => {
                (inner.span, inner.body.is_some() || matches!(inner.kind.value.as_str(), "plus" | "minus"))
            }
            Entry::Comment(_) | Entry::Blank => break,
        };
        if stops || !follows(reader, line, span) {
            break;
        }
        let part = slice(span);
        let signed = pairs(part, 0, reader.level).first().is_some_and(|pair| pair.sign.is_some());
        let value =
            || part.starts_with(|char: char| char.is_ascii_digit() || matches!(char, '.' | '"' | '+' | '-' | '['));
        if signed || part.starts_with(['{', '}']) || !(value() || *is_text.get_or_insert_with(read_text)) {
            break;
        }
        (count, line) = (count + 1, line.to(span));
    }
    (count, line)
}

/// Whether nothing but a comma stands between two places.
fn follows(reader: &Reader<'_>, first: Span, second: Span) -> bool {
    reader.source.slice(Span::new(first.end, second.start)).trim_matches([' ', '\t']) == ","
}

/// How many of the entries behind a block without braces are settings of its concept, and the whole of it.
pub(super) fn settings_behind(reader: &Reader<'_>, block: &Block, behind: &[Entry]) -> (usize, Span) {
    let (mut count, mut line) = (0, block.span);
    for entry in behind {
        // What may as well be a setting of the recipe is one of the concept only if others were before it.
        let has_settings = count > 0 || block.head.len() > 2;
        let (span, fits) = match entry {
            Entry::Setting(setting) => {
                let key = setting.key.value.as_str();
                let own = Field::find(key, Level::Recipe).is_none();
                (setting.span, (own || has_settings) && Field::find(key, Level::Concept).is_some())
            }
            Entry::Junk(span) => {
                let part = reader.source.slice(*span);
                (*span, part.starts_with('"') || has_settings && !part.starts_with(['{', '}']))
            }
            _ => break,
        };
        if !fits || block.body.is_some() || !follows(reader, line, span) {
            break;
        }
        (count, line) = (count + 1, line.to(span));
    }
    (count, line)
}
