//! Logarithm, sine and cosine in single precision by the polynomials of the Cephes library (S. Moshier), evaluated in the
//! order and with the fused operations of PyTorch's vector code (`avx_mathfun.h`): the same bits everywhere.

/// Evaluates a polynomial, highest coefficient first, by Horner's rule with fused steps.
fn polynomial(x: f32, coefficients: &[f32]) -> f32 {
    coefficients.iter().fold(0.0, |sum, &coefficient| sum.mul_add(x, coefficient))
}

/// The natural logarithm of a normal positive number.
pub(super) fn ln(x: f32) -> f32 {
    const POLYNOMIAL: [f32; 9] = [
        7.037_683_6e-2,
        -1.151_461e-1,
        1.167_699_84e-1,
        -1.242_014_1e-1,
        1.424_932_3e-1,
        -1.666_805_8e-1,
        2.000_071_4e-1,
        -2.499_999_4e-1,
        3.333_333e-1,
    ];
    // ln 2 in two parts, the greater exact in few bits.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;

    let bits = x.to_bits();
    let mut exponent = (bits >> 23) as f32 - 126.0;
    let mantissa = f32::from_bits(bits & 0x007f_ffff | 0x3f00_0000);
    let mut x = mantissa - 1.0;
    if mantissa < std::f32::consts::FRAC_1_SQRT_2 {
        x += mantissa;
        exponent -= 1.0;
    }
    let square = x * x;
    let y = (polynomial(x, &POLYNOMIAL) * x).mul_add(square, exponent * LN_2_LOW);
    let y = (-square).mul_add(0.5, y);
    exponent.mul_add(LN_2_HIGH, x + y)
}

/// Sine and cosine of an angle of at most a few turns, not negative.
pub(super) fn sin_cos(angle: f32) -> (f32, f32) {
    // A quarter of pi in three parts, so that the reduction below is exact for few turns.
    const QUARTER_PI: [f32; 3] = [0.785_156_25, 2.418_756_5e-4, 3.774_895e-8];
    const SINE: [f32; 3] = [-1.951_529_6e-4, 8.332_161e-3, -1.666_665_5e-1];
    const COSINE: [f32; 3] = [2.443_315_7e-5, -1.388_731_6e-3, 4.166_664_6e-2];

    let octant = ((angle * (4.0 / std::f32::consts::PI)) as i32 + 1) & !1;
    let turned = octant as f32;
    let x = QUARTER_PI.iter().fold(angle, |x, &part| turned.mul_add(-part, x));
    let square = x * x;
    let near_one = (polynomial(square, &COSINE) * square).mul_add(square, -(square * 0.5)) + 1.0;
    let near_zero = (polynomial(square, &SINE) * square).mul_add(x, x);
    let (sine, cosine) = if octant & 2 == 0 { (near_zero, near_one) } else { (near_one, near_zero) };
    let signed = |value: f32, negative: bool| if negative { -value } else { value };
    (signed(sine, octant & 4 != 0), signed(cosine, (octant + 2) & 4 != 0))
}
