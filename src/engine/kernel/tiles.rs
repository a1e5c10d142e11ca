//! Products by a matrix unit: which of them, in which pieces, and what each piece is made of. The unit's instructions
//! are in `amx`; where there is none, no product comes here.
#![cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]

use super::grid::{Grid, OUTSIDE};
use super::product::{Columns, Packed, Target};
use super::simd::Isa;
use super::threads::{WORTHWHILE, each, filled_lines, threads_for};

#[cfg(target_arch = "x86_64")]
use super::amx;
#[cfg(not(target_arch = "x86_64"))]
use none as amx;

/// Inputs that one instruction multiplies.
pub(super) const DEPTH: usize = 32;
/// Outputs of a panel: two tiles.
pub(super) const WIDTH: usize = 32;
/// Positions that are multiplied at a time: two tiles.
pub(super) const HEIGHT: usize = 32;
/// Steps of [`DEPTH`] inputs whose weights are taken through all positions, so that they stay in the second-level cache.
pub(super) const STEPS: usize = 90;
/// Positions that are taken through all panels, so that their inputs stay in that cache, too.
const POSITIONS: usize = 320;
/// Panels whose sums exist at once.
const PANELS: usize = 16;

/// Whether a product of so many inputs is left to the matrix unit.
pub(super) fn apply(isa: Isa, inputs: usize, columns: Columns) -> bool {
    isa.has_matrix_unit() && inputs.is_multiple_of(DEPTH) && columns.padded().is_multiple_of(WIDTH)
}

/// Where the weight of a depth and a column stands in a panel: for every 32 inputs two tiles of 16 columns, in which two
/// inputs stand side by side.
pub(super) fn place(depth: usize, column: usize) -> usize {
    let (step, depth) = (depth / DEPTH, depth % DEPTH);
    step * DEPTH * WIDTH + column / 16 * 512 + depth / 2 * 32 + column % 16 * 2 + depth % 2
}

/// Panels of the outputs of a run of positions.
pub(super) struct Job<'a> {
    pub(super) packed: &'a Packed,
    /// The inputs of all positions in parts.
    pub(super) x: *const u8,
    /// For each tap, from a position to its input's.
    pub(super) offsets: &'a [usize],
    /// For each position the output pixel, if that is another.
    pub(super) targets: Option<&'a [u32]>,
    pub(super) positions: std::ops::Range<usize>,
    pub(super) panels: std::ops::Range<usize>,
    pub(super) target: Target<'a>,
}

impl Job<'_> {
    /// The output pixel of a position.
    #[inline(always)]
    pub(super) fn pixel(&self, position: usize) -> Option<usize> {
        match self.targets {
            None => Some(position),
            Some(targets) => Some(targets[position]).filter(|&pixel| pixel != OUTSIDE).map(|pixel| pixel as usize),
        }
    }
}

// SAFETY: the pointer is to inputs that are only read.
unsafe impl Sync for Job<'_> {}

/// Multiplies pixels of `x`, which lie as the grid says.
///
/// # Safety
///
/// [`apply`] must hold for the weights; the grid's sources lie in `x`, and its targets are all pixels of the target.
pub(super) unsafe fn multiply(packed: &Packed, x: &[f32], grid: Option<&Grid>, pixels: usize, target: Target<'_>) {
    let Packed { inputs, taps, columns, .. } = *packed;
    let positions = grid.map_or(pixels, |grid| grid.targets.len());
    let sources = grid.map_or(pixels, |grid| grid.sources.len());
    let work = positions * inputs * taps * columns.padded();
    // The unit is some four times as fast as vectors.
    let threads = threads_for(work / 4);
    let parts = if packed.isa.rounds() { 1 } else { 3 };
    // Whole heights are read from each position on, and a step more.
    let behind = (HEIGHT + 1) * inputs * parts / 2;
    let count = sources * inputs * parts / 2 + behind;
    let chunk = 64;
    let jobs = sources.div_ceil(chunk);
    // SAFETY: each job writes its positions, the last one the rest; sources lie in `x`.
    let split = unsafe {
        filled_lines(count, |out| {
            each(threads, jobs, |job| {
                for position in job * chunk..sources.min(job * chunk + chunk) {
                    let pixel = grid.map_or(position as u32, |grid| grid.sources[position]);
                    let to = out.pointer().add(position * inputs * parts / 2);
                    if pixel == OUTSIDE {
                        std::ptr::write_bytes(to, 0, inputs * parts / 2);
                    } else {
                        amx::split(parts, &x[pixel as usize * inputs..][..inputs], to.cast());
                    }
                }
            });
            std::ptr::write_bytes(out.pointer().add(sources * inputs * parts / 2), 0, behind);
        })
    };
    let chunks = positions.div_ceil(POSITIONS);
    let chunk = positions.div_ceil(chunks).next_multiple_of(HEIGHT);
    let chunks = positions.div_ceil(chunk);
    // Enough groups of panels to share, none of them too small.
    let wanted = (8 * threads).div_ceil(chunks).min(work.div_ceil(chunks * WORTHWHILE)).max(1);
    let group = if threads == 1 { PANELS } else { columns.panels().div_ceil(wanted).clamp(1, PANELS) };
    let groups = columns.panels().div_ceil(group);
    each(threads, chunks * groups, |job| {
        let (start, first) = (job / groups * chunk, job % groups * group);
        let job = Job {
            packed,
            x: split.as_ptr().cast(),
            offsets: grid.map_or(&[0], |grid| &grid.offsets),
            targets: grid.map(|grid| &grid.targets[..]),
            positions: start..positions.min(start + chunk),
            panels: first..columns.panels().min(first + group),
            target,
        };
        // SAFETY: the caller's promise; jobs are all pairs of a chunk and a group, and write their own outputs.
        unsafe { amx::execute(&job) };
    });
}

/// In place of a unit that this kind of processor cannot have.
#[cfg(not(target_arch = "x86_64"))]
mod none {
    use super::Job;

    pub(super) unsafe fn split(_: usize, _: &[f32], _: *mut u16) {
        unreachable!("there is no matrix unit");
    }

    pub(super) unsafe fn execute(_: &Job<'_>) {
        unreachable!("there is no matrix unit");
    }
}
