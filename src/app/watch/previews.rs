//! When a render in the making is shown, and how well.

use std::time::{Duration, Instant};

use crate::app::session::StudioModel;
use crate::artifact::png;
use crate::engine::sampler::State;

/// A picture that will be there so soon needs no preview: it would be a flicker.
const SOON: Duration = Duration::from_millis(250);
/// Nobody sees more of them.
const PAUSE: Duration = Duration::from_millis(50);
/// Sharp previews take this part of a render's time at most, ...
const SHARE: u32 = 20;
/// ... and at no moment more than this part of what has passed, so that they are spread over it.
const PACE: u32 = 10;

/// What earlier renders took, from which a new one's speed is guessed.
#[derive(Debug, Default)]
pub(super) struct Speed {
    step: Option<Duration>,
    sharp: Option<Duration>,
}

/// The previews of one render.
#[derive(Debug)]
pub(super) struct Previews {
    /// Evaluations that the plan has.
    evaluations: usize,
    /// When the first step was about to begin, and which.
    began: Option<(Instant, usize)>,
    spent: Duration,
    /// When the last one was made, and the evaluations that it had seen.
    last: Option<(Instant, usize)>,
    sharp: bool,
}

impl Previews {
    pub(super) fn of(evaluations: usize) -> Self {
        Self { evaluations, began: None, spent: Duration::ZERO, last: None, sharp: false }
    }

    /// The preview of a state as a PNG file, if one is due and can be made: coarse ones as often as there is something new,
    /// and, where the model's own decoder is quick, sharp ones as far as time allows. After a sharp one no coarse one comes.
    pub(super) fn make(&mut self, speed: &mut Speed, model: &StudioModel, state: &State) -> Option<Vec<u8>> {
        let now = Instant::now();
        let (began, first) = *self.began.get_or_insert((now, state.done()));
        let elapsed = now - began;
        if let Ok(steps @ 1..) = u32::try_from(state.done() - first) {
            speed.step = Some(elapsed.saturating_sub(self.spent) / steps);
        }
        // The same state comes again while it is decoded.
        if self.last.is_some_and(|(made, done)| done == state.done() || now - made < PAUSE) {
            return None;
        }
        let left = speed.step.map(|step| step * (self.evaluations - state.done()) as u32);
        if left.is_some_and(|left| left < SOON) {
            return None;
        }
        let in_time = self.last.is_none() || self.spent * PACE <= elapsed;
        let affordable = match (left, speed.sharp) {
            (Some(left), Some(cost)) => (self.spent + cost) * SHARE <= elapsed + left,
            // Once it has to be found out.
            _ => true,
        };
        let sharp = model.decodes_quickly() && in_time && affordable;
        if !sharp && (self.sharp || !in_time) {
            return None;
        }
        // A preview that cannot be made is not worth an error: the picture will tell.
        let picture = model.preview(state, sharp).ok().flatten()?;
        let png = png::encode_plain(&picture).ok()?;
        let cost = now.elapsed();
        if sharp {
            (self.sharp, speed.sharp) = (true, Some(cost));
        }
        (self.last, self.spent) = (Some((now, state.done())), self.spent + cost);
        Some(png)
    }
}
