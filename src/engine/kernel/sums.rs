//! What every product on vectors is made of: the sums of a tile of outputs, in registers.

use super::simd::{Simd, Task};

/// Calls a tile of `$rows` rows.
macro_rules! tile_of {
    ($rows:expr, $S:ty, $Tile:ident, $N:ident, $tile:expr; $($M:literal)*) => {
        match $rows {
            $($M => <$S>::call($Tile::<$M, $N> { inner: $tile }),)*
            rows => unreachable!("no tile has {rows} rows"),
        }
    };
}
pub(super) use tile_of;

/// `sums[m][n] += rows[m][k] * b[k][n]` over all `k < depth`, of cells. Where `next` is given, asks meanwhile for the
/// cache lines of as many numbers from there on as the rows have.
#[inline(always)]
pub(super) unsafe fn accumulate<S: Simd, const M: usize, const N: usize>(
    sums: &mut [[S::V; N]; M],
    rows: &[*const f32; M],
    depth: usize,
    b: *const f32,
    next: Option<*const f32>,
) {
    // SAFETY: the caller gives `depth` numbers in each row and `depth * N` vectors; a prefetch may go anywhere.
    unsafe {
        let mut b = b;
        for k in 0..depth {
            if let Some(next) = next {
                S::prefetch(next.wrapping_add(k * M));
            }
            let mut columns = [S::splat(0.0); N];
            for n in 0..N {
                columns[n] = S::load(b.add(n * S::LANES));
            }
            for m in 0..M {
                let x = S::splat(*rows[m].add(k));
                for n in 0..N {
                    sums[m][n] = S::multiply(x, columns[n], sums[m][n]);
                }
            }
            b = b.add(N * S::LANES);
        }
    }
}

/// A product of a few rows of numbers and a panel's weights.
pub(super) struct Part {
    pub(super) rows: *const f32,
    /// From a row to the next.
    pub(super) stride: usize,
    /// What will be read next.
    pub(super) next: *const f32,
    /// Numbers of a row.
    pub(super) depth: usize,
    pub(super) weights: *const f32,
    /// Sums that there are already, and where to leave them: vector by vector, row by row.
    pub(super) from: Option<*const f32>,
    pub(super) to: *mut f32,
}

/// The sums of `M` rows times `N` vectors of outputs.
pub(super) struct Sums<const M: usize, const N: usize> {
    pub(super) inner: Part,
}

impl<const M: usize, const N: usize> Task for Sums<M, N> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Part { rows: first, stride, next, depth, weights, from, to } = self.inner;
        // SAFETY: the caller's promise that so many rows, weights and sums are there.
        unsafe {
            let mut sums = [[S::splat(0.0); N]; M];
            if let Some(from) = from {
                for m in 0..M {
                    for n in 0..N {
                        sums[m][n] = S::load(from.add((m * N + n) * S::LANES));
                    }
                }
            }
            let mut rows = [first; M];
            for m in 0..M {
                rows[m] = first.add(m * stride);
            }
            accumulate::<S, M, N>(&mut sums, &rows, depth, weights, Some(next));
            for m in 0..M {
                for n in 0..N {
                    S::store(to.add((m * N + n) * S::LANES), sums[m][n]);
                }
            }
        }
    }
}
