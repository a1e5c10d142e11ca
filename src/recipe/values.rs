//! From a value as written to a value as meant: one conversion for each kind of setting.

use super::fields::{Field, Kind, Level};
use super::suggest;
use crate::diagnostic::{Code, Diagnostic};
use crate::quantity::{Seed, Size, StepPoint, StepRange};
use crate::source::Span;
use crate::syntax::{ListItem, Literal, Number, Value};

/// A value that a setting has taken.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Given {
    Text(String),
    Seeds(Vec<Seed>),
    Size(Size),
    /// The index among the setting's words.
    Word(usize),
    /// A number, whole or not, within the setting's range.
    Number(f64),
    Point(StepPoint),
    Range(StepRange),
}

/// More seeds than so many are a slip, not a wish.
const MOST_SEEDS: u64 = 100_000;

/// Reads a setting's value; mistakes go to `out`.
pub(super) fn read(field: &Field, value: &Value, out: &mut Vec<Diagnostic>) -> Option<Given> {
    let reader = Reader { field, span: value.span };
    match reader.read(value, out) {
        Ok(given) => Some(given),
        Err(diagnostic) => {
            out.push(*diagnostic);
            None
        }
    }
}

type Outcome<T> = Result<T, Box<Diagnostic>>;

struct Reader<'a> {
    field: &'a Field,
    span: Span,
}

impl Reader<'_> {
    fn read(&self, value: &Value, out: &mut Vec<Diagnostic>) -> Outcome<Given> {
        match (&self.field.kind, &value.value) {
            (Kind::Edition, Literal::Number(number)) => Ok(Given::Number(number.value)),
            (Kind::Text { empty }, Literal::Text(text)) => {
                if text.content.trim().is_empty() && !empty {
                    return Err(self.fail(
                        Code::WrongKind,
                        format!("`{}` is empty", self.field.key),
                        self.for_example(),
                    ));
                }
                Ok(Given::Text(text.content.clone()))
            }
            (Kind::Seeds, literal) => self.seeds(literal, out).map(Given::Seeds),
            (Kind::Size, Literal::Size(width, height)) => self.size(width, height).map(Given::Size),
            (Kind::Size, Literal::Number(side)) => Err(self.fail(
                Code::WrongKind,
                format!("`{}` needs a width and a height", self.field.key),
                format!("write `{0}x{0}`", side.text),
            )),
            (Kind::Word(words), Literal::Word(word)) => self.word(word, words).map(Given::Word),
            (Kind::Count(range), Literal::Number(number)) => {
                let (low, high) = (f64::from(*range.start()), f64::from(*range.end()));
                self.whole(number)?;
                self.within(number.value, &number.text, low, high).map(Given::Number)
            }
            (Kind::Scale(range), Literal::Number(number)) => {
                self.scale(number, *range.start(), *range.end()).map(Given::Number)
            }
            (Kind::Share, Literal::Number(number)) => self.share(number).map(Given::Number),
            (Kind::Share, Literal::Percent(number)) => self.percent(number).map(Given::Number),
            (Kind::StepCount, _) => self.point(value).map(Given::Point),
            (Kind::StepRange, Literal::Range(start, end)) => {
                let point = |end: &Option<Box<Value>>| end.as_deref().map(|end| self.point(end)).transpose();
                self.range(point(start)?, point(end)?).map(Given::Range)
            }
            (Kind::StepRange, Literal::Number(number)) => Err(self.fail(
                Code::BareStep,
                format!("in a concept `steps` is a range: `{}` alone is one step", number.text),
                format!("write `{0}..` to begin at step {0}, or `..{0}` to end before it", number.text),
            )),
            (_, Literal::Junk(text)) if text.starts_with('[') => Err(self.fail(
                Code::WrongKind,
                "a list stands in a list".to_owned(),
                "take the inner brackets away".to_owned(),
            )),
            _ => Err(self.wrong_kind(&value.value)),
        }
    }

    fn fail(&self, code: Code, message: String, help: String) -> Box<Diagnostic> {
        Box::new(Diagnostic::new(code, self.span, message).help(help))
    }

    fn for_example(&self) -> String {
        let line = self.field.example.lines().last().unwrap_or_default();
        format!("for example: `{line}`")
    }

    fn wrong_kind(&self, literal: &Literal) -> Box<Diagnostic> {
        let key = self.field.key;
        let found = match literal {
            Literal::Number(_) => "a number",
            Literal::Percent(_) => "a percentage",
            Literal::Size(..) => "a size",
            Literal::Range(..) => "a range",
            Literal::Sweep(..) => "a sweep",
            Literal::List(_) => "a list",
            Literal::Word(_) => "a word",
            Literal::Text(_) => "a text",
            Literal::Junk(_) => "something unreadable",
        };
        let help = match (&self.field.kind, literal) {
            (Kind::Text { .. }, Literal::Word(word)) => format!("put it in quotes: `{key} \"{word}\"`"),
            (Kind::Word(words), Literal::Text(text)) if words.contains(&text.content.as_str()) => {
                format!("leave the quotes out: `{key} {}`", text.content)
            }
            (Kind::Count(_) | Kind::Scale(_) | Kind::Share, Literal::Text(text))
                if text.content.trim().parse::<f64>().is_ok() =>
            {
                format!("leave the quotes out: `{key} {}`", text.content.trim())
            }
            (Kind::Scale(_), Literal::Percent(number)) => {
                format!("write a plain number: `{key} {}`", number.value / 100.0)
            }
            _ => self.for_example(),
        };
        self.fail(Code::WrongKind, format!("`{key}` takes {}, not {found}", self.field.kind.expectation()), help)
    }

    fn within(&self, value: f64, text: &str, low: f64, high: f64) -> Outcome<f64> {
        if (low..=high).contains(&value) {
            return Ok(value);
        }
        let key = self.field.key;
        let good = self.field.good.map_or(String::new(), |good| format!("; works well: {good}"));
        let message = format!("`{key} {text}` is out of range: {key} is {}", self.field.kind.expectation());
        let bound = if value < low { low } else { high };
        Err(self.fail(Code::OutOfRange, message, format!("the nearest is `{bound}`{good}")))
    }

    fn whole(&self, number: &Number) -> Outcome<()> {
        if number.value.fract() == 0.0 {
            return Ok(());
        }
        let message = format!("`{}` takes a whole number, not `{}`", self.field.key, number.text);
        Err(self.fail(Code::WrongKind, message, format!("write `{}`", number.value.round())))
    }

    fn scale(&self, number: &Number, low: f64, high: f64) -> Outcome<f64> {
        if self.field.key == "strength" && number.value < 0.0 {
            return Err(Box::new(
                Diagnostic::new(Code::NegativeStrength, self.span, format!("`strength {}` is negative", number.text))
                    .help(format!(
                        "the direction is a word: write `strength {}` in a `minus` block to take the concept away",
                        -number.value
                    )),
            ));
        }
        self.within(number.value, &number.text, low, high)
    }

    fn share(&self, number: &Number) -> Outcome<f64> {
        if number.value > 1.0 && number.value <= 100.0 {
            return Err(self.fail(
                Code::BareShare,
                format!("`{} {}` is a share above 1", self.field.key, number.text),
                format!("write `{}%`", number.text),
            ));
        }
        self.within(number.value, &number.text, 0.0, 1.0)
    }

    fn percent(&self, number: &Number) -> Outcome<f64> {
        self.within(number.value / 100.0, &format!("{}%", number.text), 0.0, 1.0)
    }

    fn point(&self, value: &Value) -> Outcome<StepPoint> {
        match &value.value {
            Literal::Number(number) => {
                self.whole(number)?;
                self.within_steps(number).map(StepPoint::Count)
            }
            Literal::Percent(number) => self.percent(number).map(StepPoint::Share),
            other => Err(self.wrong_kind(other)),
        }
    }

    fn within_steps(&self, number: &Number) -> Outcome<u32> {
        const MOST: f64 = 1_000_000.0;
        if (0.0..=MOST).contains(&number.value) {
            return Ok(number.value as u32);
        }
        let message = format!("`{}` is no number of steps", number.text);
        Err(self.fail(
            Code::OutOfRange,
            message,
            "steps are counted from 0; the recipe's `steps` says how many there are".to_owned(),
        ))
    }

    fn range(&self, start: Option<StepPoint>, end: Option<StepPoint>) -> Outcome<StepRange> {
        let empty = match (start, end) {
            (Some(StepPoint::Count(start)), Some(StepPoint::Count(end))) => end <= start,
            (Some(StepPoint::Share(start)), Some(StepPoint::Share(end))) => end <= start,
            (_, Some(StepPoint::Count(0))) => true,
            (_, Some(StepPoint::Share(end))) => end <= 0.0,
            _ => false,
        };
        if empty {
            let message = "this range holds no step: its end must come after its start".to_owned();
            return Err(self.fail(
                Code::EmptyRange,
                message,
                "ranges are half open: `10..20` is the steps 10 to 19".to_owned(),
            ));
        }
        Ok(StepRange { start, end })
    }

    fn word(&self, word: &str, words: &'static [&'static str]) -> Outcome<usize> {
        if let Some(index) = words.iter().position(|known| *known == word) {
            return Ok(index);
        }
        let expectation = self.field.kind.expectation();
        let help = match suggest::word(word, words) {
            Some(meant) => format!("did you mean `{meant}`? It takes {expectation}"),
            None => format!("it takes {expectation}"),
        };
        Err(self.fail(Code::UnknownWord, format!("`{}` knows no `{word}`", self.field.key), help))
    }

    fn size(&self, width: &Number, height: &Number) -> Outcome<Size> {
        let (Some(w), Some(h)) = (width.integer(), height.integer()) else {
            let message = format!("`{}x{}` is no size in pixels", width.text, height.text);
            return Err(self.fail(Code::BadSize, message, self.for_example()));
        };
        let size = u32::try_from(w).ok().zip(u32::try_from(h).ok()).and_then(|(w, h)| Size::new(w, h));
        size.ok_or_else(|| {
            let multiple = u64::from(Size::MULTIPLE);
            let (low, high) = (u64::from(*Size::RANGE.start()), u64::from(*Size::RANGE.end()));
            let nearest = |side: u64| ((side.min(high) + multiple / 2) / multiple * multiple).clamp(low, high);
            let message = format!("`{w}x{h}`: both sides must be multiples of {multiple}, from {low} to {high}");
            self.fail(Code::BadSize, message, format!("the nearest is `{}x{}`", nearest(w), nearest(h)))
        })
    }

    fn seeds(&self, literal: &Literal, out: &mut Vec<Diagnostic>) -> Outcome<Vec<Seed>> {
        let seeds = match literal {
            Literal::Number(number) => vec![self.seed(number)?],
            Literal::Sweep(from, to, by) => self.sweep(from, to, by.as_deref())?,
            Literal::List(list) => {
                let mut seeds = Vec::new();
                for item in &list.items {
                    let ListItem::Value(value) = item else { continue };
                    let reader = Reader { field: self.field, span: value.span };
                    match &value.value {
                        Literal::Number(number) => seeds.push(reader.seed(number)?),
                        Literal::Sweep(from, to, by) => seeds.extend(reader.sweep(from, to, by.as_deref())?),
                        other => return Err(reader.wrong_kind(other)),
                    }
                }
                if seeds.is_empty() {
                    let help = "name a seed, or leave the setting out: one is drawn then".to_owned();
                    return Err(self.fail(Code::WrongKind, "this list holds no seed".to_owned(), help));
                }
                seeds
            }
            other => return Err(self.wrong_kind(other)),
        };
        let mut known = std::collections::HashSet::new();
        let count = seeds.len();
        let distinct: Vec<Seed> = seeds.into_iter().filter(|seed| known.insert(*seed)).collect();
        if distinct.len() < count {
            let message = "a seed occurs more than once: it is painted once".to_owned();
            out.push(*self.fail(Code::RepeatedSeed, message, "name each seed once".to_owned()));
        }
        Ok(distinct)
    }

    fn seed(&self, number: &Number) -> Outcome<Seed> {
        number.integer().map(Seed).ok_or_else(|| {
            let message = format!("`{}` is no seed: a seed is a whole number from 0 to {}", number.text, u64::MAX);
            self.fail(Code::OutOfRange, message, self.for_example())
        })
    }

    fn sweep(&self, from: &Value, to: &Value, by: Option<&Value>) -> Outcome<Vec<Seed>> {
        let whole = |value: &Value| {
            let reader = Reader { field: self.field, span: value.span };
            match &value.value {
                Literal::Number(number) => reader.seed(number).map(|seed| seed.0),
                other => Err(reader.wrong_kind(other)),
            }
        };
        let (from, to, by) = (whole(from)?, whole(to)?, by.map(whole).transpose()?.unwrap_or(1));
        if by == 0 || to < from || (to - from) / by >= MOST_SEEDS {
            let message = format!("`{from} to {to} by {by}` gives no list of seeds");
            let help = format!(
                "a sweep goes up, by 1 or more, over at most {MOST_SEEDS} seeds: `1 to 9 by 2` is 1, 3, 5, 7, 9"
            );
            return Err(self.fail(Code::WrongKind, message, help));
        }
        Ok((0..=(to - from) / by).map(|i| Seed(from + i * by)).collect())
    }
}

/// The level's name in messages.
pub(super) fn level_name(level: Level) -> &'static str {
    match level {
        Level::Recipe => "the top level",
        Level::Concept => "a concept",
    }
}
