//! The one matrix product under linear layers and convolutions: weights packed once, inputs read where they are.
//!
//! A convolution over channels-last pictures is a product whose row for an output pixel is made of the pixels under the
//! kernel: one run of channels for each place of the kernel (a tap). Instead of copying these runs into a matrix, the
//! product takes a table that says which pixel lies under each tap. Strides, padding and nearest-neighbour upsampling
//! are nothing but other tables. What is done to each output (bias, residual, activation) is done while it is still in
//! a register.

use std::ops::Range;

use super::math::gelu;
use super::simd::{Isa, MOST_ROWS, Simd, Task};
use super::threads::{Shared, WORTHWHILE, each, filled, threads_for};

/// Vectors side by side in a panel of weights, and in a tile of outputs.
const VECTORS: usize = 2;
/// Weights of one output column that are used at a time, so that a panel's part stays in the second-level cache.
const DEPTH: usize = 4096;
/// Input numbers that are taken through all panels before the next are, so that they stay in that cache, too.
const INPUTS: usize = 1 << 18;

/// A cache line, as whose multiples panels start.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

/// Weights as the kernel reads them: in panels of two vectors of outputs, the taps one after another in each.
pub(super) struct Packed {
    isa: Isa,
    taps: usize,
    inputs: usize,
    outputs: usize,
    gated: bool,
    lines: Vec<Line>,
    /// In the order of the panels' columns.
    bias: Vec<f32>,
    /// What lies outside the picture.
    zeros: Vec<f32>,
}

/// The outputs' numbers in memory, and what is done to them.
#[derive(Clone, Copy)]
pub(super) struct Finish<'a> {
    /// Added to every output pixel, a number for each output.
    pub(super) shift: Option<&'a [f32]>,
    /// Added, pixel by pixel; from its start again if it has fewer pixels.
    pub(super) residual: Option<&'a [f32]>,
    pub(super) relu: bool,
}

impl Packed {
    /// Packs `weight` `[outputs, inputs, taps]`. If `gated`, the second half of the outputs gates the first.
    pub(super) fn new(
        isa: Isa,
        weight: &[f32],
        bias: Option<&[f32]>,
        [outputs, inputs, taps]: [usize; 3],
        gated: bool,
    ) -> Self {
        let lanes = isa.lanes();
        let outputs = if gated { outputs / 2 } else { outputs };
        let depth = taps * inputs;
        let columns = Columns { lanes, outputs, gated };
        let mut lines = vec![Line([0.0; 16]); (columns.padded() * depth).div_ceil(16)];
        // SAFETY: the same memory as plain numbers, of which a line is made.
        let numbers = unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast::<f32>(), lines.len() * 16) };
        let mut padded_bias = vec![0.0; columns.padded()];
        let panels: Vec<&mut [f32]> = numbers.chunks_mut(depth * VECTORS * lanes).collect();
        let pack = |(panel, to): (usize, &mut [f32])| {
            let width = columns.width(panel);
            for column in 0..width {
                let Some(output) = columns.output(panel, column) else { continue };
                let from = &weight[output * depth..][..depth];
                for tap in 0..taps {
                    for input in 0..inputs {
                        to[(tap * inputs + input) * width + column] = from[input * taps + tap];
                    }
                }
            }
        };
        use rayon::prelude::*;
        if depth * outputs < WORTHWHILE {
            panels.into_iter().enumerate().for_each(pack);
        } else {
            panels.into_par_iter().enumerate().for_each(pack);
        }
        if let Some(bias) = bias {
            for panel in 0..columns.panels() {
                for column in 0..columns.width(panel) {
                    if let Some(output) = columns.output(panel, column) {
                        padded_bias[panel * VECTORS * lanes + column] = bias[output];
                    }
                }
            }
        }
        Self { isa, taps, inputs, outputs, gated, lines, bias: padded_bias, zeros: vec![0.0; inputs] }
    }

    /// Numbers of an output pixel.
    pub(super) fn outputs(&self) -> usize {
        self.outputs
    }

    /// Numbers of an input pixel.
    pub(super) fn inputs(&self) -> usize {
        self.inputs
    }

    fn columns(&self) -> Columns {
        Columns { lanes: self.isa.lanes(), outputs: self.outputs, gated: self.gated }
    }

    /// The output pixels, `pixels` times `outputs` numbers.
    ///
    /// `table` says for each tap and each output pixel which pixel of `x` lies there, [`OUTSIDE`] if none; without a
    /// table it is the pixel of the same number.
    pub(super) fn multiply(&self, x: &[f32], table: Option<&[u32]>, pixels: usize, finish: Finish<'_>) -> Vec<f32> {
        let columns = self.columns();
        let mut bias = self.bias.clone();
        if let Some(shift) = finish.shift {
            assert!(!self.gated && shift.len() == self.outputs);
            bias.iter_mut().zip(shift).for_each(|(bias, shift)| *bias += shift);
        }
        match table {
            Some(table) => {
                assert!(table.len() == self.taps * pixels);
                assert!(table.iter().all(|&pixel| pixel == OUTSIDE || (pixel as usize + 1) * self.inputs <= x.len()));
            }
            None => assert!(self.taps == 1 && x.len() == pixels * self.inputs),
        }
        if let Some(residual) = finish.residual {
            assert!(!residual.is_empty() && residual.len().is_multiple_of(self.outputs));
        }

        let each_pixel = columns.padded() * self.taps * self.inputs;
        let threads = threads_for(pixels * each_pixel);
        let panels = columns.panels();
        let mut chunk = (INPUTS / self.inputs).max(MOST_ROWS);
        if threads > 1 {
            // Enough jobs to share, none of them too small.
            let wanted = pixels.div_ceil((4 * threads).div_ceil(panels));
            let least = (WORTHWHILE / 4 * panels).div_ceil(each_pixel);
            chunk = chunk.min(wanted.max(least));
        }
        let chunk = chunk.div_ceil(MOST_ROWS) * MOST_ROWS;
        let jobs = pixels.div_ceil(chunk) * panels;
        // SAFETY: the jobs are all pairs of a chunk of pixels and a panel, and each writes the panel's outputs of these
        // pixels; lengths were checked above.
        unsafe {
            filled(pixels * self.outputs, |out| {
                each(threads, jobs, |job| {
                    let (start, panel) = (job / panels * chunk, job % panels);
                    self.isa.run(Job {
                        packed: self,
                        panel,
                        pixels: start..pixels.min(start + chunk),
                        x,
                        table: table.map(|table| (table, pixels)),
                        bias: &bias,
                        finish,
                        out,
                    });
                });
            })
        }
    }
}

/// A pixel that is not in the picture.
pub(super) const OUTSIDE: u32 = u32::MAX;

/// Which output stands in which column of which panel.
#[derive(Clone, Copy)]
struct Columns {
    lanes: usize,
    /// After gating.
    outputs: usize,
    gated: bool,
}

impl Columns {
    /// Outputs that a full panel ends up with.
    fn per_panel(self) -> usize {
        if self.gated { self.lanes } else { VECTORS * self.lanes }
    }

    fn panels(self) -> usize {
        self.outputs.div_ceil(self.per_panel())
    }

    /// Columns of a panel: the last may need a single vector.
    fn width(self, panel: usize) -> usize {
        if !self.gated && self.outputs - panel * self.per_panel() <= self.lanes {
            self.lanes
        } else {
            VECTORS * self.lanes
        }
    }

    /// Columns of all panels.
    fn padded(self) -> usize {
        (self.panels() - 1) * VECTORS * self.lanes + self.width(self.panels() - 1)
    }

    fn output(self, panel: usize, column: usize) -> Option<usize> {
        if self.gated {
            let output = panel * self.lanes + column % self.lanes;
            (output < self.outputs).then_some(output + column / self.lanes * self.outputs)
        } else {
            let output = panel * VECTORS * self.lanes + column;
            (output < self.outputs).then_some(output)
        }
    }
}

/// One panel's outputs of a run of pixels.
struct Job<'a> {
    packed: &'a Packed,
    panel: usize,
    pixels: Range<usize>,
    x: &'a [f32],
    table: Option<(&'a [u32], usize)>,
    bias: &'a [f32],
    finish: Finish<'a>,
    out: Shared,
}

impl Task for Job<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the caller's promise.
        unsafe {
            if self.packed.columns().width(self.panel) == S::LANES {
                self.panel::<S, 1>();
            } else {
                self.panel::<S, 2>();
            }
        }
    }
}

/// Calls a tile of `$rows` rows.
macro_rules! tile_of {
    ($rows:expr, $S:ty, $N:ident, $tile:expr; $($M:literal)*) => {
        match $rows {
            $($M => <$S>::call(Tile::<'_, $M, $N> { inner: $tile }),)*
            rows => unreachable!("no tile has {rows} rows"),
        }
    };
}

impl Job<'_> {
    #[inline(always)]
    unsafe fn panel<S: Simd, const N: usize>(&self) {
        let Packed { taps, inputs, .. } = *self.packed;
        let step = (DEPTH / inputs).clamp(1, taps);
        let step = if self.packed.gated { taps } else { step };
        let tiles = self.pixels.len().div_ceil(S::ROWS);
        for first in (0..taps).step_by(step) {
            let taps = first..taps.min(first + step);
            for index in 0..tiles {
                // Tiles of nearly the same number of rows: a last one of a single row would be slow.
                let at = |index: usize| self.pixels.start + self.pixels.len() * index / tiles;
                let (start, end) = (at(index), at(index + 1));
                let tile = Part { job: self, taps: taps.clone(), start };
                // SAFETY: the caller's promise.
                unsafe { tile_of!(end - start, S, N, tile; 1 2 3 4 5 6 7 8 9 10 11 12 13 14) }
            }
        }
    }
}

/// Some taps' share of a tile.
struct Part<'a> {
    job: &'a Job<'a>,
    taps: Range<usize>,
    /// The first pixel.
    start: usize,
}

/// `M` pixels times `N` vectors of outputs.
struct Tile<'a, const M: usize, const N: usize> {
    inner: Part<'a>,
}

/// `sums[m][n] += rows[m][k] * b[k][n]` over all `k < depth`.
#[inline(always)]
pub(super) unsafe fn accumulate<S: Simd, const M: usize, const N: usize>(
    sums: &mut [[S::V; N]; M],
    rows: &[*const f32; M],
    depth: usize,
    b: *const f32,
) {
    // SAFETY: the caller gives `depth` numbers in each row and `depth * N` vectors.
    unsafe {
        let mut b = b;
        for k in 0..depth {
            let mut columns = [S::splat(0.0); N];
            for n in 0..N {
                columns[n] = S::load(b.add(n * S::LANES));
            }
            for m in 0..M {
                let x = S::splat(*rows[m].add(k));
                for n in 0..N {
                    sums[m][n] = S::fma(x, columns[n], sums[m][n]);
                }
            }
            b = b.add(N * S::LANES);
        }
    }
}

impl<const M: usize, const N: usize> Task for Tile<'_, M, N> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Part { job, taps, start } = self.inner;
        let Packed { inputs, outputs, gated, .. } = *job.packed;
        let first_column = job.panel * VECTORS * S::LANES;
        let first_output = if gated { job.panel * S::LANES } else { first_column };
        let is_first = taps.start == 0;
        let is_last = taps.end == job.packed.taps;
        // SAFETY: the panel's columns and the pixels' inputs are there, since the caller of the job has checked the
        // lengths; what is written are the panel's outputs of this tile's pixels.
        unsafe {
            let out = |m: usize| job.out.pointer().add((start + m) * outputs + first_output);
            let count = |n: usize| outputs - (first_output + n * S::LANES).min(outputs);
            let mut sums = [[S::splat(0.0); N]; M];
            for n in 0..N {
                let bias = S::load(job.bias.as_ptr().add(first_column + n * S::LANES));
                for m in 0..M {
                    sums[m][n] = if is_first { bias } else { S::load_some(out(m).add(n * S::LANES), count(n)) };
                }
            }

            let panel = job.packed.lines.as_ptr().cast::<f32>().add(first_column * job.packed.taps * inputs);
            let mut rows = [job.x.as_ptr(); M];
            for tap in taps {
                for m in 0..M {
                    rows[m] = match job.table {
                        None => job.x.as_ptr().add((start + m) * inputs),
                        Some((table, pixels)) => match *table.get_unchecked(tap * pixels + start + m) {
                            OUTSIDE => job.packed.zeros.as_ptr(),
                            pixel => job.x.as_ptr().add(pixel as usize * inputs),
                        },
                    };
                }
                accumulate::<S, M, N>(&mut sums, &rows, inputs, panel.add(tap * inputs * N * S::LANES));
            }

            if gated {
                for m in 0..M {
                    sums[m][0] = S::mul(sums[m][0], gelu::<S>(sums[m][N - 1]));
                }
            }
            let vectors = if gated { 1 } else { N };
            for m in 0..M {
                let residual = match job.finish.residual {
                    Some(residual) if is_last => {
                        let pixel = (start + m) % (residual.len() / outputs);
                        Some(residual.as_ptr().add(pixel * outputs + first_output))
                    }
                    _ => None,
                };
                for n in 0..vectors {
                    let mut sum = sums[m][n];
                    if let Some(residual) = residual {
                        sum = S::add(sum, S::load_some(residual.add(n * S::LANES), count(n)));
                    }
                    if is_last && job.finish.relu {
                        sum = S::max(S::splat(0.0), sum);
                    }
                    S::store_some(out(m).add(n * S::LANES), sum, count(n));
                }
            }
        }
    }
}
