//! Numbers rounded to bf16, two of them in a cell of 32 bits, as some instruction sets multiply them.

use super::simd::{Isa, Simd, Task};
use super::threads::{each, filled, threads_for};

/// Multiplications that rounding a number is worth.
const COST: usize = 4;
/// Cells that a job makes.
const CHUNK: usize = 1 << 14;

/// An even number of numbers as cells, in order. The set must have them.
pub(super) fn pairs_of(isa: Isa, numbers: &[f32]) -> Vec<f32> {
    let cells = numbers.len() / 2;
    let threads = threads_for(numbers.len() * COST);
    // SAFETY: the jobs are all chunks, and each writes its cells.
    unsafe {
        filled(cells, |out| {
            each(threads, cells.div_ceil(CHUNK), |job| {
                let start = job * CHUNK;
                let numbers = &numbers[2 * start..2 * cells.min(start + CHUNK)];
                isa.run_product(true, Narrow { numbers, out: out.pointer().add(start) });
            });
        })
    }
}

/// Writes numbers as cells.
struct Narrow<'a> {
    numbers: &'a [f32],
    out: *mut f32,
}

impl Task for Narrow<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the caller's promise that there is room.
        unsafe { cells::<S>(self.numbers, 1.0, self.out) }
    }
}

/// Writes numbers, times `scale`, as cells of the set.
///
/// # Safety
///
/// The set must be there; the numbers must make whole cells, for which `to` must have room.
#[inline(always)]
pub(super) unsafe fn cells<S: Simd>(numbers: &[f32], scale: f32, to: *mut f32) {
    for start in (0..numbers.len()).step_by(S::CELL * S::LANES) {
        // SAFETY: the numbers are there; room is the caller's promise.
        unsafe {
            let mut vectors = [S::splat(0.0); 2];
            for n in 0..S::CELL {
                let start = numbers.len().min(start + n * S::LANES);
                let some = S::load_some(numbers.as_ptr().add(start), numbers.len() - start);
                vectors[n] = S::mul(some, S::splat(scale));
            }
            let cells = if S::CELL == 2 { S::narrow(vectors[0], vectors[1]) } else { vectors[0] };
            S::store_some(to.add(start / S::CELL), cells, (numbers.len() - start) / S::CELL);
        }
    }
}
