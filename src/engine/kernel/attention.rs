//! Attention without its matrix of scores: softmax(Q K^T / sqrt(d)) V for a block of queries at a time, over blocks of
//! keys, with running maximum and sum (Milakov and Gimelshein, arXiv 1805.02867; Dao et al., arXiv 2205.14135).

use candle_core::{Device, Result, Tensor, bail};

use super::math::exp;
use super::numbers::with_numbers;
use super::product::accumulate;
use super::simd::{Isa, Simd, Task};
use super::threads::{Shared, each, filled, threads_for};

/// Vectors side by side in a panel of keys or values.
const VECTORS: usize = 2;
/// Keys whose scores exist at once.
const KEYS: usize = 512;
/// Tiles of queries in a block.
const TILES: usize = 4;

/// Attention for each of `heads`. `queries` are `[rows or 1, positions, width]`, a single row asking for all rows;
/// `keys` and `values` `[rows, keys, width]`. Gives `[rows, positions, width]`.
pub(in crate::engine) fn attention(
    isa: Isa,
    queries: &Tensor,
    keys: &Tensor,
    values: &Tensor,
    heads: usize,
) -> Result<Tensor> {
    let (query_rows, positions, width) = queries.dims3()?;
    let (rows, count, _) = keys.dims3()?;
    if keys.dims() != [rows, count, width] || values.dims() != keys.dims() || ![1, rows].contains(&query_rows) {
        bail!("attention of {:?} to {:?} and {:?}", queries.shape(), keys.shape(), values.shape());
    }
    let (queries, keys, values) = (in_order(queries)?, in_order(keys)?, in_order(values)?);
    let attended = with_numbers(&queries, |q| {
        with_numbers(&keys, |k| {
            with_numbers(&values, |v| {
                let shape = Shape { rows, positions, count, width: width / heads, heads, lanes: isa.lanes() };
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
    lanes: usize,
}

impl Shape {
    /// Numbers of a row's keys of one head, packed: `[panels][width][keys of a panel]`.
    fn packed_keys(self) -> usize {
        self.count.next_multiple_of(VECTORS * self.lanes) * self.width
    }

    /// Numbers of a row's values of one head, packed: `[panels][keys][numbers of a panel]`.
    fn packed_values(self) -> usize {
        self.count * self.padded_width()
    }

    fn padded_width(self) -> usize {
        self.width.next_multiple_of(self.lanes)
    }
}

fn attend(isa: Isa, shape: Shape, queries: Strided<'_>, keys: Strided<'_>, values: Strided<'_>) -> Vec<f32> {
    let Shape { rows, positions, count, width, heads, .. } = shape;
    let threads = threads_for(rows * heads * positions * count * width * 2);
    let (key_size, size) = (shape.packed_keys(), shape.packed_keys() + shape.packed_values());
    // SAFETY: the jobs are all rows and heads, and each writes its keys and values, padding included.
    let packed = unsafe {
        filled(rows * heads * size, |packed| {
            each(threads, rows * heads, |job| {
                let (row, head) = (job / heads, job % heads);
                let packed = std::slice::from_raw_parts_mut(packed.pointer().add(job * size), size);
                let (packed_keys, packed_values) = packed.split_at_mut(key_size);
                pack_keys(shape, packed_keys, |key| keys.at(row, key, head * width, width));
                pack_values(shape, packed_values, |key| values.at(row, key, head * width, width));
            });
        })
    };
    let block = TILES * isa.rows();
    let blocks = positions.div_ceil(block);
    // SAFETY: the jobs are all rows, heads and blocks of queries, and each writes its outputs.
    unsafe {
        filled(rows * positions * heads * width, |out| {
            each(threads, rows * heads * blocks, |job| {
                let (row, head, start) = (job / blocks / heads, job / blocks % heads, job % blocks * block);
                let packed = &packed[(row * heads + head) * size..][..size];
                let length = block.min(positions - start);
                // The last query of the block is there, and so are those before it.
                queries.at(row, start + length - 1, head * width, width);
                isa.run(Block {
                    shape,
                    queries: queries.numbers.as_ptr().add(row * queries.row + start * queries.position + head * width),
                    stride: queries.position,
                    length,
                    keys: &packed[..key_size],
                    values: &packed[key_size..],
                    out: Shared::pointer(out).add(((row * positions + start) * heads + head) * width),
                });
            });
        })
    }
}

fn pack_keys<'a>(shape: Shape, packed: &mut [f32], of: impl Fn(usize) -> &'a [f32]) {
    let panel = VECTORS * shape.lanes;
    for (index, to) in packed.chunks_mut(panel * shape.width).enumerate() {
        for column in 0..panel {
            let key = index * panel + column;
            if key < shape.count {
                of(key).iter().enumerate().for_each(|(at, x)| to[at * panel + column] = *x);
            } else {
                (0..shape.width).for_each(|at| to[at * panel + column] = 0.0);
            }
        }
    }
}

fn pack_values<'a>(shape: Shape, packed: &mut [f32], of: impl Fn(usize) -> &'a [f32]) {
    let mut start = 0;
    let mut rest = packed;
    while start < shape.padded_width() {
        let panel = (VECTORS * shape.lanes).min(shape.padded_width() - start);
        let (to, others) = rest.split_at_mut(panel * shape.count);
        for (key, to) in to.chunks_mut(panel).enumerate() {
            let from = &of(key)[start..shape.width.min(start + panel)];
            to[..from.len()].copy_from_slice(from);
            to[from.len()..].fill(0.0);
        }
        start += panel;
        rest = others;
    }
}

/// A block of queries of one head of one row, and all its keys and values.
struct Block<'a> {
    shape: Shape,
    queries: *const f32,
    /// From one query to the next.
    stride: usize,
    /// Queries in the block.
    length: usize,
    keys: &'a [f32],
    values: &'a [f32],
    out: *mut f32,
}

impl Task for Block<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the caller's promise.
        unsafe {
            match S::ROWS {
                14 => self.tiled::<S, 14>(),
                12 => self.tiled::<S, 12>(),
                6 => self.tiled::<S, 6>(),
                _ => self.tiled::<S, 4>(),
            }
        }
    }
}

impl Block<'_> {
    #[inline(always)]
    unsafe fn tiled<S: Simd, const M: usize>(&self) {
        let Shape { count, width, heads, .. } = self.shape;
        let panel = VECTORS * S::LANES;
        let padded = self.shape.padded_width();
        let tiles = self.length.div_ceil(M);
        let scale = 1.0 / (width as f32).sqrt();
        let stored = KEYS.min(count.next_multiple_of(panel));
        let mut scores = vec![0f32; tiles * M * stored];
        let mut sums = vec![0f32; tiles * M * padded];
        let mut largest = [f32::NEG_INFINITY; TILES * 16];
        let mut totals = [0f32; TILES * 16];
        // SAFETY: `queries`, `keys`, `values` and `out` hold what the block says; queries beyond its length are
        // replaced by its last; `scores` and `sums` have room for whole tiles.
        unsafe {
            for first in (0..count).step_by(KEYS) {
                let keys = KEYS.min(count - first);
                let whole = keys.next_multiple_of(panel);
                for tile in 0..tiles {
                    let mut rows = [self.queries; M];
                    for m in 0..M {
                        rows[m] = self.queries.add((tile * M + m).min(self.length - 1) * self.stride);
                    }
                    for start in (0..whole).step_by(panel) {
                        let b = self.keys.as_ptr().add((first + start) * width);
                        let out = scores.as_mut_ptr().add(tile * M * stored + start);
                        S::call(Tile::<M, 2> { rows, depth: width, b, scale: None, out, stride: stored });
                    }
                }
                let mut scales = [1f32; TILES * 16];
                for query in 0..self.length {
                    let scores = &mut scores[query * stored..][..whole];
                    scores[keys..].fill(f32::NEG_INFINITY);
                    let mut top = S::splat(largest[query]);
                    for at in (0..whole).step_by(S::LANES) {
                        top = S::max(top, S::load(scores.as_ptr().add(at)));
                    }
                    let top = S::largest(top);
                    let mut total = S::splat(0.0);
                    for at in (0..whole).step_by(S::LANES) {
                        let x = S::sub(S::load(scores.as_ptr().add(at)), S::splat(top));
                        let e = exp::<S>(S::mul(x, S::splat(scale)));
                        total = S::add(total, e);
                        S::store(scores.as_mut_ptr().add(at), e);
                    }
                    // 0 for the first keys, before which there was nothing.
                    let before = ((largest[query] - top) * scale).exp();
                    scales[query] = before;
                    totals[query] = totals[query] * before + S::sum(total);
                    largest[query] = top;
                }
                for tile in 0..tiles {
                    let mut rows = [scores.as_ptr(); M];
                    for m in 0..M {
                        rows[m] = scores.as_ptr().add((tile * M + m) * stored);
                    }
                    let scale = Some(scales.as_ptr().add(tile * M));
                    for start in (0..padded).step_by(panel) {
                        let narrow = padded - start == S::LANES;
                        let panel = if narrow { S::LANES } else { panel };
                        let b = self.values.as_ptr().add(start * count + first * panel);
                        let out = sums.as_mut_ptr().add(tile * M * padded + start);
                        if narrow {
                            S::call(Tile::<M, 1> { rows, depth: keys, b, scale, out, stride: padded });
                        } else {
                            S::call(Tile::<M, 2> { rows, depth: keys, b, scale, out, stride: padded });
                        }
                    }
                }
            }
            for query in 0..self.length {
                let factor = S::splat(1.0 / totals[query]);
                for at in (0..width).step_by(S::LANES) {
                    let sum = S::load(sums.as_ptr().add(query * padded + at));
                    S::store_some(self.out.add(query * heads * width + at), S::mul(sum, factor), width - at);
                }
            }
        }
    }
}

/// `M` rows times `N` vectors: `out = rows * b`, to which `out` times each row's scale is added if scales are given.
struct Tile<const M: usize, const N: usize> {
    rows: [*const f32; M],
    depth: usize,
    b: *const f32,
    scale: Option<*const f32>,
    out: *mut f32,
    stride: usize,
}

impl<const M: usize, const N: usize> Task for Tile<M, N> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: rows, panel and outputs are there, which the block has seen to.
        unsafe {
            let mut sums = [[S::splat(0.0); N]; M];
            if let Some(scale) = self.scale {
                for m in 0..M {
                    for n in 0..N {
                        let before = S::load(self.out.add(m * self.stride + n * S::LANES));
                        sums[m][n] = S::mul(before, S::splat(*scale.add(m)));
                    }
                }
            }
            accumulate::<S, M, N>(&mut sums, &self.rows, self.depth, self.b);
            for m in 0..M {
                for n in 0..N {
                    S::store(self.out.add(m * self.stride + n * S::LANES), sums[m][n]);
                }
            }
        }
    }
}
