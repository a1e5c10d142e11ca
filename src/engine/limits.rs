//! What computing keeps to: how much at once, and until when.

use super::EngineError;

/// Asked between the parts of long work whether somebody wants its end.
#[derive(Clone, Copy)]
pub struct Stop<'a>(Option<&'a dyn Fn() -> bool>);

impl<'a> Stop<'a> {
    /// Nobody does.
    pub const NEVER: Self = Self(None);

    /// When this is true.
    pub fn when(asked: &'a dyn Fn() -> bool) -> Self {
        Self(Some(asked))
    }

    /// [`EngineError::Interrupted`] if somebody does.
    pub fn check(self) -> Result<(), EngineError> {
        match self.0 {
            Some(asked) if asked() => Err(EngineError::Interrupted),
            _ => Ok(()),
        }
    }
}

/// What the networks keep to in a render.
#[derive(Clone, Copy)]
pub struct Limits<'a> {
    /// So many rows are evaluated at once at most. Fewer take less memory and give the same estimates.
    pub rows: usize,
    /// Asked between the layers.
    pub stop: Stop<'a>,
}

impl<'a> Limits<'a> {
    /// None.
    pub const NONE: Self = Self { rows: usize::MAX, stop: Stop::NEVER };

    /// No other than that somebody may want its end.
    pub fn until(stop: Stop<'a>) -> Self {
        Self { stop, ..Self::NONE }
    }
}
