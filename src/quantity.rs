//! Checked numbers: each type holds only values that its setting allows, and says which those are.

use std::fmt;
use std::ops::RangeInclusive;

/// A number that lies outside what its quantity allows.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("{value} is not within {low} to {high}")]
pub struct OutOfRange {
    /// The number given.
    pub value: f64,
    /// The least allowed number.
    pub low: f64,
    /// The greatest allowed number.
    pub high: f64,
}

macro_rules! real_quantity {
    ($(#[$doc:meta])* $name:ident, $range:expr, $default:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
        pub struct $name(f64);

        impl $name {
            /// The allowed values.
            pub const RANGE: RangeInclusive<f64> = $range;
            /// The value where a recipe says nothing.
            pub const DEFAULT: Self = Self($default);

            /// The quantity, if `value` is allowed (NaN never is).
            pub fn new(value: f64) -> Result<Self, OutOfRange> {
                if Self::RANGE.contains(&value) {
                    Ok(Self(value))
                } else {
                    Err(OutOfRange { value, low: *Self::RANGE.start(), high: *Self::RANGE.end() })
                }
            }

            /// The number.
            pub fn get(self) -> f64 {
                self.0
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::DEFAULT
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

real_quantity! {
    /// s_g, the classifier-free guidance scale. 1 means no guidance: the prompt's estimate alone.
    GuidanceScale, 1.0..=100.0, 7.5
}
real_quantity! {
    /// s_e, the edit guidance scale of a concept. Its sign is the concept's direction.
    Strength, 0.0..=100.0, 5.0
}
real_quantity! {
    /// lambda, the share of a latent channel's elements that is discarded.
    Threshold, 0.0..=1.0, 0.9
}
real_quantity! {
    /// s_m, the momentum scale.
    Momentum, 0.0..=1.0, 0.1
}
real_quantity! {
    /// beta_m, the decay of the momentum.
    Beta, 0.0..=1.0, 0.4
}
real_quantity! {
    /// g_i, the weight of a concept in the sum.
    Weight, 0.0..=100.0, 1.0
}
real_quantity! {
    /// How much of a LoRA is added to the weights. 1 is what it was trained for.
    LoraStrength, -10.0..=10.0, 1.0
}
real_quantity! {
    /// eta of DDIM: 0 is deterministic, 1 has DDPM's variance.
    Eta, 0.0..=1.0, 0.0
}

macro_rules! whole_quantity {
    ($(#[$doc:meta])* $name:ident, $range:expr, $default:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $name(u32);

        impl $name {
            /// The allowed values.
            pub const RANGE: RangeInclusive<u32> = $range;
            /// The number where nothing else is known.
            pub const DEFAULT: Self = Self($default);

            /// The quantity, if `value` is allowed.
            pub fn new(value: u32) -> Result<Self, OutOfRange> {
                if Self::RANGE.contains(&value) {
                    Ok(Self(value))
                } else {
                    Err(OutOfRange {
                        value: value.into(),
                        low: (*Self::RANGE.start()).into(),
                        high: (*Self::RANGE.end()).into(),
                    })
                }
            }

            /// The number.
            pub fn get(self) -> usize {
                self.0 as usize
            }
        }
    };
}

whole_quantity! {
    /// The number of scheduler steps of a render.
    Steps, 1..=1000, 30
}
whole_quantity! {
    /// Which layer of the text encoder speaks to the network, counted from the last, which is 1.
    ClipSkip, 1..=12, 1
}

/// A position among the steps: a step's number, or a share of all steps (rounded down).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum StepPoint {
    /// A number of steps from the noisy end.
    Count(u32),
    /// A share of the steps, 0 to 1.
    Share(f64),
}

impl StepPoint {
    /// The step's number among `steps`; may lie past the last step.
    pub fn resolve(self, steps: Steps) -> usize {
        match self {
            Self::Count(count) => count as usize,
            // The small excess keeps shares such as 0.29 of 100 from falling below the whole number that was meant.
            Self::Share(share) => (share * steps.get() as f64 + 1e-9).floor() as usize,
        }
    }
}

/// delta, the warm-up of a concept: for so many steps of its range it only builds up momentum.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WarmUp(pub StepPoint);

impl Default for WarmUp {
    fn default() -> Self {
        Self(StepPoint::Count(10))
    }
}

/// The half-open range of steps in which a concept exists. An end that is missing reaches to that end of the render.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct StepRange {
    /// The first step of the range.
    pub start: Option<StepPoint>,
    /// One past the last step of the range.
    pub end: Option<StepPoint>,
}

impl StepRange {
    /// The steps' numbers among `steps`, clipped to the render.
    pub fn resolve(self, steps: Steps) -> std::ops::Range<usize> {
        let total = steps.get();
        let start = self.start.map_or(0, |point| point.resolve(steps));
        let end = self.end.map_or(total, |point| point.resolve(steps));
        start.min(total)..end.min(total)
    }
}

/// The seed of a picture's noise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Seed(pub u64);

/// A picture's size in pixels. Both sides are positive multiples of 8, the factor of every autoencoder known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Size {
    width: u32,
    height: u32,
}

impl Size {
    /// Both sides are multiples of this many pixels.
    pub const MULTIPLE: u32 = 8;
    /// The allowed length of a side.
    pub const RANGE: RangeInclusive<u32> = 8..=8192;

    /// The size, if both sides are allowed.
    pub fn new(width: u32, height: u32) -> Option<Self> {
        let allowed = |side: u32| Self::RANGE.contains(&side) && side.is_multiple_of(Self::MULTIPLE);
        (allowed(width) && allowed(height)).then_some(Self { width, height })
    }

    /// The width in pixels.
    pub fn width(self) -> usize {
        self.width as usize
    }

    /// The height in pixels.
    pub fn height(self) -> usize {
        self.height as usize
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}
