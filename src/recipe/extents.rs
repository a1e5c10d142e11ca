//! Values that are more than one number: points and ranges of steps, sizes, seeds.

use super::fields::{Field, Kind};
use super::values::Reader;
use crate::diagnostic::{Code, Diagnostic};
use crate::quantity::{Seed, Size, StepPoint, StepRange};
use crate::source::Span;
use crate::syntax::{List, ListItem, Literal, Number, Value};

/// More seeds than this in one recipe are a slip.
const MOST_SEEDS: usize = 10_000;

impl Reader<'_> {
    /// A number of steps or a share of them.
    pub(super) fn step_point(&mut self, field: &Field, value: &Value) -> Option<StepPoint> {
        match &value.value {
            Literal::Number(number) => {
                if !(0.0..=f64::from(u32::MAX)).contains(&number.value) {
                    self.out_of_range(field, value.span);
                } else if number.value.fract() != 0.0 {
                    let as_share = number.value < 1.0 && field.kind == Kind::StepPoint;
                    let repair =
                        if as_share { format!("{}%", number.value * 100.0) } else { number.value.round().to_string() };
                    self.not_whole(field, value.span, &repair);
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
    pub(super) fn step_range(&mut self, field: &Field, value: &Value) -> Option<StepRange> {
        let key = field.key;
        match &value.value {
            Literal::Range(start, end) => {
                let mut read = |end: &Option<Box<Value>>| match end {
                    Some(value) => self.step_point(field, value).map(Some),
                    None => Some(None),
                };
                let (start, end) = (read(start), read(end));
                let range = StepRange { start: start?, end: end? };
                if is_reversed(range) {
                    self.empty_range(field, value);
                    return None;
                }
                Some(range)
            }
            Literal::Number(_) | Literal::Percent(_) => {
                let written = self.written(value.span);
                let message = format!("in a concept `{key}` is a range of steps, not the single `{written}`");
                let help =
                    format!("write `{key} {written}..` for from there on, or `{key} ..{written}` for up to there");
                self.report(
                    Diagnostic::new(Code::NotARange, message).at(value.span, "a range has two dots").help(help),
                );
                None
            }
            Literal::Sweep(from, to, _) => {
                let message = format!("`{key}` takes a range of steps, not a sweep");
                let help = format!("write `{key} {}..{}`", self.written(from.span), self.written(to.span));
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
    pub(super) fn size(&mut self, field: &Field, value: &Value) -> Option<Size> {
        let key = field.key;
        let (width, height) = match &value.value {
            Literal::Size(width, height) => (width.value, height.value),
            Literal::Number(side) => {
                let message = format!("`{key}` takes width and height, not one number");
                let help = match nearest_side(side) {
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
            Literal::Size(width, height) => match (nearest_side(width), nearest_side(height)) {
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
    pub(super) fn seeds(&mut self, field: &Field, value: &Value) -> Option<Vec<(Seed, Span)>> {
        match &value.value {
            Literal::List(List { items, .. }) => {
                let values: Vec<&Value> = items
                    .iter()
                    .filter_map(|item| match item {
                        ListItem::Value(value) => Some(value),
                        ListItem::Comment(_) => None,
                    })
                    .collect();
                if values.is_empty() {
                    let message = "this list of seeds is empty";
                    let help = "name a seed, as in `seed [1, 2, 3]`, or leave the line out to have one drawn";
                    self.report(Diagnostic::new(Code::BadSeeds, message).at(value.span, "no seed in it").help(help));
                    return None;
                }
                let mut seeds = Vec::new();
                let mut all_valid = true;
                for item in values {
                    let read = match &item.value {
                        Literal::List(_) => {
                            self.wrong_kind(field, item);
                            None
                        }
                        _ => self.seeds(field, item),
                    };
                    all_valid &= read.is_some();
                    seeds.extend(read.unwrap_or_default());
                }
                if seeds.len() > MOST_SEEDS {
                    self.too_many_seeds(value.span, seeds.len() as u64);
                    return None;
                }
                all_valid.then_some(seeds)
            }
            Literal::Sweep(from, to, by) => {
                let from_seed = self.seed(field, from);
                let to_seed = self.seed(field, to);
                let by_seed = by.as_ref().map_or(Some(1), |by| self.seed(field, by));
                let (from_seed, to_seed, by_seed) = (from_seed?, to_seed?, by_seed?);
                if by_seed == 0 || to_seed < from_seed {
                    let message = format!("the sweep `{}` never arrives", self.written(value.span));
                    let help = if by_seed == 0 {
                        "go by at least 1".to_owned()
                    } else {
                        format!("did you mean `{} {to_seed} to {from_seed}`?", field.key)
                    };
                    self.report(Diagnostic::new(Code::BadSeeds, message).at(value.span, "no end to it").help(help));
                    return None;
                }
                let count = (to_seed - from_seed) / by_seed;
                if count >= MOST_SEEDS as u64 {
                    self.too_many_seeds(value.span, count.saturating_add(1));
                    return None;
                }
                Some((0..=count).map(|at| (Seed(from_seed + at * by_seed), value.span)).collect())
            }
            _ => self.seed(field, value).map(|seed| vec![(Seed(seed), value.span)]),
        }
    }

    fn too_many_seeds(&mut self, span: Span, count: u64) {
        let message = format!("{count} seeds are too many");
        let help = format!("one recipe paints at most {MOST_SEEDS} pictures");
        self.report(Diagnostic::new(Code::BadSeeds, message).at(span, "one picture for each").help(help));
    }

    fn seed(&mut self, field: &Field, value: &Value) -> Option<u64> {
        match &value.value {
            Literal::Number(number) => {
                if let Some(seed) = number.integer() {
                    return Some(seed);
                }
                if number.value.fract() != 0.0 && number.value > 0.0 {
                    self.not_whole(field, value.span, &number.value.round().to_string());
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

/// The allowed side of a picture that is nearest to a number.
fn nearest_side(side: &Number) -> Option<u32> {
    let (low, high) = (f64::from(*Size::RANGE.start()), f64::from(*Size::RANGE.end()));
    let multiple = f64::from(Size::MULTIPLE);
    side.value.is_finite().then(|| ((side.value / multiple).round() * multiple).clamp(low, high) as u32)
}
