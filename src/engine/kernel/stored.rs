//! Weights as they are kept in memory: in the narrowest type that holds each of them exactly, which for the checkpoints
//! that most people have is half of what f32 takes. They become f32 again, or parts for a matrix unit, panel by panel
//! when they are used, which costs little beside the product.

use std::ops::{Deref, Range};

use rayon::prelude::*;

use super::product::Columns;
use super::simd::{Simd, Task};
use super::threads::{Line, WORTHWHILE, want_large_pages};

/// Numbers of one type.
pub(super) enum Stored {
    F32(Vec<Line>),
    F16(Halves),
    BF16(Halves),
}

/// Numbers of 16 bits that start with a cache line.
pub(super) struct Halves {
    lines: Vec<Line>,
    count: usize,
}

impl Deref for Halves {
    type Target = [u16];

    fn deref(&self) -> &[u16] {
        // SAFETY: a line is 32 of these numbers, and there are lines for all of them.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.count) }
    }
}

impl Stored {
    /// The weights `[outputs, inputs, taps]` panel by panel, each in the order that `order` says: the place of a depth
    /// (tap by tap, input by input) and a column, in a panel of so many columns. If `rounded`, to the nearest bf16.
    pub(super) fn new(
        rounded: bool,
        weight: &[f32],
        inputs: usize,
        taps: usize,
        columns: Columns,
        order: impl Fn(usize, usize, usize) -> usize + Sync,
    ) -> Self {
        let count = columns.padded() * inputs * taps;
        let arrange = Arrange { weight, inputs, taps, columns, order };
        if rounded || all(weight, |x| x.to_bits() & 0xffff == 0) {
            Self::BF16(Halves { lines: arrange.lines(count, nearest_bf16), count })
        } else if all(weight, is_f16) {
            Self::F16(Halves { lines: arrange.lines(count, exact_f16), count })
        } else {
            Self::F32(arrange.lines(count, |x| x))
        }
    }

    /// The numbers from a place on as cells of pairs, which they must be stored for.
    pub(super) fn pairs(&self, start: usize) -> *const f32 {
        let Self::BF16(numbers) = self else { unreachable!("pairs are of bf16") };
        numbers[start..].as_ptr().cast()
    }

    /// The numbers of a range as f32: where they are, or in `room`. Panels consist of whole vectors, and so does the range.
    ///
    /// # Safety
    ///
    /// The instruction set must be there.
    #[inline(always)]
    pub(super) unsafe fn widen<S: Simd>(&self, range: Range<usize>, room: &mut Vec<Line>) -> *const f32 {
        if let Self::F32(lines) = self {
            assert!(range.end <= 16 * lines.len());
            return lines.as_ptr().cast::<f32>().wrapping_add(range.start);
        }
        // Not filled with anything first, since all of it is written.
        room.clear();
        room.reserve(range.len().div_ceil(16));
        let to = room.as_mut_ptr().cast::<f32>();
        // SAFETY: the caller's promise; the lines are so many numbers at least.
        unsafe { self.read::<S>(range.clone(), Widen { count: range.len(), to }) };
        to.cast_const()
    }

    /// Has the numbers of a range read as they are.
    ///
    /// # Safety
    ///
    /// The instruction set must be there, and what the reader writes to.
    #[inline(always)]
    pub(super) unsafe fn read<S: Simd>(&self, range: Range<usize>, reader: impl Reader) {
        // SAFETY: the caller's promise; a line is 16 of these numbers.
        unsafe {
            match self {
                Self::F32(lines) => {
                    assert!(range.end <= 16 * lines.len());
                    S::call(Reading { from: lines.as_ptr().cast::<f32>().add(range.start), reader });
                }
                Self::F16(numbers) => S::call(Reading { from: numbers[range].as_ptr().cast::<F16>(), reader }),
                Self::BF16(numbers) => S::call(Reading { from: numbers[range].as_ptr().cast::<BF16>(), reader }),
            }
        }
    }
}

/// A type of stored numbers.
pub(super) trait Number {
    /// A vector of them as f32.
    ///
    /// # Safety
    ///
    /// The numbers and the instruction set must be there.
    unsafe fn load<S: Simd>(from: *const Self) -> S::V;
}

impl Number for f32 {
    #[inline(always)]
    unsafe fn load<S: Simd>(from: *const Self) -> S::V {
        // SAFETY: the caller's promise.
        unsafe { S::load(from) }
    }
}

#[repr(transparent)]
struct F16(u16);

impl Number for F16 {
    #[inline(always)]
    unsafe fn load<S: Simd>(from: *const Self) -> S::V {
        // SAFETY: the caller's promise.
        unsafe { S::load_f16(from.cast()) }
    }
}

#[repr(transparent)]
struct BF16(u16);

impl Number for BF16 {
    #[inline(always)]
    unsafe fn load<S: Simd>(from: *const Self) -> S::V {
        // SAFETY: the caller's promise.
        unsafe { S::load_bf16(from.cast()) }
    }
}

/// Work on stored numbers of any type.
pub(super) trait Reader {
    /// # Safety
    ///
    /// The instruction set and the numbers must be there, and what the reader writes to.
    unsafe fn read<S: Simd, T: Number>(self, from: *const T);
}

struct Reading<T, R> {
    from: *const T,
    reader: R,
}

impl<T: Number, R: Reader> Task for Reading<T, R> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the caller's promise.
        unsafe { self.reader.read::<S, T>(self.from) }
    }
}

fn all(weight: &[f32], holds: impl Fn(f32) -> bool + Sync) -> bool {
    weight.par_chunks(WORTHWHILE).all(|chunk| chunk.iter().all(|&x| holds(x)))
}

/// Whether an f16 is exactly this number.
fn is_f16(x: f32) -> bool {
    const SMALLEST_NORMAL: f32 = 1.0 / 16384.0;
    let size = x.abs();
    if size >= SMALLEST_NORMAL {
        size <= 65504.0 && x.to_bits() & 0x1fff == 0
    } else {
        let steps = size * SUBNORMAL;
        steps == steps.trunc()
    }
}

/// Steps of f16's smallest numbers in 1.
const SUBNORMAL: f32 = (1 << 24) as f32;

/// The f16 that is exactly this number.
fn exact_f16(x: f32) -> u16 {
    let (sign, size) = ((x.to_bits() >> 16 & 0x8000) as u16, x.abs());
    let bits = size.to_bits() >> 13;
    sign | if bits >= 113 << 10 { (bits - (112 << 10)) as u16 } else { (size * SUBNORMAL) as u16 }
}

/// The bf16 nearest to it, of two equally near the even one.
fn nearest_bf16(x: f32) -> u16 {
    (x.to_bits().wrapping_add(0x7fff + (x.to_bits() >> 16 & 1)) >> 16) as u16
}

struct Arrange<'a, O> {
    weight: &'a [f32],
    inputs: usize,
    taps: usize,
    columns: Columns,
    order: O,
}

impl<O: Fn(usize, usize, usize) -> usize + Sync> Arrange<'_, O> {
    /// All numbers, converted.
    fn lines<T: Send>(&self, count: usize, convert: impl Fn(f32) -> T + Sync) -> Vec<Line> {
        let count_of_lines = (count * size_of::<T>()).div_ceil(64);
        let mut lines = Vec::with_capacity(count_of_lines);
        want_large_pages(&lines);
        lines.resize(count_of_lines, Line([0.0; 16]));
        // SAFETY: the same memory as so many plain numbers, of which any bits are one.
        let numbers = unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast::<T>(), count) };
        self.fill(numbers, convert);
        lines
    }

    fn fill<T: Send>(&self, numbers: &mut [T], convert: impl Fn(f32) -> T + Sync) {
        let Self { inputs, taps, columns, .. } = *self;
        let depth = inputs * taps;
        let fill = |(panel, to): (usize, &mut [T])| {
            let width = columns.width(panel);
            for column in 0..width {
                let Some(output) = columns.output(panel, column) else { continue };
                let from = &self.weight[output * depth..][..depth];
                for tap in 0..taps {
                    for input in 0..inputs {
                        to[(self.order)(tap * inputs + input, column, width)] = convert(from[input * taps + tap]);
                    }
                }
            }
        };
        let panels = numbers.par_chunks_mut(depth * columns.panel()).enumerate();
        if self.weight.len() < WORTHWHILE {
            panels.with_min_len(usize::MAX).for_each(fill);
        } else {
            panels.for_each(fill);
        }
    }
}

/// To f32.
struct Widen {
    /// Whole vectors.
    count: usize,
    to: *mut f32,
}

impl Reader for Widen {
    #[inline(always)]
    unsafe fn read<S: Simd, T: Number>(self, from: *const T) {
        for at in (0..self.count).step_by(S::LANES) {
            // SAFETY: the caller's promise.
            unsafe { S::store(self.to.add(at), T::load::<S>(from.add(at))) };
        }
    }
}
