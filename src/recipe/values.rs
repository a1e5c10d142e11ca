//! From a setting's value as written to the value that it means, or to what is wrong with it.

use super::fields::{Field, Kind, Level, list};
use super::pairs::pairs;
use super::repair;
use crate::diagnostic::{Code, Diagnostic};
use crate::source::{Source, Span};
use crate::syntax::{ListItem, Literal, Setting, Value};

/// Longer quotations from the source are cut.
const QUOTED: usize = 60;
/// Repairs are to be written as they are, so only much longer ones are cut.
const REPAIR: usize = 400;

/// Reads values and gathers what is wrong with them.
pub(super) struct Reader<'a> {
    pub(super) source: &'a Source,
    pub(super) found: Vec<Diagnostic>,
    /// The level whose settings are read.
    pub(super) level: Level,
    /// Whether what is read is an item of a list, so that repairs are without the setting's key.
    pub(super) in_list: bool,
    /// Whether what is read is itself a repair, for which no other is looked for.
    trial: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn new(source: &'a Source) -> Self {
        Self { source, found: Vec::new(), level: Level::Recipe, in_list: false, trial: false }
    }

    /// A reader that finds out whether a repair is right.
    pub(super) fn trial(source: &'a Source) -> Self {
        Self { trial: true, ..Self::new(source) }
    }

    /// A setting as it is to be written, from its value as it is written.
    pub(super) fn repair(&self, field: &'static Field, written: &str) -> Option<String> {
        if self.trial {
            return None;
        }
        let line = repair::setting(field, field.key, written)?;
        let item = || line.strip_prefix(field.key).unwrap_or(&line).trim_start().to_owned();
        Some(shorten_repair(&if self.in_list { item() } else { line }))
    }

    /// Several settings that stand on one line without commas, as they are to be written.
    pub(super) fn one_by_one(&self, span: Span) -> Option<String> {
        let pairs = pairs(self.source.slice(span), span.start, self.level);
        (pairs.len() > 1 && !self.trial).then(|| repair::line(&pairs, self.level)).flatten()
    }

    /// Whether a value is right; reports if not.
    pub(super) fn accepts(&mut self, field: &'static Field, value: &Value) -> bool {
        match field.kind {
            Kind::Edition => matches!(&value.value, Literal::Number(number) if number.integer() == Some(1)),
            Kind::Text => self.text(field, value).is_some(),
            Kind::Word(_) => self.word(field, value).is_some(),
            Kind::Count(..) => self.count(field, value).is_some(),
            Kind::Real(..) => self.real(field, value).is_some(),
            Kind::Share(..) => self.share(field, value).is_some(),
            Kind::Seeds => self.seeds(field, value).is_some(),
            Kind::Size => self.size(field, value).is_some(),
            Kind::StepPoint => self.step_point(field, value, value.span).is_some(),
            Kind::StepRange => self.step_range(field, value).is_some(),
        }
    }

    pub(super) fn report(&mut self, diagnostic: Diagnostic) {
        self.found.push(diagnostic);
    }

    /// What stands in the source, in one line and not too long.
    pub(super) fn written(&self, span: Span) -> String {
        shorten(self.source.slice(span))
    }

    /// Reports values whose very form is broken (no closing quote or bracket, unknown escapes). Whether there are any.
    pub(super) fn broken(&mut self, values: &[Value]) -> bool {
        let mut any = false;
        for value in values {
            any |= self.broken_value(value);
        }
        any
    }

    fn broken_value(&mut self, value: &Value) -> bool {
        match &value.value {
            Literal::Text(text) if !text.closed => {
                let quotes = if text.block { "\"\"\"" } else { "\"" };
                let whole = first_line(self.source, value.span);
                let help = if text.block {
                    format!("end it with `{quotes}`")
                } else {
                    format!("put `{quotes}` where the text ends")
                };
                let message = "this text has no closing quotes";
                self.report(Diagnostic::new(Code::UnclosedText, message).at(whole, "starts here").help(help));
                true
            }
            Literal::Text(text) => {
                for &escape in &text.bad_escapes {
                    self.bad_escape(escape);
                }
                !text.bad_escapes.is_empty()
            }
            Literal::List(list) => {
                let mut any = false;
                if !list.closed {
                    let open = Span::new(value.span.start, value.span.start + 1);
                    let message = "this list has no closing bracket";
                    let help = "end it with `]`";
                    self.report(Diagnostic::new(Code::UnclosedList, message).at(open, "opened here").help(help));
                    any = true;
                }
                for item in &list.items {
                    if let ListItem::Value(value) = item {
                        any |= self.broken_value(value);
                    }
                }
                any
            }
            _ => false,
        }
    }

    /// Reports an escape that is none.
    fn bad_escape(&mut self, place: Span) {
        let escape = self.source.slice(place);
        let help = match escape {
            "\\u" => "write the character's number in braces, as in `\\u{e9}`, or the character itself".to_owned(),
            _ => format!(
                "for a backslash write two: `\\{escape}`; escapes are `\\\"`, `\\\\`, `\\n`, `\\r`, `\\t` and `\\u{{e9}}`"
            ),
        };
        let message = format!("`{escape}` means nothing in a text");
        self.report(Diagnostic::new(Code::BadEscape, message).at(place, "unknown escape").help(help));
    }

    /// The one value of a setting; reports if there is none or several.
    pub(super) fn single<'v>(&mut self, setting: &'v Setting, field: &'static Field) -> Option<&'v Value> {
        if self.broken(&setting.values) {
            return None;
        }
        match &setting.values[..] {
            [] => {
                let message = format!("`{}` has no value", field.key);
                let help = format!("it takes {}, as in `{}`", field.takes(), field.example);
                self.report(
                    Diagnostic::new(Code::MissingValue, message).at(setting.key.span, "a value must follow").help(help),
                );
                None
            }
            [only] => Some(only),
            _ => {
                self.several(field, &setting.values, setting.span);
                None
            }
        }
    }

    /// Reports several values, all that stands from the first of `values` to the end of `line`; where they were meant as one
    /// or as several settings, says how that is written.
    pub(super) fn several(&mut self, field: &'static Field, values: &[Value], line: Span) {
        let key = field.key;
        let span = Span::new(values.first().map_or(line.start, |first| first.span.start), line.end);
        let joined = self.source.slice(span);
        if let Some(sign @ ("=" | ":")) = values.first().map(|value| self.source.slice(value.span)) {
            let repair = self.one_by_one(line).or_else(|| self.repair(field, &joined[sign.len()..]));
            let message = format!("no `{sign}` stands between a setting and its value");
            let help = write_or_takes(field, repair);
            self.report(Diagnostic::new(Code::SeveralValues, message).at(values[0].span, "leave this out").help(help));
            return;
        }
        if let Some(repair) = self.one_by_one(line) {
            let message = "settings on one line have commas between them";
            let help = format!("write `{}`", shorten_repair(&repair));
            self.report(Diagnostic::new(Code::SeveralValues, message).at(span, "more than one value").help(help));
            return;
        }
        let has_text = values.iter().any(|value| matches!(value.value, Literal::Text(_)));
        let repair = self.repair(field, joined);
        let decimal =
            matches!(field.kind, Kind::Real(..) | Kind::Share(..)) && joined.contains(',') && repair.is_some();
        let (code, message, label) = match field.kind {
            Kind::Word(words) => return self.unknown_word(field, joined, span, words),
            Kind::Text if !has_text => return self.no_quotes(field, repair, span),
            _ if decimal => {
                (Code::Unreadable, "a number has a point, not a comma".to_owned(), "a comma ends the value")
            }
            _ => {
                let count = if values.len() > 1 { values.len().to_string() } else { "several".to_owned() };
                (Code::SeveralValues, format!("`{key}` has {count} values, but takes one"), "more than one value")
            }
        };
        let help = match (repair, values.first()) {
            (Some(repair), _) if decimal => format!("write `{repair}`"),
            (Some(repair), _) => format!("write it as one: `{repair}`"),
            (None, first) => {
                let first = first.and_then(|first| self.repair(field, self.source.slice(first.span)));
                let kept = first.unwrap_or_else(|| field.example.to_owned());
                format!("keep one of them, as in `{kept}`; another setting needs its own line")
            }
        };
        self.report(Diagnostic::new(code, message).at(span, label).help(help));
    }

    /// Reports a text without the language's quotes.
    fn no_quotes(&mut self, field: &Field, repair: Option<String>, span: Span) {
        let key = field.key;
        let (message, verb) = if repair::has_foreign_quotes(self.source.slice(span)) {
            (format!("the text of `{key}` stands in other quotes than `\"`"), "write")
        } else {
            (format!("the text of `{key}` has no quotes"), "put them around it:")
        };
        let help =
            repair.map_or_else(|| "put `\"` before and behind it".to_owned(), |repair| format!("{verb} `{repair}`"));
        self.report(Diagnostic::new(Code::WrongKind, message).at(span, "a text stands in quotes").help(help));
    }

    /// Reports a value of another kind.
    pub(super) fn wrong_kind(&mut self, field: &'static Field, value: &Value) {
        let written = self.source.slice(value.span);
        let repair = self.repair(field, written);
        if field.kind == Kind::Text && matches!(value.value, Literal::Junk(_)) {
            return self.no_quotes(field, repair, value.span);
        }
        let message = format!("`{}` takes {}, not {}", field.key, field.noun(), describe(&value.value));
        let quoted = repair::unquoted(written).map(str::trim);
        let help = match repair {
            Some(repair) if field.kind == Kind::Text => format!("put quotes around it: `{repair}`"),
            Some(repair) if quoted.is_some_and(|content| repair.ends_with(content)) => {
                format!("leave the quotes out: `{repair}`")
            }
            _ if field.kind == Kind::Seeds && repair::is_any_seed(written) => ANY_SEED.to_owned(),
            repair => write_or_takes(field, repair),
        };
        self.report(Diagnostic::new(Code::WrongKind, message).at(value.span, "another kind of value").help(help));
    }

    pub(super) fn out_of_range(&mut self, field: &'static Field, span: Span) {
        let message = format!("`{}` cannot be `{}`", field.key, self.written(span));
        let takes = field.takes();
        let written = self.source.slice(span);
        let help = match field.kind {
            Kind::Seeds if repair::is_any_seed(written) => ANY_SEED.to_owned(),
            Kind::Seeds => write_or_takes(field, self.repair(field, written)),
            Kind::Real(..) | Kind::Share(..) | Kind::Count(..) => {
                format!("it takes {takes}; good values: {}", field.good)
            }
            _ => format!("it takes {takes}"),
        };
        self.report(Diagnostic::new(Code::OutOfRange, message).at(span, "outside of what is allowed").help(help));
    }

    /// Reports a number with a fraction, which stands at `span` of a value that stands at `whole`.
    pub(super) fn not_whole(&mut self, field: &'static Field, span: Span, whole: Span) {
        let message = format!("`{}` counts, so `{}` must be a whole number", field.key, self.written(span));
        let help = write_or_takes(field, self.repair(field, self.source.slice(whole)));
        self.report(Diagnostic::new(Code::NotWhole, message).at(span, "not a whole number").help(help));
    }

    /// A text with something in it.
    pub(super) fn text(&mut self, field: &'static Field, value: &Value) -> Option<String> {
        match &value.value {
            Literal::Text(text) if text.content.trim().is_empty() => {
                let message = format!("the text of `{}` is empty", field.key);
                let help = if field.required {
                    format!("say what is meant, as in `{}`", field.example)
                } else {
                    format!("leave the whole line out, or say what is meant, as in `{}`", field.example)
                };
                self.report(Diagnostic::new(Code::EmptyText, message).at(value.span, "nothing in it").help(help));
                None
            }
            Literal::Text(text) => Some(text.content.clone()),
            _ => {
                self.wrong_kind(field, value);
                None
            }
        }
    }

    /// One of the field's words.
    pub(super) fn word(&mut self, field: &'static Field, value: &Value) -> Option<&'static str> {
        let Kind::Word(words) = field.kind else { return None };
        let written = match &value.value {
            Literal::Word(word) => word.clone(),
            // `dpm++`, or a switch written as 1 or 0.
            Literal::Junk(junk) => junk.clone(),
            Literal::Number(number) => number.text.clone(),
            _ => {
                self.wrong_kind(field, value);
                return None;
            }
        };
        let known = words.iter().copied().find(|word| *word == written);
        if known.is_none() {
            self.unknown_word(field, &written, value.span, words);
        }
        known
    }

    fn unknown_word(&mut self, field: &'static Field, written: &str, span: Span, words: &[&'static str]) {
        let key = field.key;
        let message = format!("`{key}` does not know `{}`", shorten(written));
        let help = match self.repair(field, written) {
            Some(repair) => format!("did you mean `{repair}`?"),
            None => format!("`{key}` takes {}", list(words)),
        };
        self.report(Diagnostic::new(Code::UnknownWord, message).at(span, "unknown here").help(help));
    }

    /// A number of the field's range.
    pub(super) fn real(&mut self, field: &'static Field, value: &Value) -> Option<f64> {
        let Kind::Real(low, high) = field.kind else { return None };
        let Literal::Number(number) = &value.value else {
            self.wrong_kind(field, value);
            return None;
        };
        if (low..=high).contains(&number.value) {
            return Some(number.value);
        }
        self.out_of_range(field, value.span);
        None
    }

    /// A share of the field's range, from a number up to 1 or a percentage.
    pub(super) fn share(&mut self, field: &'static Field, value: &Value) -> Option<f64> {
        let Kind::Share(low, high) = field.kind else { return None };
        let share = match &value.value {
            Literal::Number(number) if number.value > high && number.value <= 100.0 => {
                let (key, text) = (field.key, &number.text);
                let message = format!("`{key} {text}` is neither a share nor a percentage");
                // From 10 on it is a percentage without its sign; below it may be a slip as well.
                let help = if number.value < 10.0 {
                    format!("a share goes from {low} to {high}; for a percentage write `{key} {text}%`")
                } else {
                    format!("did you mean `{key} {text}%`? a share goes from {low} to {high}")
                };
                let label = "a share above 1";
                self.report(Diagnostic::new(Code::BareShare, message).at(value.span, label).help(help));
                return None;
            }
            Literal::Number(number) => number.value,
            Literal::Percent(number) => number.value / 100.0,
            _ => {
                self.wrong_kind(field, value);
                return None;
            }
        };
        if (low..=high).contains(&share) {
            return Some(share);
        }
        self.out_of_range(field, value.span);
        None
    }

    /// A whole number of the field's range.
    pub(super) fn count(&mut self, field: &'static Field, value: &Value) -> Option<u32> {
        let Kind::Count(low, high) = field.kind else { return None };
        let Literal::Number(number) = &value.value else {
            self.wrong_kind(field, value);
            return None;
        };
        if !(f64::from(low)..=f64::from(high)).contains(&number.value) {
            self.out_of_range(field, value.span);
        } else if number.value.fract() != 0.0 {
            self.not_whole(field, value.span, value.span);
        } else {
            return Some(number.value as u32);
        }
        None
    }
}

/// A kind of value, as in "takes a number, not ...".
fn describe(literal: &Literal) -> String {
    match literal {
        Literal::Number(number) => format!("the number `{}`", shorten(&number.text)),
        Literal::Percent(_) => "a percentage".to_owned(),
        Literal::Size(..) => "a size".to_owned(),
        Literal::Range(..) => "a range of steps".to_owned(),
        Literal::Sweep(..) => "a sweep".to_owned(),
        Literal::List(_) => "a list".to_owned(),
        Literal::Word(word) => format!("the word `{}`", shorten(word)),
        Literal::Text(_) => "a text".to_owned(),
        Literal::Junk(junk) => format!("`{}`", shorten(junk)),
    }
}

/// What to say of a seed that is to be drawn.
pub(super) const ANY_SEED: &str = "leave the line out: without it each run draws a seed, and says which";

/// The repair, or what the setting takes where there is none.
pub(super) fn write_or_takes(field: &Field, repair: Option<String>) -> String {
    match repair {
        Some(repair) => format!("write `{repair}`"),
        None => format!("it takes {}, as in `{}`", field.takes(), field.example),
    }
}

/// A quotation on one line that is not too long.
pub(super) fn shorten(text: &str) -> String {
    cut(text, QUOTED)
}

/// A repair on one line that is not much too long.
pub(super) fn shorten_repair(text: &str) -> String {
    cut(text, REPAIR)
}

fn cut(text: &str, most: usize) -> String {
    let mut kept: String = text.chars().take(most).map(|char| if char.is_control() { ' ' } else { char }).collect();
    if kept.len() < text.len() {
        kept.push('\u{2026}');
    }
    kept
}

/// The part of a span that lies on its first line.
pub(super) fn first_line(source: &Source, span: Span) -> Span {
    let line = source.slice(span).lines().next().unwrap_or_default();
    Span::new(span.start, span.start + line.len())
}
