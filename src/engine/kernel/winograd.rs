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
use super::product::{Columns, Finish, Target, VECTORS};
use super::simd::{Isa, MOST_LANES, MOST_ROWS, Simd, Task};
use super::stored::{Number, Reader, Stored};
use super::sums::{Part, Sums, tile_of};
use super::threads::{WORTHWHILE, each, filled, scratch, share, threads_for};
use transform::{INPUTS, OUTPUTS, PAIRS, WEIGHTS};

/// Matrix products.
const POINTS: usize = INPUTS * INPUTS;
/// Weights of an input and an output.
const TAPS: usize = WEIGHTS * WEIGHTS;
/// Points whose weights exist at once: two lines.
const AT_ONCE: usize = 2 * INPUTS;
/// The most channels whose weights are transformed at a time.
const DEPTH: usize = 160;
/// Tiles whose sums exist at once, at most and, where a picture has as many, at least.
const TILES: usize = 128;
const FEWEST_TILES: usize = 4 * MOST_ROWS;
/// Transformed inputs of a block of tiles at most, if that leaves the fewest, so that they stay in the last-level cache.
const BLOCK: usize = 8 << 20;
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
        let most = (share(BLOCK, threads) / (POINTS * self.inputs)).clamp(FEWEST_TILES, TILES);
        let mut blocks = tiles.div_ceil(most);
        if threads > 1 {
            // Enough jobs to share, none of them too small.
            let least = (WORTHWHILE / 4 * panels).div_ceil(each_tile);
            blocks = blocks.max((4 * threads).div_ceil(panels).min(tiles / least));
        }
        let chunks = self.inputs.div_ceil(DEPTH);
        let depth = self.inputs.div_ceil(chunks).next_multiple_of(MOST_LANES);
        let layout = Layout { depth, chunks, tiles: tiles.div_ceil(blocks) };
        // Whoever has no block left takes a part of another's, so that nobody waits.
        each(threads, tiles.div_ceil(layout.tiles), |block| {
            let block = block * layout.tiles..tiles.min((block + 1) * layout.tiles);
            let (_inputs, v) = scratch(layout.block());
            const RUN: usize = 4;
            each(threads, block.len().div_ceil(RUN), |job| {
                let tiles = job * RUN..block.len().min((job + 1) * RUN);
                // SAFETY: each job writes its own tiles of the block; the caller's promise.
                unsafe {
                    let v = v.pointer();
                    self.isa.run(Inputs { layer: self, x, tiling, layout, start: block.start, tiles, v });
                }
            });
            each(threads, panels, |panel| {
                let (_room, room) = scratch(layout.panel(self.columns.width(panel)));
                let (tiles, v, room) = (block.clone(), v.pointer().cast_const(), room.pointer());
                // SAFETY: the block's inputs are there; each job writes its panel's outputs of the block's tiles.
                unsafe { self.isa.run(Job { layer: self, tiling, layout, tiles, panel, v, room, target, shift }) };
            });
        });
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
    /// Channels of a chunk: whole vectors.
    depth: usize,
    chunks: usize,
    /// Tiles of a block.
    tiles: usize,
}

impl Layout {
    /// Numbers from a point to the next: of a block's inputs, `[chunks, tiles, depth]`,
    fn inputs(self) -> usize {
        self.chunks * self.tiles * self.depth + GAP
    }

    /// of a chunk's weights, `[depth, width]`,
    fn weights(self, width: usize) -> usize {
        self.depth * width + GAP
    }

    /// and of a block's sums, `[tiles, width]`.
    fn sums(self, width: usize) -> usize {
        self.tiles * width + GAP
    }

    /// A block's inputs.
    fn block(self) -> usize {
        POINTS * self.inputs()
    }

    /// What a panel is computed with: weights, then sums.
    fn panel(self, width: usize) -> usize {
        AT_ONCE * self.weights(width) + POINTS * self.sums(width)
    }
}

/// Transforms the inputs of some tiles.
struct Inputs<'a> {
    layer: &'a Winograd,
    x: &'a [f32],
    tiling: &'a Tiling,
    layout: Layout,
    /// The first tile of the block.
    start: usize,
    /// Of the block.
    tiles: Range<usize>,
    v: *mut f32,
}

impl Task for Inputs<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { layer: &Winograd { inputs, ref zeros, .. }, tiling, layout, .. } = self;
        for tile in self.tiles {
            let (row, down, across) = tiling.tile(self.start + tile);
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
            for channel in (0..inputs).step_by(S::LANES) {
                let (chunk, within) = (channel / layout.depth, channel % layout.depth);
                let count = inputs - channel;
                // SAFETY: a pixel's channels are there, and the block has room for the tile's.
                unsafe {
                    let half = array!(j in 0 1 2 3 4 5 => {
                        transform::inputs::<S>(array!(i in 0 1 2 3 4 5 => S::load_some(pixels[i][j].add(channel), count)))
                    });
                    let at = (chunk * layout.tiles + tile) * layout.depth + within;
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
        let first = panel * layer.columns.panel() * layer.inputs * TAPS;
        // SAFETY: the room and the inputs are as long as the layout says, and the caller's promise.
        unsafe {
            let sums = room.add(AT_ONCE * layout.weights(width));
            for chunk in 0..layout.chunks {
                let channels = chunk * layout.depth..layer.inputs.min((chunk + 1) * layout.depth);
                let depth = channels.len();
                let range = first + channels.start * TAPS * width..first + channels.end * TAPS * width;
                for pair in 0..PAIRS {
                    let stride = layout.weights(width);
                    let reader = Weights::<N> { pair, count: depth * width, to: room, stride };
                    layer.weights.read::<S>(range.clone(), reader);
                    for point in 0..AT_ONCE {
                        let weights: *const f32 = room.add(point * stride);
                        let point = pair * AT_ONCE + point;
                        let v = self.v.add(point * layout.inputs() + chunk * layout.tiles * layout.depth);
                        let sums = sums.add(point * layout.sums(width));
                        for index in 0..products {
                            let (start, end) = (tiles * index / products, tiles * (index + 1) / products);
                            let next = if index + 1 < products { end * layout.depth } else { layout.inputs() };
                            let place = sums.add(start * width);
                            let product = Part {
                                rows: v.add(start * layout.depth),
                                stride: layout.depth,
                                next: v.wrapping_add(next),
                                depth,
                                weights,
                                from: (chunk > 0).then_some(place.cast_const()),
                                to: place,
                            };
                            tile_of!(end - start, S, Sums, N, product; 1 2 3 4 5 6 7 8 9 10 11 12);
                        }
                    }
                }
            }
            S::call(Outputs::<N> { job: &self, sums });
        }
    }
}

/// Transforms weights to two lines of points.
struct Weights<const N: usize> {
    pair: usize,
    /// Inputs times outputs.
    count: usize,
    to: *mut f32,
    /// From a point to the next.
    stride: usize,
}

impl<const N: usize> Reader for Weights<N> {
    #[inline(always)]
    unsafe fn read<S: Simd, T: Number>(self, from: *const T) {
        let width = N * S::LANES;
        for at in (0..self.count).step_by(S::LANES) {
            // SAFETY: the caller's promise.
            unsafe {
                let from = from.add(at / width * TAPS * width + at % width);
                let half = array!(j in 0 1 2 => {
                    let column = array!(i in 0 1 2 => T::load::<S>(from.add((i * WEIGHTS + j) * width)));
                    transform::weights::<S>(self.pair, column)
                });
                for i in 0..2 {
                    let line = array!(j in 0 1 2 => half[j][i]);
                    let line = array!(pair in 0 1 2 => transform::weights::<S>(pair, line));
                    for j in 0..INPUTS {
                        S::store(self.to.add((i * INPUTS + j) * self.stride + at), line[j / 2][j % 2]);
                    }
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
