//! AVX-512, and AVX2 with FMA.

use std::arch::x86_64::*;

use super::{Simd, Task};

/// Whether the processor is one of Intel's.
pub(super) fn is_of_intel() -> bool {
    let vendor = __cpuid(0);
    [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes).as_flattened() == b"GenuineIntel"
}

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

/// What sets with 32 registers of 16 numbers have in common.
macro_rules! avx512 {
    ($features:literal; $($own:tt)*) => {
        const LANES: usize = 16;
        // 14 would fit, but are no faster on Zen 4, and slower where rows are long.
        const ROWS: usize = 12;
        type V = __m512;

        #[target_feature(enable = $features)]
        unsafe fn call<T: Task>(task: T) -> T::Output {
            // SAFETY: the caller's promise.
            unsafe { task.run::<Self>() }
        }

        $($own)*

        one_instruction! {
            splat(x: f32) -> __m512 = _mm512_set1_ps(x);
            load(from: *const f32) -> __m512 = _mm512_loadu_ps(from);
            store(to: *mut f32, v: __m512) = _mm512_storeu_ps(to, v);
            add(a: __m512, b: __m512) -> __m512 = _mm512_add_ps(a, b);
            sub(a: __m512, b: __m512) -> __m512 = _mm512_sub_ps(a, b);
            mul(a: __m512, b: __m512) -> __m512 = _mm512_mul_ps(a, b);
            div(a: __m512, b: __m512) -> __m512 = _mm512_div_ps(a, b);
            fma(a: __m512, b: __m512, c: __m512) -> __m512 = _mm512_fmadd_ps(a, b, c);
            max(a: __m512, b: __m512) -> __m512 = _mm512_max_ps(a, b);
            min(a: __m512, b: __m512) -> __m512 = _mm512_min_ps(a, b);
            power_of_two(biased: __m512) -> __m512 = _mm512_castsi512_ps(_mm512_add_epi32(
                _mm512_slli_epi32::<23>(_mm512_castps_si512(biased)), _mm512_set1_epi32(0x3f80_0000)));
            load_some(from: *const f32, count: usize) -> __m512 = match count {
                0..16 => _mm512_maskz_loadu_ps((1 << count) - 1, from),
                _ => _mm512_loadu_ps(from),
            };
            store_some(to: *mut f32, v: __m512, count: usize) = match count {
                0..16 => _mm512_mask_storeu_ps(to, (1 << count) - 1, v),
                _ => _mm512_storeu_ps(to, v),
            };
            load_f16(from: *const u16) -> __m512 = _mm512_cvtph_ps(_mm256_loadu_si256(from.cast()));
            prefetch(from: *const f32) = _mm_prefetch::<_MM_HINT_T0>(from.cast());
            prefetch_to_write(to: *mut f32) = _mm_prefetch::<_MM_HINT_ET0>(to.cast());
            sum(v: __m512) -> f32 = _mm512_reduce_add_ps(v);
        }

        #[inline(always)]
        unsafe fn turn(square: &mut [__m512; 16]) {
            // SAFETY: the caller's promise that the instruction set is there.
            unsafe { turn(square) }
        }
    };
}

/// Turns a square: the squares of 4x4 in it, and then these as they stand in it.
#[inline(always)]
unsafe fn turn(square: &mut [__m512; 16]) {
    // SAFETY: the caller's promise that the instruction set is there.
    unsafe {
        for four in square.as_chunks_mut::<4>().0 {
            let [a, b, c, d] = *four;
            let [low, high] = [_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b)];
            let [next_low, next_high] = [_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d)];
            *four = [
                _mm512_shuffle_ps::<0x44>(low, next_low),
                _mm512_shuffle_ps::<0xee>(low, next_low),
                _mm512_shuffle_ps::<0x44>(high, next_high),
                _mm512_shuffle_ps::<0xee>(high, next_high),
            ];
        }
        // Vector 4 i + j holds the columns j, j + 4, j + 8 and j + 12 of the lines from 4 i on.
        for j in 0..4 {
            let [a, b, c, d] = [square[j], square[j + 4], square[j + 8], square[j + 12]];
            let [even, odd] = [_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xdd>(a, b)];
            let [next_even, next_odd] = [_mm512_shuffle_f32x4::<0x88>(c, d), _mm512_shuffle_f32x4::<0xdd>(c, d)];
            square[j] = _mm512_shuffle_f32x4::<0x88>(even, next_even);
            square[j + 8] = _mm512_shuffle_f32x4::<0xdd>(even, next_even);
            square[j + 4] = _mm512_shuffle_f32x4::<0x88>(odd, next_odd);
            square[j + 12] = _mm512_shuffle_f32x4::<0xdd>(odd, next_odd);
        }
    }
}

/// 32 registers of 16 numbers.
#[derive(Clone, Copy)]
pub(in crate::engine::kernel) struct Avx512;

impl Simd for Avx512 {
    avx512! { "avx512f,fma"; }
}

/// The same, of whose products both sides are bf16: twice as many in the same time.
#[derive(Clone, Copy)]
pub(super) struct Avx512Bf16;

impl Simd for Avx512Bf16 {
    avx512! { "avx512f,avx512bw,avx512bf16,fma";
        const CELL: usize = 2;

        one_instruction! {
            // SAFETY (of both casts): as large, and any bits are a value.
            multiply(x: __m512, w: __m512, sum: __m512) -> __m512 =
                _mm512_dpbf16_ps(sum, std::mem::transmute::<__m512, __m512bh>(x), std::mem::transmute::<__m512, __m512bh>(w));
            narrow(a: __m512, b: __m512) -> __m512 = std::mem::transmute::<__m512bh, __m512>(_mm512_cvtne2ps_pbh(b, a));
            pair(a: __m512, b: __m512) -> __m512 = {
                // Of 32 numbers in order, each of the first half and one of the second in turns.
                let turns = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8,
                    23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
                _mm512_castsi512_ps(_mm512_permutexvar_epi16(turns, _mm512_castps_si512(Self::narrow(a, b))))
            };
        }
    }
}

/// 16 registers of 8 numbers.
#[derive(Clone, Copy)]
pub(super) struct Avx2;

impl Simd for Avx2 {
    const LANES: usize = 8;
    const ROWS: usize = 6;
    type V = __m256;

    #[target_feature(enable = "avx2,f16c,fma")]
    unsafe fn call<T: Task>(task: T) -> T::Output {
        // SAFETY: the caller's promise.
        unsafe { task.run::<Self>() }
    }

    one_instruction! {
        splat(x: f32) -> __m256 = _mm256_set1_ps(x);
        load(from: *const f32) -> __m256 = _mm256_loadu_ps(from);
        store(to: *mut f32, v: __m256) = _mm256_storeu_ps(to, v);
        add(a: __m256, b: __m256) -> __m256 = _mm256_add_ps(a, b);
        sub(a: __m256, b: __m256) -> __m256 = _mm256_sub_ps(a, b);
        mul(a: __m256, b: __m256) -> __m256 = _mm256_mul_ps(a, b);
        div(a: __m256, b: __m256) -> __m256 = _mm256_div_ps(a, b);
        fma(a: __m256, b: __m256, c: __m256) -> __m256 = _mm256_fmadd_ps(a, b, c);
        max(a: __m256, b: __m256) -> __m256 = _mm256_max_ps(a, b);
        min(a: __m256, b: __m256) -> __m256 = _mm256_min_ps(a, b);
        power_of_two(biased: __m256) -> __m256 = _mm256_castsi256_ps(_mm256_add_epi32(
            _mm256_slli_epi32::<23>(_mm256_castps_si256(biased)), _mm256_set1_epi32(0x3f80_0000)));
        load_f16(from: *const u16) -> __m256 = _mm256_cvtph_ps(_mm_loadu_si128(from.cast()));
        prefetch(from: *const f32) = _mm_prefetch::<_MM_HINT_T0>(from.cast());
    }
}
