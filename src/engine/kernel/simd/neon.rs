//! NEON.

use std::arch::aarch64::*;

use super::{Simd, Task};

/// Each method is one instruction, which the trait's caller promises to be there.
macro_rules! one_instruction {
    ($($name:ident($($argument:ident: $type:ty),*) $(-> $result:ty)? = $body:expr;)*) => {
        $(
            #[inline(always)]
            unsafe fn $name($($argument: $type),*) $(-> $result)? {
                // SAFETY: the caller's promise: the instruction set is there, and so are the numbers behind a pointer.
                unsafe { $body }
            }
        )*
    };
}

/// 32 registers of 4 numbers.
#[derive(Clone, Copy)]
pub(super) struct Neon;

impl Simd for Neon {
    const LANES: usize = 4;
    const ROWS: usize = 12;
    type V = float32x4_t;

    #[target_feature(enable = "neon")]
    unsafe fn call<T: Task>(task: T) -> T::Output {
        // SAFETY: the caller's promise.
        unsafe { task.run::<Self>() }
    }

    one_instruction! {
        splat(x: f32) -> float32x4_t = vdupq_n_f32(x);
        load(from: *const f32) -> float32x4_t = vld1q_f32(from);
        store(to: *mut f32, v: float32x4_t) = vst1q_f32(to, v);
        add(a: float32x4_t, b: float32x4_t) -> float32x4_t = vaddq_f32(a, b);
        sub(a: float32x4_t, b: float32x4_t) -> float32x4_t = vsubq_f32(a, b);
        mul(a: float32x4_t, b: float32x4_t) -> float32x4_t = vmulq_f32(a, b);
        div(a: float32x4_t, b: float32x4_t) -> float32x4_t = vdivq_f32(a, b);
        fma(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t = vfmaq_f32(c, a, b);
        max(a: float32x4_t, b: float32x4_t) -> float32x4_t = vmaxq_f32(a, b);
        min(a: float32x4_t, b: float32x4_t) -> float32x4_t = vminq_f32(a, b);
        power_of_two(biased: float32x4_t) -> float32x4_t = vreinterpretq_f32_s32(vaddq_s32(
            vshlq_n_s32::<23>(vreinterpretq_s32_f32(biased)), vdupq_n_s32(0x3f80_0000)));
    }
}
