//! The one matrix product under linear layers and convolutions: weights packed once, inputs read where they are.
//!
//! A convolution over channels-last pictures is a product whose row for an output pixel is made of the pixels under the
//! kernel: one run of channels for each place of the kernel (a tap). Instead of copying these runs into a matrix, the
//! product takes a table that says which pixel lies under each tap. Strides, padding and nearest-neighbour upsampling
//! are nothing but other tables. What is done to each output (bias, residual, activation) is done while it is still in
//! a register.

use std::ops::Range;

use super::grid::{Grid, OUTSIDE};
use super::math::gelu;
use super::pairs::pairs_of;
use super::simd::{Isa, MOST_ROWS, Simd, Task};
use super::stored::Stored;
use super::strassen;
use super::sums::{accumulate, tile_of};
use super::threads::{Shared, WORTHWHILE, each, filled, threads_for};
use super::tiles;

/// Vectors side by side in a panel of weights, and in a tile of outputs.
pub(super) const VECTORS: usize = 2;
/// Weights of one output column that are used at a time, so that a panel's part stays in the second-level cache.
const DEPTH: usize = 4096;
/// Input numbers that are taken through all panels before the next are, so that they stay in that cache, too.
const INPUTS: usize = 1 << 18;
/// Pixels that are taken so at least: each panel's weights are made f32 again for them.
const PIXELS: usize = 16 * MOST_ROWS;
/// Inputs of a tile that stay in the first-level cache if they are brought there while the tile before is computed.
const NEAR: usize = 1 << 13;

/// Weights as the kernel reads them: in panels of two vectors of outputs, the taps one after another in each.
pub(super) struct Packed {
    pub(super) isa: Isa,
    pub(super) taps: usize,
    pub(super) inputs: usize,
    pub(super) columns: Columns,
    /// The matrix unit multiplies, in whose order the weights are.
    tiled: bool,
    /// Inputs and weights are multiplied as cells of two numbers.
    pairs: bool,
    pub(super) weights: Stored,
    /// In the order of the panels' columns.
    bias: Vec<f32>,
    /// What lies outside the picture.
    zeros: Vec<f32>,
}

/// Which pixel of the input lies under each tap at each output pixel.
#[derive(Clone, Copy)]
pub(super) enum Places<'a> {
    /// The one of the same number, under the only tap, in pictures of so many pixels.
    Same(usize),
    /// For each tap and each output pixel the pixel, [`OUTSIDE`] if none.
    Table(&'a [u32]),
    /// As a grid says, which is the matrix unit's way.
    Grid(&'a Grid),
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

impl Finish<'_> {
    /// Whether the numbers fit the outputs, without which nothing may be done.
    pub(super) fn check(&self, columns: Columns) {
        if let Some(shift) = self.shift {
            assert!(!columns.gated && shift.len() == columns.outputs);
        }
        if let Some(residual) = self.residual {
            assert!(!residual.is_empty() && residual.len().is_multiple_of(columns.outputs));
        }
    }
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
        let columns = Columns { lanes, outputs, gated };
        let tiled = tiles::apply(isa, inputs, columns);
        let pairs = !tiled && isa.pairs(inputs);
        let order = |depth: usize, column: usize, width: usize| match (tiled, pairs) {
            (true, _) => tiles::place(depth, column),
            (_, true) => depth / 2 * 2 * width + column * 2 + depth % 2,
            _ => depth * width + column,
        };
        let weights = Stored::new(isa.rounds(), weight, inputs, taps, columns, order);
        Self { isa, taps, inputs, columns, tiled, pairs, weights, bias: columns.bias(bias), zeros: vec![0.0; inputs] }
    }

    /// Whether so many outputs of so many inputs would be left to the matrix unit.
    pub(super) fn is_tiled(isa: Isa, outputs: usize, inputs: usize) -> bool {
        tiles::apply(isa, inputs, Columns { lanes: isa.lanes(), outputs, gated: false })
    }

    /// Numbers of an output pixel.
    pub(super) fn outputs(&self) -> usize {
        self.columns.outputs
    }

    /// Numbers of an input pixel.
    pub(super) fn inputs(&self) -> usize {
        self.inputs
    }

    /// Cells of an input pixel.
    fn cells(&self) -> usize {
        if self.pairs { self.inputs / 2 } else { self.inputs }
    }

    /// Whether places are wanted as a grid.
    pub(super) fn wants_grid(&self) -> bool {
        self.tiled
    }

    /// The output pixels, `pixels` times `outputs` numbers.
    pub(super) fn multiply(&self, x: &[f32], places: Places<'_>, pixels: usize, finish: Finish<'_>) -> Vec<f32> {
        finish.check(self.columns);
        let mut bias = self.bias.clone();
        bias.iter_mut().zip(finish.shift.unwrap_or_default()).for_each(|(bias, shift)| *bias += shift);
        let inside = |pixel: &u32| *pixel == OUTSIDE || (*pixel as usize + 1) * self.inputs <= x.len();
        match places {
            Places::Same(picture) => {
                assert!(self.taps == 1 && x.len() == pixels * self.inputs && pixels.is_multiple_of(picture));
            }
            Places::Table(table) => {
                assert!(!self.tiled && table.len() == self.taps * pixels && table.iter().all(inside));
            }
            Places::Grid(grid) => {
                assert!(self.tiled && grid.taps() == self.taps && grid.pixels() == pixels);
                assert!(grid.sources.iter().all(inside));
            }
        }
        let target = |out| Target::new(self.columns, &bias, finish, out);
        // SAFETY: all outputs of all pixels are written; lengths were checked above.
        unsafe {
            filled(pixels * self.outputs(), |out| match places {
                Places::Same(_) | Places::Grid(_) if self.tiled => {
                    let grid = if let Places::Grid(grid) = places { Some(grid) } else { None };
                    tiles::multiply(self, x, grid, pixels, target(out));
                }
                _ if self.pairs => self.multiply_by_vectors(&pairs_of(self.isa, x), places, pixels, 0, target(out)),
                Places::Same(picture) => {
                    let fast = strassen::panels(self, picture);
                    if fast > 0 && pixels > 0 {
                        strassen::multiply(self, x, pixels, picture, fast, target(out));
                    }
                    self.multiply_by_vectors(x, places, pixels, fast, target(out));
                }
                _ => self.multiply_by_vectors(x, places, pixels, 0, target(out)),
            })
        }
    }

    /// The outputs of the panels from `first` on.
    ///
    /// # Safety
    ///
    /// `x`, in cells, places and target are as [`multiply`](Self::multiply) checks them.
    unsafe fn multiply_by_vectors(
        &self,
        x: &[f32],
        places: Places<'_>,
        pixels: usize,
        first: usize,
        target: Target<'_>,
    ) {
        let panels = self.columns.panels() - first;
        if panels == 0 {
            return;
        }
        let each_pixel = panels * self.columns.panel() * self.taps * self.cells();
        let threads = threads_for(pixels * each_pixel);
        let mut chunk = (INPUTS / self.cells()).max(PIXELS);
        if threads > 1 {
            // Enough jobs to share, none of them too small.
            let wanted = pixels.div_ceil((4 * threads).div_ceil(panels));
            let least = (WORTHWHILE / 4 * panels).div_ceil(each_pixel);
            chunk = chunk.min(wanted.max(least));
        }
        let chunk = chunk.next_multiple_of(MOST_ROWS);
        let table = if let Places::Table(table) = places { Some((table, pixels)) } else { None };
        each(threads, pixels.div_ceil(chunk) * panels, |job| {
            let (start, panel) = (job / panels * chunk, first + job % panels);
            let pixels = start..pixels.min(start + chunk);
            // SAFETY: the jobs are all pairs of a chunk of pixels and a panel, and each writes the panel's outputs of
            // these pixels; the rest is the caller's promise.
            unsafe { self.isa.run_product(self.pairs, Job { packed: self, panel, pixels, x, table, target }) };
        });
    }
}

/// Which output stands in which column of which panel.
#[derive(Clone, Copy)]
pub(super) struct Columns {
    pub(super) lanes: usize,
    /// After gating.
    pub(super) outputs: usize,
    pub(super) gated: bool,
}

impl Columns {
    /// Outputs that a full panel ends up with.
    fn per_panel(self) -> usize {
        if self.gated { self.lanes } else { VECTORS * self.lanes }
    }

    /// Columns of a full panel.
    pub(super) fn panel(self) -> usize {
        VECTORS * self.lanes
    }

    /// A bias for each column, 0 where there is no output.
    pub(super) fn bias(self, bias: Option<&[f32]>) -> Vec<f32> {
        let mut padded = vec![0.0; self.padded()];
        if let Some(bias) = bias {
            for (panel, column) in self.all() {
                if let Some(output) = self.output(panel, column) {
                    padded[panel * self.panel() + column] = bias[output];
                }
            }
        }
        padded
    }

    /// Every panel and every column of it.
    fn all(self) -> impl Iterator<Item = (usize, usize)> {
        (0..self.panels()).flat_map(move |panel| (0..self.width(panel)).map(move |column| (panel, column)))
    }

    pub(super) fn panels(self) -> usize {
        self.outputs.div_ceil(self.per_panel())
    }

    /// Columns of a panel: the last may need a single vector.
    pub(super) fn width(self, panel: usize) -> usize {
        if !self.gated && self.outputs - panel * self.per_panel() <= self.lanes {
            self.lanes
        } else {
            VECTORS * self.lanes
        }
    }

    /// Columns of all panels.
    pub(super) fn padded(self) -> usize {
        (self.panels() - 1) * VECTORS * self.lanes + self.width(self.panels() - 1)
    }

    pub(super) fn output(self, panel: usize, column: usize) -> Option<usize> {
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
    /// In cells.
    x: &'a [f32],
    /// For each tap and each of so many pixels the input pixel.
    table: Option<(&'a [u32], usize)>,
    target: Target<'a>,
}

impl Task for Job<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the caller's promise.
        unsafe {
            if self.packed.columns.width(self.panel) == S::LANES {
                self.panel::<S, 1>();
            } else {
                self.panel::<S, 2>();
            }
        }
    }
}

impl Job<'_> {
    #[inline(always)]
    unsafe fn panel<S: Simd, const N: usize>(&self) {
        let tiles = self.pixels.len().div_ceil(S::ROWS);
        let Packed { taps, columns, pairs, .. } = *self.packed;
        let inputs = self.packed.cells();
        // The taps in runs whose weights stay in the cache; gating needs them all at once.
        let step = if columns.gated { taps } else { (DEPTH / inputs).clamp(1, taps) };
        let mut widened = Vec::new();
        for first in (0..taps).step_by(step) {
            let taps = first..taps.min(first + step);
            let start = self.panel * columns.panel() * self.packed.taps * inputs;
            let numbers = N * S::LANES * inputs;
            let range = start + taps.start * numbers..start + taps.end * numbers;
            let weights = if pairs {
                self.packed.weights.pairs(2 * range.start)
            } else {
                // SAFETY: the set is there.
                unsafe { self.packed.weights.widen::<S>(range, &mut widened) }
            };
            for index in 0..tiles {
                // Tiles of nearly the same number of rows: a last one of a single row would be slow.
                let at = |index: usize| self.pixels.start + self.pixels.len() * index / tiles;
                let (start, end) = (at(index), at(index + 1));
                let tile = Part { job: self, taps: taps.clone(), weights, start };
                // SAFETY: the caller's promise.
                unsafe { tile_of!(end - start, S, Tile, N, tile; 1 2 3 4 5 6 7 8 9 10 11 12) }
            }
        }
    }
}

/// Where outputs go, and what is done to them on the way.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) columns: Columns,
    /// For each column.
    pub(super) bias: &'a [f32],
    finish: Finish<'a>,
    out: Shared,
}

impl<'a> Target<'a> {
    pub(super) fn new(columns: Columns, bias: &'a [f32], finish: Finish<'a>, out: Shared) -> Self {
        Self { columns, bias, finish, out }
    }

    /// The first of a panel's outputs.
    #[inline(always)]
    fn first(&self, panel: usize) -> usize {
        panel * self.columns.per_panel()
    }

    /// Where a pixel's outputs of a panel go.
    #[inline(always)]
    pub(super) unsafe fn out(&self, panel: usize, pixel: usize) -> *mut f32 {
        // SAFETY: the caller's promise that the pixel is there.
        unsafe { self.out.pointer().add(pixel * self.columns.outputs + self.first(panel)) }
    }

    /// Outputs in a panel's vectors from the `n`th on.
    #[inline(always)]
    fn count<S: Simd>(&self, panel: usize, n: usize) -> usize {
        self.columns.outputs - (self.first(panel) + n * S::LANES).min(self.columns.outputs)
    }

    /// What a pixel's sums begin with: the bias, or what earlier taps gave.
    #[inline(always)]
    pub(super) unsafe fn begin<S: Simd, const N: usize>(
        &self,
        panel: usize,
        pixel: usize,
        is_first: bool,
    ) -> [S::V; N] {
        // SAFETY: the caller's promise that the pixel is there; the bias has a number for each column.
        unsafe {
            let mut sums = [S::splat(0.0); N];
            for n in 0..N {
                sums[n] = if is_first {
                    S::load(self.bias[(panel * VECTORS + n) * S::LANES..].as_ptr())
                } else {
                    S::load_some(self.out(panel, pixel).add(n * S::LANES), self.count::<S>(panel, n))
                };
            }
            sums
        }
    }

    /// Does what is to be done to a pixel's sums, if they are complete, and writes them.
    #[inline(always)]
    pub(super) unsafe fn finish<S: Simd, const N: usize>(
        &self,
        panel: usize,
        pixel: usize,
        mut sums: [S::V; N],
        is_last: bool,
    ) {
        let Columns { outputs, gated, .. } = self.columns;
        // SAFETY: as above; a residual consists of whole pixels.
        unsafe {
            let mut vectors = N;
            if gated {
                sums[0] = S::mul(sums[0], gelu::<S>(sums[N - 1]));
                vectors = 1;
            }
            let residual = self.finish.residual.filter(|_| is_last).map(|residual| {
                let pixel = pixel % (residual.len() / outputs);
                residual.as_ptr().add(pixel * outputs + self.first(panel))
            });
            for n in 0..vectors {
                let count = self.count::<S>(panel, n);
                let mut sum = sums[n];
                if let Some(residual) = residual {
                    sum = S::add(sum, S::load_some(residual.add(n * S::LANES), count));
                }
                if is_last && self.finish.relu {
                    sum = S::max(S::splat(0.0), sum);
                }
                S::store_some(self.out(panel, pixel).add(n * S::LANES), sum, count);
            }
        }
    }
}

/// Some taps' share of a tile.
struct Part<'a> {
    job: &'a Job<'a>,
    taps: Range<usize>,
    /// Of these taps.
    weights: *const f32,
    /// The first pixel.
    start: usize,
}

/// `M` pixels times `N` vectors of outputs.
struct Tile<'a, const M: usize, const N: usize> {
    inner: Part<'a>,
}

impl<const M: usize, const N: usize> Task for Tile<'_, M, N> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Part { job, taps, weights, start } = self.inner;
        let inputs = job.packed.cells();
        let (is_first, is_last) = (taps.start == 0, taps.end == job.packed.taps);
        // SAFETY: the panel's columns and the pixels' inputs are there, since the caller of the job has checked the
        // lengths; what is written are the panel's outputs of this tile's pixels.
        unsafe {
            let mut sums = [[S::splat(0.0); N]; M];
            for m in 0..M {
                sums[m] = job.target.begin::<S, N>(job.panel, start + m, is_first);
                for n in 0..N {
                    // A panel may have fewer outputs than columns.
                    S::prefetch_to_write(job.target.out(job.panel, start + m).wrapping_add(n * S::LANES));
                }
            }
            let mut rows = [job.x.as_ptr(); M];
            for (index, tap) in taps.enumerate() {
                for m in 0..M {
                    rows[m] = match job.table {
                        None => job.x.as_ptr().add((start + m) * inputs),
                        Some((table, pixels)) => match *table.get_unchecked(tap * pixels + start + m) {
                            OUTSIDE => job.packed.zeros.as_ptr(),
                            pixel => job.x.as_ptr().add(pixel as usize * inputs),
                        },
                    };
                }
                let weights = weights.add(index * inputs * N * S::LANES);
                if job.table.is_none() && M * inputs <= NEAR {
                    // What follows are the next tile's inputs.
                    let next = rows[0].wrapping_add(M * inputs);
                    accumulate::<S, M, N>(&mut sums, &rows, inputs, weights, Some(next));
                } else {
                    accumulate::<S, M, N>(&mut sums, &rows, inputs, weights, None);
                }
            }
            for m in 0..M {
                job.target.finish::<S, N>(job.panel, start + m, sums[m], is_last);
            }
        }
    }
}
