//! The transforms of F(4, 3): from six inputs and three weights of a line to four outputs.
//!
//! Outputs of a convolution are coefficients of a polynomial of degree 5, transposed: values at the points 0, +-a, +-b and
//! infinity are multiplied instead. With a = 5/8 and b = 11/8 the powers are exact in f32, the points come in pairs that
//! share their even and odd parts, and errors are half those of the usual 1 and 2. The factors of the interpolation are
//! with the weights.

use super::super::simd::Simd;

/// Inputs along a side of a tile.
pub(super) const INPUTS: usize = 6;
/// Outputs along a side of a tile.
pub(super) const OUTPUTS: usize = 4;
/// Weights along a side.
pub(super) const WEIGHTS: usize = 3;

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
            S::fma(S::splat(A), odd_a, even_a),
            S::fma(S::splat(-A), odd_a, even_a),
            S::fma(S::splat(B), odd_b, even_b),
            S::fma(S::splat(-B), odd_b, even_b),
            end(1),
        ]
    }
}

/// Of weights.
#[inline(always)]
pub(super) unsafe fn weights<S: Simd>(g: [S::V; WEIGHTS]) -> [S::V; INPUTS] {
    // SAFETY: as above.
    unsafe {
        let even = |factor: f32, square: f32| S::fma(S::splat(factor * square), g[2], S::mul(S::splat(factor), g[0]));
        let (even_a, even_b) = (even(AT_A, A2), even(AT_B, B2));
        [
            S::mul(S::splat(AT_ZERO), g[0]),
            S::fma(S::splat(AT_A * A), g[1], even_a),
            S::fma(S::splat(-AT_A * A), g[1], even_a),
            S::fma(S::splat(AT_B * B), g[1], even_b),
            S::fma(S::splat(-AT_B * B), g[1], even_b),
            g[2],
        ]
    }
}

/// Of products to outputs.
#[inline(always)]
pub(super) unsafe fn outputs<S: Simd>(m: [S::V; INPUTS]) -> [S::V; OUTPUTS] {
    // SAFETY: as above.
    unsafe {
        let (even_a, odd_a) = (S::add(m[1], m[2]), S::sub(m[1], m[2]));
        let (even_b, odd_b) = (S::add(m[3], m[4]), S::sub(m[3], m[4]));
        [
            S::add(m[0], S::add(even_a, even_b)),
            S::fma(S::splat(A), odd_a, S::mul(S::splat(B), odd_b)),
            S::fma(S::splat(A2), even_a, S::mul(S::splat(B2), even_b)),
            S::fma(S::splat(A * A2), odd_a, S::fma(S::splat(B * B2), odd_b, m[5])),
        ]
    }
}
