//! Attention without its matrix of scores: softmax(Q K^T / sqrt(d)) V for a group of queries at a time, over blocks of
//! keys, with running maximum and sum (Milakov and Gimelshein, arXiv 1805.02867; Dao et al., arXiv 2205.14135).
//!
//! The queries of a group stand side by side in vectors: scores are `[keys][queries]`, and what is attended
//! `[width][queries]`. So nothing is summed within a vector, and neither keys nor width need be multiples of anything.

use candle_core::{Device, Result, Tensor, bail};

use super::math::exp2;
use super::numbers::with_numbers;
use super::pairs::cells;
use super::simd::{Isa, MOST_LANES, Simd, Task};
use super::sums::accumulate;
use super::threads::{Line, Shared, each, filled, scratch, threads_for};

/// Vectors of queries in a group.
const VECTORS: usize = 2;
/// Groups of queries that a job takes through the keys together.
const GROUPS: usize = 4;
/// Keys whose scores exist at once: whole tiles of every instruction set.
const KEYS: usize = 168;

/// Attention for each of `heads`. `queries` are `[rows or 1, positions, width]`, a single row asking for all rows;
/// `keys` and `values` `[rows, keys, width]`. Gives `[rows, positions, width]`.
pub fn attention(isa: Isa, queries: &Tensor, keys: &Tensor, values: &Tensor, heads: usize) -> Result<Tensor> {
    let (query_rows, positions, width) = queries.dims3()?;
    let (rows, count, _) = keys.dims3()?;
    if keys.dims() != [rows, count, width] || values.dims() != keys.dims() || ![1, rows].contains(&query_rows) {
        bail!("attention of {:?} to {:?} and {:?}", queries.shape(), keys.shape(), values.shape());
    }
    let (queries, keys, values) = (in_order(queries)?, in_order(keys)?, in_order(values)?);
    let attended = with_numbers(&queries, |q| {
        with_numbers(&keys, |k| {
            with_numbers(&values, |v| {
                let shape = Shape { rows, positions, count, width: width / heads, heads };
                let row = if query_rows == 1 { 0 } else { queries.stride()[0] };
                Ok(attend(
                    isa,
                    shape,
                    Strided { numbers: q, row, position: queries.stride()[1] },
                    Strided { numbers: k, row: keys.stride()[0], position: keys.stride()[1] },
                    Strided { numbers: v, row: values.stride()[0], position: values.stride()[1] },
                ))
            })
        })
    })?;
    Tensor::from_vec(attended, (rows, positions, width), &Device::Cpu)
}

/// With the numbers of a position side by side.
fn in_order(x: &Tensor) -> Result<Tensor> {
    if x.stride()[2] == 1 { Ok(x.clone()) } else { x.contiguous() }
}

/// `[rows, positions, width]`, the numbers of a position side by side.
#[derive(Clone, Copy)]
struct Strided<'a> {
    numbers: &'a [f32],
    row: usize,
    position: usize,
}

impl<'a> Strided<'a> {
    fn at(self, row: usize, position: usize, start: usize, count: usize) -> &'a [f32] {
        &self.numbers[row * self.row + position * self.position + start..][..count]
    }
}

#[derive(Clone, Copy)]
struct Shape {
    rows: usize,
    positions: usize,
    /// Keys of a row.
    count: usize,
    /// Of a head.
    width: usize,
    heads: usize,
}

fn attend(isa: Isa, shape: Shape, queries: Strided<'_>, keys: Strided<'_>, values: Strided<'_>) -> Vec<f32> {
    let Shape { rows, positions, count, width, heads } = shape;
    let pairs = isa.pairs(width);
    let cell = if pairs { 2 } else { 1 };
    let threads = threads_for(rows * heads * positions * count * width * 2 / cell);
    let (key_cells, value_cells) = (count * (width / cell), count.div_ceil(cell) * width);
    let size = key_cells + value_cells;
    // SAFETY: the jobs are all rows and heads, and each writes its keys and values.
    let packed = unsafe {
        filled(rows * heads * size, |packed| {
            each(threads, rows * heads, |job| {
                let (row, start) = (job / heads, job % heads * width);
                let packed = Shared::pointer(packed).add(job * size);
                isa.run_product(pairs, Pack { shape, numbers: keys, row, start, turned: false, packed });
                let packed = packed.add(key_cells);
                isa.run_product(pairs, Pack { shape, numbers: values, row, start, turned: true, packed });
            });
        })
    };
    let block = GROUPS * VECTORS * isa.lanes();
    let blocks = positions.div_ceil(block);
    // SAFETY: the jobs are all rows, heads and blocks of queries, and each writes its outputs.
    unsafe {
        filled(rows * positions * heads * width, |out| {
            each(threads, rows * heads * blocks, |job| {
                let (row, head, start) = (job / blocks / heads, job / blocks % heads, job % blocks * block);
                let (keys, values) = packed[(row * heads + head) * size..][..size].split_at(key_cells);
                let length = block.min(positions - start);
                let out = Shared::pointer(out).add(((row * positions + start) * heads + head) * width);
                isa.run_product(pairs, Block { shape, queries, row, head, start, length, keys, values, out });
            });
        })
    }
}

/// Makes cells of the keys of a row and head, `[keys][width]`, or of its values, which are turned: `[width][keys]` for each
/// block of keys.
struct Pack<'a> {
    shape: Shape,
    numbers: Strided<'a>,
    row: usize,
    /// The head's first number.
    start: usize,
    turned: bool,
    packed: *mut f32,
}

impl Task for Pack<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Shape { count, width, .. } = self.shape;
        let key = |key: usize| self.numbers.at(self.row, key, self.start, width);
        // SAFETY: the caller's promise of room.
        unsafe {
            if !self.turned {
                (0..count).for_each(|at| cells::<S>(key(at), 1.0, self.packed.add(at * (width / S::CELL))));
                return;
            }
            for first in (0..count).step_by(KEYS) {
                let to = self.packed.add(first / S::CELL * width);
                let keys = KEYS.min(count - first);
                let stride = keys.div_ceil(S::CELL);
                for (at, start) in squares::<S>(stride, width) {
                    let mut square = [S::splat(0.0); MOST_LANES];
                    let some = |at: usize| {
                        if at < keys {
                            S::load_some(key(first + at)[start..].as_ptr(), width - start)
                        } else {
                            S::splat(0.0)
                        }
                    };
                    for n in 0..S::LANES.min(stride - at) {
                        let at = (at + n) * S::CELL;
                        square[n] = if S::CELL == 2 { S::pair(some(at), some(at + 1)) } else { some(at) };
                    }
                    S::turn(&mut square);
                    for n in 0..S::LANES.min(width - start) {
                        S::store_some(to.add((start + n) * stride + at), square[n], stride - at);
                    }
                }
            }
        }
    }
}

/// Where the squares begin that lines of so many numbers are turned in: line and number.
fn squares<S: Simd>(lines: usize, numbers: usize) -> impl Iterator<Item = (usize, usize)> {
    let lines = (0..lines).step_by(S::LANES);
    lines.flat_map(move |line| (0..numbers).step_by(S::LANES).map(move |number| (line, number)))
}

/// Some queries of one head of one row, and all its keys and values.
struct Block<'a> {
    shape: Shape,
    queries: Strided<'a>,
    row: usize,
    head: usize,
    /// The first query.
    start: usize,
    length: usize,
    keys: &'a [f32],
    values: &'a [f32],
    /// The first query's.
    out: *mut f32,
}

/// Calls a tile of `$rows` rows.
macro_rules! tile_of {
    ($rows:expr, $S:ty, $tile:ident($product:expr, $other:expr); $($M:literal)*) => {
        match $rows {
            $($M => <$S>::call($tile::<$M>($product, $other)),)*
            rows => unreachable!("no tile has {rows} rows"),
        }
    };
}

/// Where the tiles of so many rows begin and how many rows each has: nearly the same number.
fn tiles(rows: usize, most: usize) -> impl Iterator<Item = (usize, usize)> {
    let count = rows.div_ceil(most);
    (0..count).map(move |tile| (rows * tile / count, rows * (tile + 1) / count - rows * tile / count))
}

impl Task for Block<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Shape { count, width, .. } = self.shape;
        let group = VECTORS * S::LANES;
        let groups = self.length.div_ceil(group);
        let depth = width / S::CELL;
        let (_queries, queries) = scratch(groups * depth * group);
        // For the queries first, and then for the scores.
        let (_scores, scores) = scratch(KEYS.max(depth) * group);
        let mut sums = vec![Line([0.0; 16]); (groups * width * group).div_ceil(16)];
        let mut softmax = vec![Softmax::NONE; groups];
        // SAFETY: there is room for the queries, sums and scores of whole groups; keys and values are there in cells.
        unsafe {
            let (queries, scores) = (queries.pointer(), scores.pointer());
            let sums = sums.as_mut_ptr().cast::<f32>();
            for at in 0..groups {
                self.turn_queries::<S>(at, scores, queries.add(at * depth * group));
            }
            for first in (0..count).step_by(KEYS) {
                let keys = KEYS.min(count - first);
                let key_cells = keys.div_ceil(S::CELL);
                let block_keys = self.keys.as_ptr().add(first * depth);
                let block_values = self.values.as_ptr().add(first / S::CELL * width);
                for at in 0..groups {
                    let softmax = &mut softmax[at];
                    let b = queries.add(at * depth * group);
                    let before = softmax.largest;
                    for (start, rows) in tiles(keys, S::ROWS) {
                        let product =
                            Product { rows: block_keys.add(start * depth), depth, b, out: scores.add(start * group) };
                        tile_of!(rows, S, Scores(product, &mut softmax.largest); 1 2 3 4 5 6 7 8 9 10 11 12);
                    }
                    softmax.take::<S>(&before, scores, keys);
                    for (start, rows) in tiles(width, S::ROWS) {
                        let product = Product {
                            rows: block_values.add(start * key_cells),
                            depth: key_cells,
                            b: scores,
                            out: sums.add((at * width + start) * group),
                        };
                        tile_of!(rows, S, Sums(product, &softmax.scale); 1 2 3 4 5 6 7 8 9 10 11 12);
                    }
                }
            }
            for at in 0..groups {
                self.finish::<S>(at, &softmax[at].total, sums.add(at * width * group));
            }
        }
    }
}

impl Block<'_> {
    /// Writes a group's queries as `[width][queries]`, scaled so that 2^score is the weight of a key. The last query stands
    /// in the place of those that are not there.
    #[inline(always)]
    unsafe fn turn_queries<S: Simd>(&self, group: usize, rows: *mut f32, to: *mut f32) {
        let Shape { width, .. } = self.shape;
        let (queries, depth) = (VECTORS * S::LANES, width / S::CELL);
        let scale = std::f32::consts::LOG2_E / (width as f32).sqrt();
        // SAFETY: there is room for a group of queries, in order and turned.
        unsafe {
            for at in 0..queries {
                let query = (group * queries + at).min(self.length - 1);
                let numbers = self.queries.at(self.row, self.start + query, self.head * width, width);
                cells::<S>(numbers, scale, rows.add(at * depth));
            }
            for (at, start) in squares::<S>(queries, depth) {
                let mut square = [S::splat(0.0); MOST_LANES];
                for n in 0..S::LANES {
                    square[n] = S::load_some(rows.add((at + n) * depth + start), depth - start);
                }
                S::turn(&mut square);
                for n in 0..S::LANES.min(depth - start) {
                    S::store(to.add((start + n) * queries + at), square[n]);
                }
            }
        }
    }

    /// Divides a group's sums by the weights' and writes them, turned back.
    #[inline(always)]
    unsafe fn finish<S: Simd>(&self, group: usize, total: &Each, sums: *const f32) {
        let Shape { width, heads, .. } = self.shape;
        let queries = VECTORS * S::LANES;
        let count = queries.min(self.length - group * queries);
        // SAFETY: the group's sums are there, and so are its queries up to the block's length.
        unsafe {
            for (start, at) in squares::<S>(width, count) {
                let factor = S::div(S::splat(1.0), S::load(total.as_ptr().add(at)));
                let mut square = [S::splat(0.0); MOST_LANES];
                for n in 0..S::LANES.min(width - start) {
                    square[n] = S::mul(S::load(sums.add((start + n) * queries + at)), factor);
                }
                S::turn(&mut square);
                for n in 0..S::LANES.min(count - at) {
                    let out = self.out.add((group * queries + at + n) * heads * width + start);
                    S::store_some(out, square[n], width - start);
                }
            }
        }
    }
}

/// The numbers of a group's queries, of any instruction set.
type Each = [f32; VECTORS * MOST_LANES];

/// What is known of a group's queries so far.
#[derive(Clone)]
struct Softmax {
    /// The largest score.
    largest: Each,
    /// The sum of the keys' weights, 2^(score - largest).
    total: Each,
    /// What sums of earlier weights are to be multiplied by.
    scale: Each,
}

impl Softmax {
    const NONE: Self = Self {
        largest: [f32::NEG_INFINITY; VECTORS * MOST_LANES],
        total: [0.0; VECTORS * MOST_LANES],
        scale: [0.0; VECTORS * MOST_LANES],
    };

    /// Turns the scores of some keys into weights, in cells, and adds them up.
    #[inline(always)]
    unsafe fn take<S: Simd>(&mut self, before: &Each, scores: *mut f32, keys: usize) {
        // SAFETY: the caller's promise that the scores are there. A cell is written when its numbers have been read.
        unsafe {
            let (mut largest, mut total) = ([S::splat(0.0); VECTORS], [S::splat(0.0); VECTORS]);
            for n in 0..VECTORS {
                largest[n] = S::load(self.largest.as_ptr().add(n * S::LANES));
                let scale = exp2::<S>(S::sub(S::load(before.as_ptr().add(n * S::LANES)), largest[n]));
                total[n] = S::mul(S::load(self.total.as_ptr().add(n * S::LANES)), scale);
                S::store(self.scale.as_mut_ptr().add(n * S::LANES), scale);
            }
            for key in (0..keys).step_by(S::CELL) {
                for n in 0..VECTORS {
                    let mut weights = [S::splat(0.0); 2];
                    for m in 0..S::CELL.min(keys - key) {
                        let score = S::load(scores.add(((key + m) * VECTORS + n) * S::LANES));
                        weights[m] = exp2::<S>(S::sub(score, largest[n]));
                        total[n] = S::add(total[n], weights[m]);
                    }
                    let cells = if S::CELL == 2 { S::pair(weights[0], weights[1]) } else { weights[0] };
                    S::store(scores.add((key / S::CELL * VECTORS + n) * S::LANES), cells);
                }
            }
            for n in 0..VECTORS {
                S::store(self.total.as_mut_ptr().add(n * S::LANES), total[n]);
            }
        }
    }
}

/// Some rows of `depth` cells, one after another, times a group of columns.
struct Product {
    rows: *const f32,
    depth: usize,
    b: *const f32,
    out: *mut f32,
}

impl Product {
    #[inline(always)]
    unsafe fn add<S: Simd, const M: usize>(&self, sums: &mut [[S::V; VECTORS]; M]) {
        // SAFETY: the caller's promise that the rows, the columns and the outputs are there.
        unsafe {
            let mut rows = [self.rows; M];
            for m in 0..M {
                rows[m] = self.rows.add(m * self.depth);
            }
            accumulate::<S, M, VECTORS>(sums, &rows, self.depth, self.b, None);
            for m in 0..M {
                for n in 0..VECTORS {
                    S::store(self.out.add((m * VECTORS + n) * S::LANES), sums[m][n]);
                }
            }
        }
    }
}

/// `out = rows * b`, and the largest of each column.
struct Scores<'a, const M: usize>(Product, &'a mut Each);

impl<const M: usize> Task for Scores<'_, M> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the caller's promise.
        unsafe {
            let mut sums = [[S::splat(0.0); VECTORS]; M];
            self.0.add::<S, M>(&mut sums);
            for n in 0..VECTORS {
                let largest = self.1.as_mut_ptr().add(n * S::LANES);
                let mut top = S::load(largest);
                for m in 0..M {
                    top = S::max(top, sums[m][n]);
                }
                S::store(largest, top);
            }
        }
    }
}

/// `out = out * scale + rows * b`, with a scale for each column.
struct Sums<'a, const M: usize>(Product, &'a Each);

impl<const M: usize> Task for Sums<'_, M> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the caller's promise.
        unsafe {
            let mut sums = [[S::splat(0.0); VECTORS]; M];
            for n in 0..VECTORS {
                let scale = S::load(self.1.as_ptr().add(n * S::LANES));
                for m in 0..M {
                    sums[m][n] = S::mul(S::load(self.0.out.add((m * VECTORS + n) * S::LANES)), scale);
                }
            }
            self.0.add::<S, M>(&mut sums);
        }
    }
}
