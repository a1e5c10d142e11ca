//! Functions of whole vectors.

use super::simd::Simd;

/// e^x to 2 units in the last place, for any x; what lies below e^-80 becomes it, so that a product with it is a normal
/// number: some processors take a hundred times as long for others.
///
/// e^x = 2^n e^r with n the integer nearest to x / ln 2, and e^r as the first terms of its series, |r| <= ln 2 / 2.
#[inline(always)]
pub(super) unsafe fn exp<S: Simd>(x: S::V) -> S::V {
    // SAFETY: the caller's promise that the instruction set is there.
    unsafe {
        // The bounds first: of a NaN and a number, `min` and `max` give the second.
        let x = S::max(S::splat(-80.0), S::min(S::splat(88.0), x));
        // Adding 1.5 * 2^23 rounds to an integer.
        let shift = S::splat(12_582_912.0);
        let biased = S::fma(x, S::splat(std::f32::consts::LOG2_E), shift);
        let n = S::sub(biased, shift);
        // ln 2 in two parts, of which the first times n is exact.
        let r = S::fma(n, S::splat(-0.693_359_4), x);
        let r = S::fma(n, S::splat(2.121_944_4e-4), r);
        let mut p = S::splat(1.0 / 5040.0);
        for coefficient in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
            p = S::fma(p, r, S::splat(coefficient));
        }
        S::mul(p, S::power_of_two(biased))
    }
}

/// 2^x to 2 units in the last place for x <= 0; what lies below the smallest normal number becomes it.
///
/// 2^x = 2^n 2^r with n the integer nearest to x, and 2^r as a polynomial whose largest relative error for |r| <= 1/2 is
/// the least (9.1e-8), among those that are 1 at 0.
#[allow(clippy::approx_constant, reason = "the best coefficient is not ln 2")]
#[inline(always)]
pub(super) unsafe fn exp2<S: Simd>(x: S::V) -> S::V {
    // SAFETY: the caller's promise that the instruction set is there.
    unsafe {
        let x = S::max(S::splat(-126.0), x);
        // Adding 1.5 * 2^23 rounds to an integer.
        let shift = S::splat(12_582_912.0);
        let biased = S::add(x, shift);
        let r = S::sub(x, S::sub(biased, shift));
        let mut p = S::splat(1.326_472_7e-3);
        for coefficient in [9.671_513e-3, 5.550_733_6e-2, 0.240_222_42, 0.693_147, 1.0] {
            p = S::fma(p, r, S::splat(coefficient));
        }
        S::mul(p, S::power_of_two(biased))
    }
}

/// x / (1 + e^-x)
#[inline(always)]
pub(super) unsafe fn silu<S: Simd>(x: S::V) -> S::V {
    // SAFETY: the caller's promise that the instruction set is there.
    unsafe {
        let one = S::splat(1.0);
        S::div(x, S::add(one, exp::<S>(S::sub(S::splat(0.0), x))))
    }
}

/// x (1 + erf(x / sqrt 2)) / 2 to 1e-7 of |x|, by formula 7.1.26 of Abramowitz and Stegun's handbook, which gives
/// 1 - erf(y) as a polynomial in 1 / (1 + 0.3275911 y) times e^(-y^2) for y >= 0.
#[inline(always)]
pub(super) unsafe fn gelu<S: Simd>(x: S::V) -> S::V {
    // SAFETY: the caller's promise that the instruction set is there.
    unsafe {
        let zero = S::splat(0.0);
        let one = S::splat(1.0);
        let size = S::max(x, S::sub(zero, x));
        let y = S::mul(size, S::splat(std::f32::consts::FRAC_1_SQRT_2));
        let t = S::div(one, S::fma(y, S::splat(0.327_591_1), one));
        let mut p = S::splat(1.061_405_4);
        for coefficient in [-1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6] {
            p = S::fma(p, t, S::splat(coefficient));
        }
        let complement = S::mul(S::mul(p, t), exp::<S>(S::sub(zero, S::mul(y, y))));
        // x for positive x, 0 for others, and what the tail takes away on both sides.
        S::sub(S::max(x, zero), S::mul(S::mul(S::splat(0.5), size), complement))
    }
}
