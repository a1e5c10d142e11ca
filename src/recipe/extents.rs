//! Values that are more than one number: points and ranges of steps, sizes, seeds.

use super::fields::Field;
use super::repair::{nearest_side, passes, point};
use super::values::{Reader, write_or_takes};
use crate::diagnostic::{Code, Diagnostic};
use crate::quantity::{Seed, Size, StepPoint, StepRange};
use crate::source::Span;
use crate::syntax::{ListItem, Literal, Value};

/// More seeds than this in one recipe are a slip.
const MOST_SEEDS: u64 = 10_000;

/// Seeds `from`, `from + by`, and so on up to `from + last * by`.
struct Run {
    from: u64,
    by: u64,
    last: u64,
}

impl Run {
    fn seeds(&self) -> impl Iterator<Item = Seed> {
        let (from, by) = (self.from, self.by);
        (0..=self.last).map(move |at| Seed(from + at * by))
    }
}

impl Reader<'_> {
    /// A number of steps or a share of them, in a value that stands at `whole`.
    pub(super) fn step_point(&mut self, field: &'static Field, value: &Value, whole: Span) -> Option<StepPoint> {
        match &value.value {
            Literal::Number(number) => {
                if !(0.0..=f64::from(u32::MAX)).contains(&number.value) {
                    self.out_of_range(field, value.span);
                } else if number.value.fract() != 0.0 {
                    self.not_whole(field, value.span, whole);
                } else {
                    return Some(StepPoint::Count(number.value as u32));
                }
            }
            Literal::Percent(number) if (0.0..=100.0).contains(&number.value) => {
                return Some(StepPoint::Share(number.value / 100.0));
            }
            Literal::Percent(_) => self.out_of_range(field, value.span),
            _ => self.wrong_kind(field, value),
        }
        None
    }

    /// A range of steps whose ends, if they are of one kind, are in order.
    pub(super) fn step_range(&mut self, field: &'static Field, value: &Value) -> Option<StepRange> {
        let key = field.key;
        match &value.value {
            Literal::Range(start, end) => {
                let mut read = |end: &Option<Box<Value>>| match end {
                    Some(end) => self.step_point(field, end, value.span).map(Some),
                    None => Some(None),
                };
                // One mistake of a range is enough, as its repair is one of the whole.
                let range = StepRange { start: read(start)?, end: read(end)? };
                if is_reversed(range) {
                    self.empty_range(field, value);
                    return None;
                }
                Some(range)
            }
            Literal::Number(_) | Literal::Percent(_) => {
                let written = self.written(value.span);
                let message = format!("in a concept `{key}` is a range of steps, not the single `{written}`");
                let point = point(&written);
                let ways = [(format!("{key} {point}.."), "from there on"), (format!("{key} ..{point}"), "up to there")];
                let ways: Vec<String> = ways
                    .into_iter()
                    .filter(|(line, _)| passes(line, field.level()))
                    .map(|(line, meaning)| format!("`{line}` for {meaning}"))
                    .collect();
                let help = match &ways[..] {
                    [] => format!("it takes {}", field.takes()),
                    ways => format!("write {}", ways.join(", or ")),
                };
                self.report(
                    Diagnostic::new(Code::NotARange, message).at(value.span, "a range has two dots").help(help),
                );
                None
            }
            Literal::Sweep(..) => {
                let message = format!("`{key}` takes a range of steps, not a sweep");
                let help = write_or_takes(field, self.repair(field, self.source.slice(value.span)));
                self.report(
                    Diagnostic::new(Code::WrongKind, message).at(value.span, "a range has two dots").help(help),
                );
                None
            }
            _ => {
                self.wrong_kind(field, value);
                None
            }
        }
    }

    /// Reports a range without a step in it.
    fn empty_range(&mut self, field: &Field, value: &Value) {
        let key = field.key;
        let message = format!("the range `{}` holds no step", self.written(value.span));
        let help = match &value.value {
            Literal::Range(Some(start), Some(end)) if start.value != end.value && !is_zero(end) => {
                format!("did you mean `{key} {}..{}`?", self.written(end.span), self.written(start.span))
            }
            Literal::Range(Some(start), Some(_)) => {
                let start = self.written(start.span);
                format!("the second number is not part of a range: write `{key} {start}..` to go on to the end")
            }
            _ => "the second number is not part of a range: the first step alone is `..1`".to_owned(),
        };
        self.report(
            Diagnostic::new(Code::EmptyRange, message).at(value.span, "ends where it starts or before").help(help),
        );
    }

    /// Width and height.
    pub(super) fn size(&mut self, field: &'static Field, value: &Value) -> Option<Size> {
        let key = field.key;
        let (width, height) = match &value.value {
            Literal::Size(width, height) => (width.value, height.value),
            Literal::Number(side) => {
                let message = format!("`{key}` takes width and height, not one number");
                let help = match nearest_side(side.value) {
                    Some(side) => format!("did you mean `{key} {side}x{side}`?"),
                    None => format!("write, for example, `{}`", field.example),
                };
                let label = "only one side";
                self.report(Diagnostic::new(Code::BadSize, message).at(value.span, label).help(help));
                return None;
            }
            _ => {
                self.wrong_kind(field, value);
                return None;
            }
        };
        let whole =
            |side: f64| (side.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&side)).then_some(side as u32);
        if let (Some(width), Some(height)) = (whole(width), whole(height))
            && let Some(size) = Size::new(width, height)
        {
            return Some(size);
        }
        let message = format!("a picture cannot have the size `{}`", self.written(value.span));
        let help = match &value.value {
            Literal::Size(width, height) => match (nearest_side(width.value), nearest_side(height.value)) {
                (Some(width), Some(height)) => {
                    format!("the nearest size that it can have is `{key} {width}x{height}`")
                }
                _ => format!("it takes {}", field.takes()),
            },
            _ => format!("it takes {}", field.takes()),
        };
        let label =
            format!("sides are multiples of {} from {} to {}", Size::MULTIPLE, Size::RANGE.start(), Size::RANGE.end());
        self.report(Diagnostic::new(Code::BadSize, message).at(value.span, label).help(help));
        None
    }

    /// One seed or more, each with its place.
    pub(super) fn seeds(&mut self, field: &'static Field, value: &Value) -> Option<Vec<(Seed, Span)>> {
        let Literal::List(list) = &value.value else {
            let run = self.run_of_seeds(field, value)?;
            return Some(run.seeds().map(|seed| (seed, value.span)).collect());
        };
        let items: Vec<&Value> = list
            .items
            .iter()
            .filter_map(|item| match item {
                ListItem::Value(value) => Some(value),
                ListItem::Comment(_) => None,
            })
            .collect();
        if items.is_empty() {
            let message = "this list of seeds is empty";
            let help = "name a seed, as in `seed [1, 2, 3]`, or leave the line out to have one drawn";
            self.report(Diagnostic::new(Code::BadSeeds, message).at(value.span, "no seed in it").help(help));
            return None;
        }
        if items.iter().any(|item| matches!(item.value, Literal::Junk(_)))
            && let Some(repair) = self.repair(field, self.source.slice(value.span))
        {
            let message = "the items of a list have commas between them";
            let help = format!("write `{repair}`");
            self.report(Diagnostic::new(Code::WrongKind, message).at(value.span, "not a list of seeds").help(help));
            return None;
        }
        self.in_list = true;
        let (mut seeds, mut count, mut all_valid) = (Vec::new(), 0_u64, true);
        for item in items {
            let Some(run) = self.run_of_seeds(field, item) else {
                all_valid = false;
                continue;
            };
            count += run.last + 1;
            // What is too much anyway is only counted.
            if count <= MOST_SEEDS {
                seeds.extend(run.seeds().map(|seed| (seed, item.span)));
            }
        }
        self.in_list = false;
        if count > MOST_SEEDS {
            self.too_many_seeds(value.span, count);
            return None;
        }
        all_valid.then_some(seeds)
    }

    /// A seed or a sweep of them.
    fn run_of_seeds(&mut self, field: &'static Field, value: &Value) -> Option<Run> {
        let Literal::Sweep(from, to, by) = &value.value else {
            return self.seed(field, value).map(|from| Run { from, by: 1, last: 0 });
        };
        let from_seed = self.seed(field, from);
        let to_seed = self.seed(field, to);
        let by_seed = by.as_ref().map_or(Some(1), |by| self.seed(field, by));
        let (from, to, by) = (from_seed?, to_seed?, by_seed?);
        if by == 0 || to < from {
            let message = format!("the sweep `{}` never arrives", self.written(value.span));
            let help = match self.repair(field, &format!("{to} to {from}")) {
                Some(repair) if by != 0 => format!("did you mean `{repair}`?"),
                _ => "go by at least 1".to_owned(),
            };
            self.report(Diagnostic::new(Code::BadSeeds, message).at(value.span, "no end to it").help(help));
            return None;
        }
        let last = (to - from) / by;
        if last >= MOST_SEEDS {
            self.too_many_seeds(value.span, last.saturating_add(1));
            return None;
        }
        Some(Run { from, by, last })
    }

    fn too_many_seeds(&mut self, span: Span, count: u64) {
        let message = format!("{count} seeds are too many");
        let help = format!("one recipe paints at most {MOST_SEEDS} pictures");
        self.report(Diagnostic::new(Code::BadSeeds, message).at(span, "one picture for each").help(help));
    }

    fn seed(&mut self, field: &'static Field, value: &Value) -> Option<u64> {
        match &value.value {
            Literal::Number(number) => {
                if let Some(seed) = number.integer() {
                    return Some(seed);
                }
                if number.value.fract() != 0.0 && number.value > 0.0 {
                    self.not_whole(field, value.span, value.span);
                } else {
                    self.out_of_range(field, value.span);
                }
                None
            }
            _ => {
                self.wrong_kind(field, value);
                None
            }
        }
    }
}

/// Whether a value is the number or percentage 0.
fn is_zero(value: &Value) -> bool {
    matches!(&value.value, Literal::Number(number) | Literal::Percent(number) if number.value == 0.0)
}

/// Whether both ends are of one kind and the second is not behind the first.
fn is_reversed(range: StepRange) -> bool {
    match (range.start, range.end) {
        (Some(StepPoint::Count(start)), Some(StepPoint::Count(end))) => start >= end,
        (Some(StepPoint::Share(start)), Some(StepPoint::Share(end))) => start >= end,
        (_, Some(StepPoint::Count(0))) => true,
        (_, Some(StepPoint::Share(end))) => end == 0.0,
        _ => false,
    }
}
