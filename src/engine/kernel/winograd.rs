//! Convolutions 3x3 of stride 1 with a quarter of the multiplications: Winograd's, as F(4x4, 3x3) of Lavin and Gray
//! (arXiv 1509.09308).
//!
//! A tile of 4x4 outputs is made of 6x6 inputs. These and the weights are transformed into values at 36 points, which are
//! multiplied and summed over the channels, point by point, as 36 matrix products; the sums are transformed into outputs.
//! Weights stay in memory as they are in the checkpoint, since transformed they would be four times as many and could
//! not be f16: a panel's share of a few channels is transformed when it is needed, into the second-level cache.

mod transform;

use std::ops::Range;

use super::grid::Side;
use super::product::{Columns, Finish, Target, VECTORS, accumulate, tile_of};
use super::simd::{Isa, MOST_ROWS, Simd, Task};
use super::stored::Stored;
use super::threads::{WORTHWHILE, each, filled, scratch, threads_for};
use transform::{INPUTS, OUTPUTS, WEIGHTS};

/// Matrix products.
const POINTS: usize = INPUTS * INPUTS;
/// Weights of an input and an output.
const TAPS: usize = WEIGHTS * WEIGHTS;
/// Channels whose weights are transformed at a time.
const DEPTH: usize = 32;
/// Of these, channels that are widened at a time.
const WIDENED: usize = 8;
/// Tiles whose sums exist at once, for a panel.
const TILES: usize = 64;
/// Transformed inputs that exist at once, for a block of tiles, so that they stay in the last-level cache.
const BLOCK: usize = 3 << 20;
/// Numbers between the end of one point's matrix and the next one's: their starts would share few lines of a cache.
const GAP: usize = 16;

/// The weights of a convolution.
pub(super) struct Winograd {
    isa: Isa,
    inputs: usize,
    columns: Columns,
    /// In panels, input by input the nine weights of each column.
    weights: Stored,
    bias: Vec<f32>,
    /// What lies outside the picture.
    zeros: Vec<f32>,
}

impl Winograd {
    /// From `weight` `[outputs, inputs, 3, 3]`.
    pub(super) fn new(isa: Isa, weight: &[f32], bias: Option<&[f32]>, [outputs, inputs]: [usize; 2]) -> Self {
        let columns = Columns { lanes: isa.lanes(), outputs, gated: false };
        let order =
            |depth: usize, column: usize, width: usize| (depth % inputs * TAPS + depth / inputs) * width + column;
        let weights = Stored::new(isa.rounds(), weight, inputs, TAPS, columns, order);
        Self { isa, inputs, columns, weights, bias: columns.bias(bias), zeros: vec![0.0; inputs] }
    }

    /// Numbers of an output pixel.
    pub(super) fn outputs(&self) -> usize {
        self.columns.outputs
    }

    /// The outputs of `rows` pictures `x` of `height` times `width` pixels, of which the sides tell what lies where.
    pub(super) fn convolve(
        &self,
        x: &[f32],
        rows: usize,
        [height, width]: [usize; 2],
        sides: [&Side; 2],
        finish: Finish<'_>,
    ) -> Vec<f32> {
        let tiling = Tiling::new([height, width], sides);
        assert!(x.len() == rows * height * width * self.inputs);
        finish.check(self.columns);
        let shift = finish.shift.map(|shift| self.columns.bias(Some(shift)));
        let tiles = rows * tiling.down * tiling.across;
        // SAFETY: the tiles cover all pixels of all rows, and the sides' pixels are in `x`.
        unsafe {
            filled(rows * tiling.tall * tiling.wide * self.outputs(), |out| {
                let target = Target::new(self.columns, &self.bias, finish, out);
                self.multiply(x, &tiling, tiles, target, shift.as_deref());
            })
        }
    }

    /// # Safety
    ///
    /// The tiles must be those of `x` and of the target.
    unsafe fn multiply(&self, x: &[f32], tiling: &Tiling, tiles: usize, target: Target<'_>, shift: Option<&[f32]>) {
        let panels = self.columns.panels();
        let each_tile = POINTS * self.inputs * self.columns.padded();
        let threads = threads_for(tiles * each_tile);
        let most = (BLOCK / (POINTS * self.inputs)).clamp(MOST_ROWS, TILES);
        let mut blocks = tiles.div_ceil(most);
        if threads > 1 {
            // Enough jobs to share, none of them too small.
            let least = (WORTHWHILE / 4 * panels).div_ceil(each_tile);
            blocks = blocks.max((4 * threads).div_ceil(panels).min(tiles / least));
        }
        let layout = Layout { chunks: self.inputs.div_ceil(DEPTH), tiles: tiles.div_ceil(blocks) };
        // Blocks whose inputs exist at once.
        let group = if threads == 1 { 1 } else { (4 * threads).div_ceil(panels) };
        for start in (0..tiles).step_by(group * layout.tiles) {
            let end = tiles.min(start + group * layout.tiles);
            let blocks = (end - start).div_ceil(layout.tiles);
            let block = |at: usize| start + at * layout.tiles..end.min(start + (at + 1) * layout.tiles);
            let (_inputs, v) = scratch(blocks * layout.block());
            const RUN: usize = 4;
            each(threads, (end - start).div_ceil(RUN), |job| {
                let tiles = start + job * RUN..end.min(start + (job + 1) * RUN);
                // SAFETY: each job writes its own tiles of the blocks; the caller's promise.
                unsafe { self.isa.run(Inputs { layer: self, x, tiling, layout, start, tiles, v: v.pointer() }) };
            });
            each(threads, blocks * panels, |job| {
                let (at, panel) = (job / panels, job % panels);
                let (_room, room) = scratch(layout.panel(self.columns.width(panel)));
                let (tiles, room) = (block(at), room.pointer());
                // SAFETY: the blocks' inputs are there; each job writes its panel's outputs of its block's tiles.
                unsafe {
                    let v = v.pointer().add(at * layout.block());
                    self.isa.run(Job { layer: self, tiling, layout, tiles, panel, v, room, target, shift });
                }
            });
        }
    }
}

/// Which pixels lie under which tile, and which it gives.
struct Tiling {
    /// For each place under the tiles along a side the pixel that lies there.
    lines: Vec<Option<usize>>,
    columns: Vec<Option<usize>>,
    height: usize,
    width: usize,
    /// Output pixels.
    tall: usize,
    wide: usize,
    /// Tiles.
    down: usize,
    across: usize,
}

impl Tiling {
    fn new([height, width]: [usize; 2], sides: [&Side; 2]) -> Self {
        let [down, across] = sides.map(|side| side.outputs.div_ceil(OUTPUTS));
        let places = |side: &Side, size: usize| {
            let tiles = side.outputs.div_ceil(OUTPUTS);
            assert!(side.stride == 1 && side.taps.len() == WEIGHTS && side.pixels.iter().all(|&pixel| pixel < size));
            let pixel = |at: usize| side.pixels.get(at.checked_add_signed(side.taps[0])?).copied();
            (0..tiles * OUTPUTS + WEIGHTS - 1).map(pixel).collect()
        };
        let [tall, wide] = sides.map(|side| side.outputs);
        Self {
            lines: places(sides[0], height),
            columns: places(sides[1], width),
            height,
            width,
            tall,
            wide,
            down,
            across,
        }
    }

    /// The row of a tile, and its place in the picture.
    #[inline(always)]
    fn tile(&self, number: usize) -> (usize, usize, usize) {
        (number / self.across / self.down, number / self.across % self.down, number % self.across)
    }
}

/// An array of what an expression is at each index. One that is filled by a loop would be filled with zeros first.
macro_rules! array {
    ($index:ident in $($at:literal)* => $value:expr) => { [$({ let $index: usize = $at; $value }),*] };
}

/// How transformed numbers lie in memory.
#[derive(Clone, Copy)]
struct Layout {
    /// Of [`DEPTH`] channels.
    chunks: usize,
    /// Tiles of a block.
    tiles: usize,
}

impl Layout {
    /// Numbers from a point to the next: of a block's inputs, `[chunks, tiles, DEPTH]`,
    fn inputs(self) -> usize {
        self.chunks * self.tiles * DEPTH + GAP
    }

    /// of a chunk's weights, `[DEPTH, width]`,
    fn weights(self, width: usize) -> usize {
        DEPTH * width + GAP
    }

    /// and of a block's sums, `[tiles, width]`.
    fn sums(self, width: usize) -> usize {
        self.tiles * width + GAP
    }

    /// A block's inputs.
    fn block(self) -> usize {
        POINTS * self.inputs()
    }

    /// What a panel is computed with.
    fn panel(self, width: usize) -> usize {
        POINTS * (self.weights(width) + self.sums(width))
    }
}

/// Transforms the inputs of some tiles.
struct Inputs<'a> {
    layer: &'a Winograd,
    x: &'a [f32],
    tiling: &'a Tiling,
    layout: Layout,
    /// The first tile of the first block.
    start: usize,
    tiles: Range<usize>,
    v: *mut f32,
}

impl Task for Inputs<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { layer: &Winograd { inputs, ref zeros, .. }, tiling, layout, .. } = self;
        for number in self.tiles {
            let (row, down, across) = tiling.tile(number);
            let mut pixels = [[zeros.as_ptr(); INPUTS]; INPUTS];
            for i in 0..INPUTS {
                for j in 0..INPUTS {
                    let place = (tiling.lines[down * OUTPUTS + i], tiling.columns[across * OUTPUTS + j]);
                    if let (Some(line), Some(column)) = place {
                        let pixel = (row * tiling.height + line) * tiling.width + column;
                        pixels[i][j] = self.x[pixel * inputs..].as_ptr();
                    }
                }
            }
            let (block, tile) = ((number - self.start) / layout.tiles, (number - self.start) % layout.tiles);
            for channel in (0..inputs).step_by(S::LANES) {
                let (chunk, within) = (channel / DEPTH, channel % DEPTH);
                let count = inputs - channel;
                // SAFETY: a pixel's channels are there, and the block has room for the tile's.
                unsafe {
                    let half = array!(j in 0 1 2 3 4 5 => {
                        transform::inputs::<S>(array!(i in 0 1 2 3 4 5 => S::load_some(pixels[i][j].add(channel), count)))
                    });
                    let at = block * layout.block() + (chunk * layout.tiles + tile) * DEPTH + within;
                    for i in 0..INPUTS {
                        let line = transform::inputs::<S>(array!(j in 0 1 2 3 4 5 => half[j][i]));
                        for j in 0..INPUTS {
                            S::store(self.v.add(at + (i * INPUTS + j) * layout.inputs()), line[j]);
                        }
                    }
                }
            }
        }
    }
}

/// A panel's outputs of a block of tiles.
struct Job<'a> {
    layer: &'a Winograd,
    tiling: &'a Tiling,
    layout: Layout,
    tiles: Range<usize>,
    panel: usize,
    /// The block's inputs.
    v: *const f32,
    /// For weights and sums.
    room: *mut f32,
    target: Target<'a>,
    /// For each column.
    shift: Option<&'a [f32]>,
}

impl Task for Job<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the caller's promise.
        unsafe {
            if self.layer.columns.width(self.panel) == S::LANES {
                self.panel::<S, 1>();
            } else {
                self.panel::<S, VECTORS>();
            }
        }
    }
}

impl Job<'_> {
    #[inline(always)]
    unsafe fn panel<S: Simd, const N: usize>(self) {
        let Self { layer, layout, room, panel, ref tiles, .. } = self;
        let width = N * S::LANES;
        let tiles = tiles.len();
        // Of nearly the same number of rows: a last product of a single row would be slow.
        let products = tiles.div_ceil(S::ROWS);
        let first_weight = panel * layer.columns.panel() * layer.inputs * TAPS;
        let mut widened = Vec::new();
        // SAFETY: the room and the inputs are as long as the layout says, and the caller's promise.
        unsafe {
            let sums = room.add(POINTS * layout.weights(width));
            for chunk in 0..layout.chunks {
                let channels = chunk * DEPTH..layer.inputs.min((chunk + 1) * DEPTH);
                for channel in channels.clone().step_by(WIDENED) {
                    let end = channels.end.min(channel + WIDENED);
                    let range = first_weight + channel * TAPS * width..first_weight + end * TAPS * width;
                    let from = layer.weights.widen::<S>(range, &mut widened);
                    let to = room.add((channel - channels.start) * width);
                    let stride = layout.weights(width);
                    S::call(Weights::<N> { from, count: end - channel, to, stride });
                }
                for point in 0..POINTS {
                    let v = self.v.add(point * layout.inputs() + chunk * layout.tiles * DEPTH);
                    let weights: *const f32 = room.add(point * layout.weights(width));
                    let sums = sums.add(point * layout.sums(width));
                    for index in 0..products {
                        let (start, end) = (tiles * index / products, tiles * (index + 1) / products);
                        let product = Part {
                            v: v.add(start * DEPTH),
                            next: if index + 1 < products { v.add(end * DEPTH) } else { v.add(layout.inputs()) },
                            depth: channels.len(),
                            weights,
                            sums: sums.add(start * width),
                            is_first: chunk == 0,
                        };
                        tile_of!(end - start, S, Product, N, product; 1 2 3 4 5 6 7 8 9 10 11 12);
                    }
                }
            }
            S::call(Outputs::<N> { job: &self, sums });
        }
    }
}

/// Transforms weights.
struct Weights<const N: usize> {
    /// Of `count` inputs.
    from: *const f32,
    count: usize,
    to: *mut f32,
    /// From a point to the next.
    stride: usize,
}

impl<const N: usize> Task for Weights<N> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let width = N * S::LANES;
        for at in (0..self.count * width).step_by(S::LANES) {
            // SAFETY: the caller's promise.
            unsafe {
                let from = self.from.add(at / width * TAPS * width + at % width);
                let half = array!(j in 0 1 2 => {
                    transform::weights::<S>(array!(i in 0 1 2 => S::load(from.add((i * WEIGHTS + j) * width))))
                });
                for i in 0..INPUTS {
                    let line = transform::weights::<S>(array!(j in 0 1 2 => half[j][i]));
                    for j in 0..INPUTS {
                        S::store(self.to.add((i * INPUTS + j) * self.stride + at), line[j]);
                    }
                }
            }
        }
    }
}

/// Some tiles' product at a point.
struct Part {
    /// The tiles' inputs, [`DEPTH`] for each.
    v: *const f32,
    /// What will be read next.
    next: *const f32,
    depth: usize,
    weights: *const f32,
    sums: *mut f32,
    /// There are no sums yet.
    is_first: bool,
}

/// `M` tiles times `N` vectors of outputs.
struct Product<const M: usize, const N: usize> {
    inner: Part,
}

impl<const M: usize, const N: usize> Task for Product<M, N> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Part { v, next, depth, weights, sums: place, is_first } = self.inner;
        // SAFETY: the caller's promise that so many tiles' inputs and sums are there.
        unsafe {
            let mut sums = [[S::splat(0.0); N]; M];
            let mut rows = [v; M];
            for m in 0..M {
                rows[m] = v.add(m * DEPTH);
                for line in (0..DEPTH).step_by(16) {
                    S::prefetch(next.wrapping_add(m * DEPTH + line));
                }
                for n in 0..N {
                    if !is_first {
                        sums[m][n] = S::load(place.add((m * N + n) * S::LANES));
                    }
                }
            }
            accumulate::<S, M, N>(&mut sums, &rows, depth, weights);
            for m in 0..M {
                for n in 0..N {
                    S::store(place.add((m * N + n) * S::LANES), sums[m][n]);
                }
            }
        }
    }
}

/// Transforms sums to outputs.
struct Outputs<'a, const N: usize> {
    job: &'a Job<'a>,
    sums: *const f32,
}

impl<const N: usize> Task for Outputs<'_, N> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Job { tiling, layout, ref tiles, panel, target, shift, .. } = *self.job;
        for (at, number) in tiles.clone().enumerate() {
            let (row, down, across) = tiling.tile(number);
            // SAFETY: the sums are there, and so are the pixels of the target that are inside the picture.
            unsafe {
                let mut outputs = [[[S::splat(0.0); N]; OUTPUTS]; OUTPUTS];
                for n in 0..N {
                    let column = (panel * VECTORS + n) * S::LANES;
                    let bias = S::load(target.bias[column..].as_ptr());
                    let shift = shift.map(|shift| S::load(shift[column..].as_ptr()));
                    let sums = self.sums.add((at * N + n) * S::LANES);
                    let stride = layout.sums(N * S::LANES);
                    let half = array!(j in 0 1 2 3 4 5 => {
                        transform::outputs::<S>(array!(i in 0 1 2 3 4 5 => S::load(sums.add((i * INPUTS + j) * stride))))
                    });
                    for i in 0..OUTPUTS {
                        let line = transform::outputs::<S>(array!(j in 0 1 2 3 4 5 => half[j][i]));
                        for j in 0..OUTPUTS {
                            let sum = S::add(line[j], bias);
                            // One after the other, as where rows have shifts of their own and it is done later.
                            outputs[i][j][n] = if let Some(shift) = shift { S::add(sum, shift) } else { sum };
                        }
                    }
                }
                for i in 0..OUTPUTS.min(tiling.tall - down * OUTPUTS) {
                    for j in 0..OUTPUTS.min(tiling.wide - across * OUTPUTS) {
                        let line = row * tiling.tall + down * OUTPUTS + i;
                        let pixel = line * tiling.wide + across * OUTPUTS + j;
                        target.finish::<S, N>(panel, pixel, outputs[i][j], true);
                    }
                }
            }
        }
    }
}
