//! The numbers of one evaluation's guidance as the kernels of `cuda/guide.cu` are given them: a value of fixed size, so that
//! nothing has to be copied to the device beforehand.

use super::Memory;
use crate::plan::{Guidance, Term};

/// Terms, momenta and effects that the kernels take at once; more are left to candle's operations.
pub const MOST: usize = 32;

/// Stands for a row, a momentum or an effect that is not there.
const NONE: i32 = -1;

/// A concept's part.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
struct PackedTerm {
    row: u32,
    rank: u32,
    strength: f32,
    direct: f32,
    momentum: i32,
    share: f32,
    effect: i32,
}

/// A momentum's part.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
struct PackedMomentum {
    before: u64,
    scale: f32,
    decay: f32,
    /// What the decay leaves of 1.
    rest: f32,
    added: f32,
    next: i32,
    unused: i32,
}

/// The kernels' argument: `Guidance` in `guide.cu`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Arguments {
    channels: u32,
    places: u32,
    base: u32,
    prompt: i32,
    scale: f32,
    terms: u32,
    momenta: u32,
    effects: u32,
    term: [PackedTerm; MOST],
    momentum: [PackedMomentum; MOST],
    effect: [u64; MOST],
}

/// One evaluation's guidance, and what becomes of what the kernels write.
#[derive(Debug, Clone)]
pub struct Packed {
    /// For the kernels.
    pub arguments: Arguments,
    /// The height and width of a channel.
    pub size: (usize, usize),
    /// The number of each momentum that takes part: its tensor before, if there is one, belongs to the argument of this place.
    pub momenta: Vec<usize>,
    /// Of those, the places of the ones that go on, in the order in which they are written.
    pub kept: Vec<usize>,
    /// The place in [`Memory::effects`] of each effect that is written.
    pub effects: Vec<usize>,
}

impl Packed {
    /// Of estimates of this shape; `None` where there is more than the kernels take, or a row that was not evaluated.
    pub fn new(
        guidance: &Guidance,
        (rows, channels, height, width): (usize, usize, usize, usize),
        row_of: impl Fn(usize) -> Option<usize>,
        memory: &Memory,
        effect_of: impl Fn(&Term) -> Option<usize>,
    ) -> Option<Self> {
        let row = |row: usize| row_of(row).filter(|place| *place < rows);
        let (prompt, scale) = match guidance.prompt {
            Some((prompt, scale)) => (row(prompt)? as i32, scale as f32),
            None => (NONE, 0.0),
        };
        let mut arguments = Arguments {
            channels: channels as u32,
            places: u32::try_from(height * width).ok()?,
            base: row(guidance.base)? as u32,
            prompt,
            scale,
            terms: guidance.terms.len() as u32,
            momenta: guidance.momenta.len() as u32,
            effects: 0,
            term: [PackedTerm::default(); MOST],
            momentum: [PackedMomentum::default(); MOST],
            effect: [0; MOST],
        };
        if guidance.terms.len() > MOST || guidance.momenta.len() > MOST {
            return None;
        }
        let momenta: Vec<usize> = guidance.momenta.iter().map(|step| step.momentum).collect();
        let mut effects = Vec::new();
        for (packed, term) in arguments.term.iter_mut().zip(&guidance.terms) {
            let effect = effect_of(term).map(|place| {
                effects.iter().position(|known| *known == place).unwrap_or_else(|| {
                    effects.push(place);
                    effects.len() - 1
                })
            });
            let fed = |number| momenta.iter().position(|known| *known == number);
            let (momentum, share) = match term.feeds {
                Some((number, share)) => (fed(number)? as i32, share as f32),
                None => (NONE, 0.0),
            };
            *packed = PackedTerm {
                row: row(term.row)? as u32,
                rank: u32::try_from(term.rank).unwrap_or(u32::MAX),
                strength: term.strength as f32,
                direct: term.direct as f32,
                momentum,
                share,
                effect: effect.map_or(NONE, |effect| effect as i32),
            };
        }
        arguments.effects = effects.len() as u32;
        let mut kept = Vec::new();
        for (place, step) in guidance.momenta.iter().enumerate() {
            let is_fed = guidance.terms.iter().any(|term| term.feeds.is_some_and(|(fed, _)| fed == step.momentum));
            // What has not begun and is not fed remains what it is: not there.
            let goes_on = step.kept && (is_fed || memory.momenta.get(step.momentum).is_some_and(Option::is_some));
            arguments.momentum[place] = PackedMomentum {
                before: 0,
                scale: step.scale as f32,
                decay: step.decay as f32,
                rest: (1.0 - step.decay) as f32,
                added: step.added as f32,
                next: if goes_on { kept.len() as i32 } else { NONE },
                unused: 0,
            };
            kept.extend(goes_on.then_some(place));
        }
        Some(Self { arguments, size: (height, width), momenta, kept, effects })
    }

    /// Has the momentum of this place, and the effect of that one, begin from numbers on the device.
    pub fn begin_from(&mut self, momenta: impl Fn(usize) -> Option<u64>, effects: impl Fn(usize) -> Option<u64>) {
        for (momentum, number) in self.arguments.momentum.iter_mut().zip(&self.momenta) {
            momentum.before = momenta(*number).unwrap_or(0);
        }
        for (effect, place) in self.arguments.effect.iter_mut().zip(&self.effects) {
            *effect = effects(*place).unwrap_or(0);
        }
    }
}

impl Arguments {
    /// The number of terms times channels: one threshold each.
    pub fn thresholds(&self) -> usize {
        (self.terms * self.channels) as usize
    }
}

const _: () = assert!(size_of::<Arguments>() == 8 * 4 + MOST * (7 * 4 + 32 + 8), "there is room between the numbers");
