//! The one matrix product under linear layers and convolutions: weights packed once, inputs read where they are.
//!
//! A convolution over channels-last pictures is a product whose row for an output pixel is made of the pixels under the
//! kernel: one run of channels for each place of the kernel (a tap). Instead of copying these runs into a matrix, the
//! product takes a table that says which pixel lies under each tap. Strides, padding and nearest-neighbour upsampling
//! are nothing but other tables. What is done to each output (bias, residual, activation) is done while it is still in
//! a register.

use std::ops::Range;

use super::halves;
use super::math::gelu;
use super::simd::{Isa, MOST_ROWS, Simd, Task};
use super::threads::{Line, Shared, WORTHWHILE, each, filled, numbers, threads_for};

/// Vectors side by side in a panel of weights, and in a tile of outputs.
const VECTORS: usize = 2;
/// Weights of one output column that are used at a time, so that a panel's part stays in the second-level cache.
const DEPTH: usize = 4096;
/// Input numbers that are taken through all panels before the next are, so that they stay in that cache, too.
const INPUTS: usize = 1 << 18;

/// Weights as the kernel reads them: in panels of two vectors of outputs, the taps one after another in each.
pub(super) struct Packed {
    isa: Isa,
    pub(super) taps: usize,
    pub(super) inputs: usize,
    outputs: usize,
    gated: bool,
    /// Weights and inputs are split in halves for the matrix unit.
    halved: bool,
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
        let halved = halves::apply(isa, inputs, columns.padded());
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
                        let weight = from[input * taps + tap];
                        if halved {
                            halves::put(to, tap * inputs + input, column, weight);
                        } else {
                            to[(tap * inputs + input) * width + column] = weight;
                        }
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
        Self { isa, taps, inputs, outputs, gated, halved, lines, bias: padded_bias, zeros: vec![0.0; inputs] }
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
        let halves = // SAFETY: the weights are split only where there is a matrix unit.
            self.halved.then(|| unsafe { halves::split(threads, x, self.inputs) });
        let x = halves.as_deref().map_or(x, numbers);
        let panels = columns.panels();
        let mut chunk = (INPUTS / self.inputs).max(MOST_ROWS);
        if threads > 1 {
            // Enough jobs to share, none of them too small.
            let wanted = pixels.div_ceil((4 * threads).div_ceil(panels));
            let least = (WORTHWHILE / 4 * panels).div_ceil(each_pixel);
            chunk = chunk.min(wanted.max(least));
        }
        let chunk = chunk.next_multiple_of(if self.halved { 32 } else { MOST_ROWS });
        let jobs = pixels.div_ceil(chunk) * panels;
        // SAFETY: the jobs are all pairs of a chunk of pixels and a panel, and each writes the panel's outputs of these
        // pixels; lengths were checked above.
        unsafe {
            filled(pixels * self.outputs, |out| {
                each(threads, jobs, |job| {
                    let (start, panel) = (job / panels * chunk, job % panels);
                    let job = Job {
                        packed: self,
                        panel,
                        pixels: start..pixels.min(start + chunk),
                        x,
                        table: table.map(|table| (table, pixels)),
                        bias: &bias,
                        finish,
                        out,
                    };
                    if self.halved { halves::run(&job) } else { self.isa.run(job) }
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
pub(super) struct Job<'a> {
    pub(super) packed: &'a Packed,
    panel: usize,
    pub(super) pixels: Range<usize>,
    /// The input; in halves if the packed weights are.
    pub(super) x: &'a [f32],
    /// For each tap and each of so many pixels the input pixel.
    pub(super) table: Option<(&'a [u32], usize)>,
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
        let tiles = self.pixels.len().div_ceil(S::ROWS);
        for taps in self.depth_blocks() {
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

    /// The taps in runs whose weights stay in the cache; gating needs them all at once.
    pub(super) fn depth_blocks(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let Packed { taps, inputs, gated, .. } = *self.packed;
        let step = if gated { taps } else { (DEPTH / inputs).clamp(1, taps) };
        (0..taps).step_by(step).map(move |first| first..taps.min(first + step))
    }

    /// The panel's weights.
    #[inline(always)]
    pub(super) fn panel_weights(&self) -> *const f32 {
        let before = self.panel * VECTORS * self.packed.isa.lanes() * self.packed.taps * self.packed.inputs;
        self.packed.lines[before / 16..].as_ptr().cast()
    }

    /// The first of the panel's outputs.
    #[inline(always)]
    fn first_output<S: Simd>(&self) -> usize {
        if self.packed.gated { self.panel * S::LANES } else { self.panel * VECTORS * S::LANES }
    }

    /// Where a pixel's outputs go.
    #[inline(always)]
    unsafe fn out<S: Simd>(&self, pixel: usize) -> *mut f32 {
        // SAFETY: the caller's promise that the pixel is the job's.
        unsafe { self.out.pointer().add(pixel * self.packed.outputs + self.first_output::<S>()) }
    }

    /// Outputs in the panel's vectors from the `n`th on.
    #[inline(always)]
    fn count<S: Simd>(&self, n: usize) -> usize {
        self.packed.outputs - (self.first_output::<S>() + n * S::LANES).min(self.packed.outputs)
    }

    /// What a pixel's sums begin with: the bias, or what earlier taps gave.
    #[inline(always)]
    pub(super) unsafe fn begin<S: Simd, const N: usize>(&self, pixel: usize, is_first: bool) -> [S::V; N] {
        // SAFETY: the caller's promise that the pixel is the job's; the bias has a number for each column.
        unsafe {
            let mut sums = [S::splat(0.0); N];
            for n in 0..N {
                sums[n] = if is_first {
                    S::load(self.bias[self.panel * VECTORS * S::LANES + n * S::LANES..].as_ptr())
                } else {
                    S::load_some(self.out::<S>(pixel).add(n * S::LANES), self.count::<S>(n))
                };
            }
            sums
        }
    }

    /// Does what is to be done to a pixel's sums, if they are complete, and writes them.
    #[inline(always)]
    pub(super) unsafe fn finish<S: Simd, const N: usize>(&self, pixel: usize, mut sums: [S::V; N], is_last: bool) {
        let outputs = self.packed.outputs;
        // SAFETY: as above; a residual consists of whole pixels.
        unsafe {
            let mut vectors = N;
            if self.packed.gated {
                sums[0] = S::mul(sums[0], gelu::<S>(sums[N - 1]));
                vectors = 1;
            }
            let residual = self.finish.residual.filter(|_| is_last).map(|residual| {
                let pixel = pixel % (residual.len() / outputs);
                residual.as_ptr().add(pixel * outputs + self.first_output::<S>())
            });
            for n in 0..vectors {
                let count = self.count::<S>(n);
                let mut sum = sums[n];
                if let Some(residual) = residual {
                    sum = S::add(sum, S::load_some(residual.add(n * S::LANES), count));
                }
                if is_last && self.finish.relu {
                    sum = S::max(S::splat(0.0), sum);
                }
                S::store_some(self.out::<S>(pixel).add(n * S::LANES), sum, count);
            }
        }
    }
}

/// Some taps' share of a tile.
pub(super) struct Part<'a> {
    pub(super) job: &'a Job<'a>,
    pub(super) taps: Range<usize>,
    /// The first pixel.
    pub(super) start: usize,
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
        let inputs = job.packed.inputs;
        let (is_first, is_last) = (taps.start == 0, taps.end == job.packed.taps);
        // SAFETY: the panel's columns and the pixels' inputs are there, since the caller of the job has checked the
        // lengths; what is written are the panel's outputs of this tile's pixels.
        unsafe {
            let mut sums = [[S::splat(0.0); N]; M];
            for m in 0..M {
                sums[m] = job.begin::<S, N>(start + m, is_first);
            }
            let panel = job.panel_weights();
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
            for m in 0..M {
                job.finish::<S, N>(start + m, sums[m], is_last);
            }
        }
    }
}
