//! From a setting's value as written to the value that it means, or to what is wrong with it.

use super::fields::{Field, Kind, list};
use super::suggest;
use crate::diagnostic::{Code, Diagnostic};
use crate::source::{Source, Span};
use crate::syntax::{ListItem, Literal, Setting, Value};

/// Longer quotations from the source are cut.
const QUOTED: usize = 60;

/// Reads values and gathers what is wrong with them.
pub(super) struct Reader<'a> {
    pub(super) source: &'a Source,
    pub(super) found: Vec<Diagnostic>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(source: &'a Source) -> Self {
        Self { source, found: Vec::new() }
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
    pub(super) fn single<'v>(&mut self, setting: &'v Setting, field: &Field) -> Option<&'v Value> {
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
            [first, .., last] => {
                self.several(field, &setting.values, first.span.to(last.span));
                None
            }
        }
    }

    /// Reports several values; where they were meant as one, says how that is written.
    fn several(&mut self, field: &Field, values: &[Value], span: Span) {
        let key = field.key;
        let slices: Vec<&str> = values.iter().map(|value| self.source.slice(value.span)).collect();
        let joined = self.written(span);
        if let [sign @ ("=" | ":"), rest @ ..] = &slices[..] {
            let message = format!("no `{sign}` stands between a setting and its value");
            let help = format!("write `{key} {}`", shorten(&rest.join(" ")));
            self.report(Diagnostic::new(Code::SeveralValues, message).at(values[0].span, "leave this out").help(help));
            return;
        }
        let no_text = !values.iter().any(|value| matches!(value.value, Literal::Text(_)));
        let numbers = values.iter().filter(|value| matches!(value.value, Literal::Number(_))).count();
        let repair = match field.kind {
            Kind::Text if no_text => {
                let message = format!("the text of `{key}` has no quotes");
                let help = format!("put them around it: `{key} \"{joined}\"`");
                self.report(Diagnostic::new(Code::WrongKind, message).at(span, "a text stands in quotes").help(help));
                return;
            }
            Kind::Word(words) if suggest::word(&joined, words).is_some() => {
                self.unknown_word(field, &joined, span, words);
                return;
            }
            Kind::Size if numbers == 2 && values.len() <= 3 => {
                Some(format!("{}x{}", slices[0], slices[slices.len() - 1]))
            }
            Kind::StepRange if numbers == 2 && values.len() <= 3 => {
                Some(format!("{}..{}", slices[0], slices[slices.len() - 1]))
            }
            Kind::StepRange if joined.contains("..") => Some(slices.concat()),
            Kind::Seeds if numbers == values.len() => Some(shorten(&format!("[{}]", slices.join(", ")))),
            Kind::Text => {
                let texts: Vec<&str> = values
                    .iter()
                    .filter_map(|value| match &value.value {
                        Literal::Text(text) => Some(text.content.trim()),
                        _ => None,
                    })
                    .collect();
                (texts.len() == values.len()).then(|| shorten(&format!("\"{}\"", texts.join(" "))))
            }
            Kind::Share(..) | Kind::StepPoint if slices[1..] == ["%"] => Some(slices.concat()),
            _ => None,
        };
        let help = match repair {
            Some(repair) => format!("write it as one: `{key} {repair}`"),
            None if no_text => {
                format!("keep one of them, as in `{key} {}`; another setting needs its own line", shorten(slices[0]))
            }
            None => format!("keep one of them, as in `{}`; another setting needs its own line", field.example),
        };
        let message = format!("`{key}` has {} values, but takes one", values.len());
        self.report(Diagnostic::new(Code::SeveralValues, message).at(span, "more than one value").help(help));
    }

    /// Reports a value of another kind.
    pub(super) fn wrong_kind(&mut self, field: &Field, value: &Value) {
        let key = field.key;
        let message = format!("`{key}` takes {}, not {}", field.noun(), describe(&value.value));
        let unquoted = match &value.value {
            Literal::Text(text) if self.reads_as(field, &text.content) => Some(text.content.trim()),
            _ => None,
        };
        let help = match (&value.value, field.kind, unquoted) {
            (_, _, Some(content)) => format!("leave the quotes out: `{key} {}`", shorten(content)),
            (_, Kind::Text, _) => format!("put quotes around it: `{key} \"{}\"`", self.written(value.span)),
            _ => format!("it takes {}, as in `{}`", field.takes(), field.example),
        };
        self.report(Diagnostic::new(Code::WrongKind, message).at(value.span, "another kind of value").help(help));
    }

    /// Whether the content of a text would be a value of the field if it had no quotes.
    fn reads_as(&self, field: &Field, content: &str) -> bool {
        let content = content.trim();
        let number = |text: &str| text.parse::<f64>().is_ok_and(f64::is_finite);
        match field.kind {
            Kind::Word(words) => words.contains(&content),
            Kind::Share(..) | Kind::StepPoint => number(content.strip_suffix('%').unwrap_or(content)),
            Kind::Size => content.split_once('x').is_some_and(|(width, height)| number(width) && number(height)),
            Kind::StepRange => content.contains("..") && !content.contains(' '),
            Kind::Edition | Kind::Count(..) | Kind::Real(..) | Kind::Seeds => number(content),
            Kind::Text => false,
        }
    }

    pub(super) fn out_of_range(&mut self, field: &Field, span: Span) {
        let message = format!("`{}` cannot be `{}`", field.key, self.written(span));
        let takes = field.takes();
        let help = match field.kind {
            Kind::Real(..) | Kind::Share(..) | Kind::Count(..) => {
                format!("it takes {takes}; good values: {}", field.good)
            }
            _ => format!("it takes {takes}"),
        };
        self.report(Diagnostic::new(Code::OutOfRange, message).at(span, "outside of what is allowed").help(help));
    }

    pub(super) fn not_whole(&mut self, field: &Field, span: Span, repair: &str) {
        let message = format!("`{}` counts, so `{}` must be a whole number", field.key, self.written(span));
        self.report(
            Diagnostic::new(Code::NotWhole, message)
                .at(span, "not a whole number")
                .help(format!("write `{} {repair}`", field.key)),
        );
    }

    /// A text with something in it.
    pub(super) fn text(&mut self, field: &Field, value: &Value) -> Option<String> {
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
    pub(super) fn word(&mut self, field: &Field, value: &Value) -> Option<&'static str> {
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

    fn unknown_word(&mut self, field: &Field, written: &str, span: Span, words: &[&'static str]) {
        let key = field.key;
        let message = format!("`{key}` does not know `{}`", shorten(written));
        let help = match suggest::word(written, words) {
            Some(word) => format!("did you mean `{key} {word}`?"),
            None => format!("`{key}` takes {}", list(words)),
        };
        self.report(Diagnostic::new(Code::UnknownWord, message).at(span, "unknown here").help(help));
    }

    /// A number of the field's range.
    pub(super) fn real(&mut self, field: &Field, value: &Value) -> Option<f64> {
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
    pub(super) fn share(&mut self, field: &Field, value: &Value) -> Option<f64> {
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
    pub(super) fn count(&mut self, field: &Field, value: &Value) -> Option<u32> {
        let Kind::Count(low, high) = field.kind else { return None };
        let Literal::Number(number) = &value.value else {
            self.wrong_kind(field, value);
            return None;
        };
        if !(f64::from(low)..=f64::from(high)).contains(&number.value) {
            self.out_of_range(field, value.span);
        } else if number.value.fract() != 0.0 {
            self.not_whole(field, value.span, &number.value.round().to_string());
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

/// A quotation on one line that is not too long.
pub(super) fn shorten(text: &str) -> String {
    let mut kept: String = text.chars().take(QUOTED).map(|char| if char.is_control() { ' ' } else { char }).collect();
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
