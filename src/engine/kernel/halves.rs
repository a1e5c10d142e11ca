//! Products of numbers that are split in halves for a matrix unit; where there is none, nothing is ever split.

#[cfg(target_arch = "x86_64")]
use super::amx;
use super::product::Job;
use super::simd::Isa;
use super::threads::{Line, each, filled_lines};

/// Whether a product of so many inputs to so many columns is left to a matrix unit.
pub(super) fn apply(isa: Isa, inputs: usize, columns: usize) -> bool {
    #[cfg(target_arch = "x86_64")]
    return isa.has_matrix_unit() && inputs.is_multiple_of(amx::DEPTH) && columns.is_multiple_of(amx::WIDTH);
    #[cfg(not(target_arch = "x86_64"))]
    return isa.has_matrix_unit() && inputs + columns > 0;
}

/// Writes one weight of a panel.
pub(super) fn put(panel: &mut [f32], input: usize, column: usize, weight: f32) {
    #[cfg(target_arch = "x86_64")]
    amx::put(panel, input, column, weight);
    #[cfg(not(target_arch = "x86_64"))]
    unreachable!("{:?}", (panel, input, column, weight));
}

/// Splits pixels of `inputs` numbers, in the same space; lines, since a tile that straddles them is read six times
/// as slowly.
///
/// # Safety
///
/// A matrix unit must be there.
pub(super) unsafe fn split(threads: usize, x: &[f32], inputs: usize) -> Vec<Line> {
    let pixels = x.len() / inputs;
    let chunk = pixels.div_ceil(4 * threads).max(1);
    // SAFETY: the jobs cover all pixels, each of them once; the unit is there.
    unsafe {
        filled_lines(x.len(), |out| {
            each(threads, pixels.div_ceil(chunk), |job| {
                let start = job * chunk * inputs;
                let x = &x[start..x.len().min(start + chunk * inputs)];
                let out = out.pointer().add(start);
                #[cfg(target_arch = "x86_64")]
                amx::split_pixels(x, inputs, out);
                #[cfg(not(target_arch = "x86_64"))]
                unreachable!("{:?}", (x, out));
            });
        })
    }
}

/// Does a job.
///
/// # Safety
///
/// A matrix unit must be there, and what the job's pointers point to.
pub(super) unsafe fn run(job: &Job<'_>) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the caller's promise.
    unsafe {
        amx::panel(job);
    }
    #[cfg(not(target_arch = "x86_64"))]
    unreachable!("{}", job.pixels.len());
}
