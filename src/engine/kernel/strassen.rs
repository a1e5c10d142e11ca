//! Products of linear layers with seven eighths of the multiplications: one step of Strassen's way in Winograd's form
//! (Higham, Accuracy and Stability of Numerical Algorithms, chapter 23).
//!
//! Two positions, two panels of outputs and two halves of the inputs make a product of 2x2 quarters. From sums of the
//! quarters it takes seven products instead of eight. Sums of inputs are made for a block of positions and used by all
//! panels; sums of weights are made for two panels, when weights become f32, and used by the whole block.
//!
//! What a position gives depends on its partner, which therefore is one of the same picture: a picture is the same,
//! whatever others are computed with it.

use std::ops::Range;

use super::product::{Packed, Target, VECTORS};
use super::simd::{MOST_LANES, MOST_ROWS, Simd, Task};
use super::stored::{Number, Reader};
use super::sums::{Part, Sums, tile_of};
use super::threads::{Line, WORTHWHILE, each, scratch, share, threads_for};

/// Products, and factors on each side: three quarters and four sums of quarters.
const PRODUCTS: usize = 7;
/// Weights from which on a layer is computed so, and pixels of a picture: with fewer, sums take what products spare.
const LARGE_LAYER: usize = 1 << 17;
const LARGE_PICTURE: usize = 1 << 6;
/// The most inputs whose weights are summed at a time, so that they stay in the second-level cache.
const DEPTH: usize = 1280;
/// Pairs of positions whose factors exist at once: at most so many of them, and so many numbers if that leaves the fewest.
const PAIRS: usize = 512;
const FEWEST_PAIRS: usize = 4 * MOST_ROWS;
const BLOCK: usize = 4 << 20;
/// Numbers between the end of a factor's weights and the next one's: their starts would share few lines of a cache.
const GAP: usize = 16;

/// How many of the panels of a product of one tap are computed so: the first ones, in pairs of whole ones, or none.
pub(super) fn panels(packed: &Packed, picture: usize) -> usize {
    debug_assert!(packed.taps == 1);
    let columns = packed.columns;
    let full = columns.panels() - usize::from(columns.width(columns.panels() - 1) < columns.panel());
    let blocks = packed.inputs.div_ceil(DEPTH);
    let applies = packed.inputs.is_multiple_of(2 * MOST_LANES * blocks)
        && packed.inputs * columns.padded() >= LARGE_LAYER
        && picture >= LARGE_PICTURE
        && picture.is_multiple_of(2)
        && (blocks == 1 || !columns.gated);
    if applies { full / 2 * 2 } else { 0 }
}

/// The outputs that `panels` gave, for all pixels of pictures of `picture` pixels.
///
/// # Safety
///
/// `x` and target must be those pixels', the panels those of [`panels`], and the weights in the order of vectors of
/// single numbers.
pub(super) unsafe fn multiply(
    packed: &Packed,
    x: &[f32],
    pixels: usize,
    picture: usize,
    panels: usize,
    target: Target<'_>,
) {
    let inputs = packed.inputs;
    let pairs = pixels / 2;
    let each_pair = panels * packed.columns.panel() * inputs * 2;
    let threads = threads_for(pairs * each_pair);
    let most = (share(BLOCK, threads) * 2 / (PRODUCTS * inputs)).clamp(FEWEST_PAIRS, PAIRS);
    let mut blocks = pairs.div_ceil(most);
    if threads > 1 {
        // Enough jobs to share, none of them too small.
        let least = (WORTHWHILE / 8 * panels).div_ceil(each_pair);
        blocks = blocks.max((8 * threads).div_ceil(panels).min(pairs / least));
    }
    let layout = Layout { inputs, depth: inputs / inputs.div_ceil(DEPTH) / 2, pairs: pairs.div_ceil(blocks), picture };
    each(threads, pairs.div_ceil(layout.pairs), |block| {
        let block = block * layout.pairs..pairs.min((block + 1) * layout.pairs);
        let (_factors, factors) = scratch(PRODUCTS * layout.pairs * inputs / 2);
        const RUN: usize = 16;
        each(threads, block.len().div_ceil(RUN), |job| {
            let pairs = job * RUN..block.len().min((job + 1) * RUN);
            // SAFETY: each job writes its own pairs' factors; the caller's promise.
            unsafe { packed.isa.run(Inputs { x, layout, start: block.start, pairs, to: factors.pointer() }) };
        });
        each(threads, panels / 2, |job| {
            let (_room, room) = scratch(PRODUCTS * layout.weights(packed.columns.panel()));
            let (pairs, factors, room) = (block.clone(), factors.pointer().cast_const(), room.pointer());
            // SAFETY: the block's factors are there; each job writes its panels' outputs of the block's positions.
            unsafe { packed.isa.run(Job { packed, layout, pairs, panel: 2 * job, factors, room, target }) };
        });
    });
}

/// How factors lie in memory: for each part of the inputs `[PRODUCTS][pairs][depth]`, in the order in which they are
/// multiplied.
#[derive(Clone, Copy)]
struct Layout {
    inputs: usize,
    /// Half a part of the inputs.
    depth: usize,
    /// Of a block.
    pairs: usize,
    /// Pixels.
    picture: usize,
}

impl Layout {
    /// The first pixel of a pair. The second lies half a picture behind, as far into the other half.
    #[inline(always)]
    fn pixel(self, pair: usize) -> usize {
        let half = self.picture / 2;
        pair + pair / half * half
    }

    /// Numbers from a factor of the weights to the next.
    fn weights(self, width: usize) -> usize {
        self.depth * width + GAP
    }

    /// Where a pair's factors of the inputs from `part` times twice the depth on are.
    #[inline(always)]
    fn factors(self, part: usize, pair: usize) -> usize {
        (part * PRODUCTS * self.pairs + pair) * self.depth
    }
}

/// Makes the factors of some pairs.
struct Inputs<'a> {
    x: &'a [f32],
    layout: Layout,
    /// The block's first pair.
    start: usize,
    /// Of the block.
    pairs: Range<usize>,
    to: *mut f32,
}

impl Task for Inputs<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Layout { inputs, depth, pairs, .. } = self.layout;
        for pair in self.pairs {
            let first = self.layout.pixel(self.start + pair);
            let rows = [first, first + self.layout.picture / 2].map(|pixel| &self.x[pixel * inputs..][..inputs]);
            for part in 0..inputs / depth / 2 {
                // SAFETY: a part is twice the depth, which is whole vectors; there is room for all factors of all pairs.
                unsafe {
                    let [a, b] = rows.map(|row| row.as_ptr().add(part * 2 * depth));
                    let to = self.to.add(self.layout.factors(part, pair));
                    for at in (0..depth).step_by(S::LANES) {
                        let (a1, a2) = (S::load(a.add(at)), S::load(a.add(depth + at)));
                        let (b1, b2) = (S::load(b.add(at)), S::load(b.add(depth + at)));
                        let s1 = S::add(b1, b2);
                        let s2 = S::sub(s1, a1);
                        let s3 = S::sub(a1, b1);
                        let s4 = S::sub(a2, s2);
                        let factors = [a1, a2, s2, s3, b2, s1, s4];
                        for product in 0..PRODUCTS {
                            S::store(to.add(product * pairs * depth + at), factors[product]);
                        }
                    }
                }
            }
        }
    }
}

/// Makes the factors of two panels' weights.
struct Weights {
    /// Numbers of a quarter.
    count: usize,
    /// From a panel's to the next one's.
    next: usize,
    to: *mut f32,
    /// From a factor to the next.
    stride: usize,
}

impl Reader for Weights {
    #[inline(always)]
    unsafe fn read<S: Simd, T: Number>(self, from: *const T) {
        for at in (0..self.count).step_by(S::LANES) {
            // SAFETY: the caller's promise that both panels' halves are there, and room for the factors.
            unsafe {
                let [w11, w21] = [from.add(at), from.add(self.count + at)].map(|from| T::load::<S>(from));
                let next = from.add(self.next + at);
                let [w12, w22] = [next, next.add(self.count)].map(|from| T::load::<S>(from));
                let t1 = S::sub(w12, w11);
                let t2 = S::sub(w22, t1);
                let t3 = S::sub(w22, w12);
                let t4 = S::sub(w21, t2);
                let factors = [w11, w21, t2, t3, t4, t1, w22];
                for product in 0..PRODUCTS {
                    S::store(self.to.add(product * self.stride + at), factors[product]);
                }
            }
        }
    }
}

/// Two panels' outputs of a block.
struct Job<'a> {
    packed: &'a Packed,
    layout: Layout,
    pairs: Range<usize>,
    /// The first.
    panel: usize,
    factors: *const f32,
    /// For the weights' factors.
    room: *mut f32,
    target: Target<'a>,
}

impl Task for Job<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Layout { inputs, depth, .. } = self.layout;
        let width = VECTORS * S::LANES;
        let pairs = self.pairs.len();
        // Tiles of nearly the same number of rows: a last one of a single row would be slow.
        let tiles = pairs.div_ceil(S::ROWS);
        let mut sums = [[Line([0.0; 16]); TILE / 16]; PLACES];
        for part in 0..inputs / depth / 2 {
            let start = (self.panel * inputs + part * 2 * depth) * width;
            let next = inputs * width;
            let stride = self.layout.weights(width);
            // SAFETY: the room is as large as the layout says, the panels are whole, and the caller's promise.
            unsafe {
                let weights = Weights { count: depth * width, next, to: self.room, stride };
                self.packed.weights.read::<S>(start..start + next + 2 * depth * width, weights);
                for tile in 0..tiles {
                    let tile = pairs * tile / tiles..pairs * (tile + 1) / tiles;
                    self.tile::<S>(part, tile, &mut sums);
                }
            }
        }
    }
}

/// Sums of the tallest tile, and how many such exist at once.
const TILE: usize = MOST_ROWS * VECTORS * MOST_LANES;
const PLACES: usize = 4;

/// What is done with a product of a tile.
struct Step {
    /// The place of the sums that it is added to, and that where they go.
    from: Option<usize>,
    to: usize,
    /// The outputs that are complete with it.
    gives: Option<Gives>,
}

struct Gives {
    /// Of the pairs' first pixels, or their second.
    half: usize,
    /// Of the first panel, or the second.
    panel: usize,
    /// The place of the sums, and of others that are added.
    sums: usize,
    more: Option<usize>,
}

/// The products in their order. The outputs of the pixels a and b in the panels p and q are those of
/// 0 + 1 (a, p), 0 + 2 + 3 + 4 (b, p), 0 + 2 + 3 + 5 (b, q) and 0 + 2 + 5 + 6 (a, q).
const STEPS: [Step; PRODUCTS] = [
    Step { from: None, to: 0, gives: None },
    Step { from: Some(0), to: 1, gives: Some(Gives { half: 0, panel: 0, sums: 1, more: None }) },
    Step { from: Some(0), to: 2, gives: None },
    Step { from: Some(2), to: 3, gives: None },
    Step { from: Some(3), to: 1, gives: Some(Gives { half: 1, panel: 0, sums: 1, more: None }) },
    Step { from: None, to: 0, gives: Some(Gives { half: 1, panel: 1, sums: 0, more: Some(3) }) },
    Step { from: Some(2), to: 1, gives: Some(Gives { half: 0, panel: 1, sums: 1, more: Some(0) }) },
];

impl Job<'_> {
    /// Adds the products of a part of the inputs to some pairs' outputs.
    #[inline(always)]
    unsafe fn tile<S: Simd>(&self, part: usize, tile: Range<usize>, sums: &mut [[Line; TILE / 16]; PLACES]) {
        let Self { layout, factors, room, .. } = *self;
        let Layout { depth, pairs, .. } = layout;
        let mut pixels = [0; MOST_ROWS];
        for at in 0..tile.len() {
            pixels[at] = layout.pixel(self.pairs.start + tile.start + at);
        }
        for (product, step) in STEPS.iter().enumerate() {
            let first = layout.factors(part, tile.start) + product * pairs * depth;
            // The same pairs' in the next product, or the next pairs' in the first.
            let next = if product + 1 < PRODUCTS { first + pairs * depth } else { layout.factors(part, tile.end) };
            // SAFETY: the factors of both sides are there, and places for the sums of the tallest tile.
            unsafe {
                if let Some(gives) = &step.gives {
                    let pixels = &pixels[..tile.len()];
                    S::call(Prepare { job: self, gives, pixels });
                }
                let product = Part {
                    rows: factors.add(first),
                    stride: depth,
                    next: factors.wrapping_add(next),
                    depth,
                    weights: room.add(product * layout.weights(VECTORS * S::LANES)),
                    from: step.from.map(|from| sums[from].as_ptr().cast()),
                    to: sums[step.to].as_mut_ptr().cast(),
                };
                tile_of!(tile.len(), S, Sums, VECTORS, product; 1 2 3 4 5 6 7 8 9 10 11 12);
                if let Some(gives) = &step.gives {
                    let pixels = &pixels[..tile.len()];
                    let of = |place: usize| sums[place].as_ptr().cast::<f32>();
                    let (sums, more) = (of(gives.sums), gives.more.map(of));
                    S::call(Outputs { job: self, part, gives, pixels, sums, more });
                }
            }
        }
    }

    /// The pixel whose outputs are given, of the pair whose first pixel this is.
    #[inline(always)]
    fn pixel(&self, first: usize, gives: &Gives) -> usize {
        first + gives.half * (self.layout.picture / 2)
    }
}

/// Asks for the places of the outputs that will be given.
struct Prepare<'a> {
    job: &'a Job<'a>,
    gives: &'a Gives,
    /// The pairs' first.
    pixels: &'a [usize],
}

impl Task for Prepare<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { job, gives, pixels } = self;
        for &pixel in pixels {
            // SAFETY: the caller's promise that the pixels are the job's; a panel may have fewer outputs than columns.
            unsafe {
                let out = job.target.out(job.panel + gives.panel, job.pixel(pixel, gives));
                for n in 0..VECTORS {
                    S::prefetch_to_write(out.wrapping_add(n * S::LANES));
                }
            }
        }
    }
}

/// Finishes outputs.
struct Outputs<'a> {
    job: &'a Job<'a>,
    part: usize,
    gives: &'a Gives,
    /// The pairs' first.
    pixels: &'a [usize],
    sums: *const f32,
    more: Option<*const f32>,
}

impl Task for Outputs<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { job, part, gives, pixels, sums, more } = self;
        let (is_first, is_last) = (part == 0, (part + 1) * 2 * job.layout.depth == job.layout.inputs);
        let panel = job.panel + gives.panel;
        for (at, &pixel) in pixels.iter().enumerate() {
            let pixel = job.pixel(pixel, gives);
            // SAFETY: the caller's promise that the pixels are the job's, and that the sums are there.
            unsafe {
                let mut outputs = job.target.begin::<S, VECTORS>(panel, pixel, is_first);
                for n in 0..VECTORS {
                    let at = (at * VECTORS + n) * S::LANES;
                    let mut sum = S::load(sums.add(at));
                    if let Some(more) = more {
                        sum = S::add(sum, S::load(more.add(at)));
                    }
                    outputs[n] = S::add(outputs[n], sum);
                }
                job.target.finish::<S, VECTORS>(panel, pixel, outputs, is_last);
            }
        }
    }
}

#[cfg(test)]
mod tests;
