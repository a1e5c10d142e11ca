//! The transforms of F(4, 3): from six inputs and three weights of a line to four outputs.
//!
//! Outputs of a convolution are coefficients of a polynomial of degree 5, transposed: values at the points 0, +-a, +-b and
//! infinity are multiplied instead, in the order 0, infinity, a, -a, b, -b. With a = 5/8 and b = 11/8 the powers are exact in f32, the points come in pairs that
//! share their even and odd parts, and errors are half those of the usual 1 and 2. The factors of the interpolation are
//! with the weights.

use super::super::simd::Simd;

/// Inputs along a side of a tile.
pub(super) const INPUTS: usize = 6;
/// Outputs along a side of a tile.
pub(super) const OUTPUTS: usize = 4;
/// Weights along a side.
pub(super) const WEIGHTS: usize = 3;
/// Pairs of points along a side.
pub(super) const PAIRS: usize = INPUTS / 2;

const A: f32 = 0.625;
const B: f32 = 1.375;
const A2: f32 = A * A;
const B2: f32 = B * B;
const PRODUCT: f32 = A2 * B2;
const SUM: f32 = A2 + B2;
/// One over the product of a point's distances to the others.
const AT_ZERO: f32 = 1.0 / PRODUCT;
const AT_A: f32 = 1.0 / (2.0 * A2 * (A2 - B2));
const AT_B: f32 = 1.0 / (2.0 * B2 * (B2 - A2));

/// Of inputs.
#[inline(always)]
pub(super) unsafe fn inputs<S: Simd>(d: [S::V; INPUTS]) -> [S::V; INPUTS] {
    // SAFETY: the caller's promise that the instruction set is there.
    unsafe {
        let (product, sum) = (S::splat(PRODUCT), S::splat(-SUM));
        let end = |from: usize| S::fma(product, d[from], S::fma(sum, d[from + 2], d[from + 4]));
        // x^4 - (the other point)^2 x^2, and a factor of x less.
        let parts = |other: f32| {
            let other = S::splat(-other);
            (S::fma(other, d[2], d[4]), S::fma(other, d[1], d[3]))
        };
        let ((even_a, odd_a), (even_b, odd_b)) = (parts(B2), parts(A2));
        [
            end(0),
            end(1),
            S::fma(S::splat(A), odd_a, even_a),
            S::fma(S::splat(-A), odd_a, even_a),
            S::fma(S::splat(B), odd_b, even_b),
            S::fma(S::splat(-B), odd_b, even_b),
        ]
    }
}

/// Of weights, at a pair of points: 0 and infinity, +-a, or +-b.
#[inline(always)]
pub(super) unsafe fn weights<S: Simd>(pair: usize, g: [S::V; WEIGHTS]) -> [S::V; 2] {
    // SAFETY: as above.
    unsafe {
        let at = |factor: f32, point: f32| {
            let even = S::fma(S::splat(factor * point * point), g[2], S::mul(S::splat(factor), g[0]));
            [factor, -factor].map(|factor| S::fma(S::splat(factor * point), g[1], even))
        };
        match pair {
            0 => [S::mul(S::splat(AT_ZERO), g[0]), g[2]],
            1 => at(AT_A, A),
            _ => at(AT_B, B),
        }
    }
}

/// Of products to outputs.
#[inline(always)]
pub(super) unsafe fn outputs<S: Simd>(m: [S::V; INPUTS]) -> [S::V; OUTPUTS] {
    // SAFETY: as above.
    unsafe {
        let (even_a, odd_a) = (S::add(m[2], m[3]), S::sub(m[2], m[3]));
        let (even_b, odd_b) = (S::add(m[4], m[5]), S::sub(m[4], m[5]));
        [
            S::add(m[0], S::add(even_a, even_b)),
            S::fma(S::splat(A), odd_a, S::mul(S::splat(B), odd_b)),
            S::fma(S::splat(A2), even_a, S::mul(S::splat(B2), even_b)),
            S::fma(S::splat(A * A2), odd_a, S::fma(S::splat(B * B2), odd_b, m[1])),
        ]
    }
}
