//! Matrix products in f32 by the matrix unit of recent server processors (AMX), which multiplies bf16 alone.
//!
//! Every number is split into its nearest bf16 and the bf16 nearest to the rest; together they keep 16 to 17 bits of
//! 24. A product of two numbers is then three products of halves, the one of both rests being left out: an error of
//! some 2e-6 of each product, of random sign, for several times the speed of vectors. Sums are kept in f32.
//!
//! A tile is 16 rows of 64 bytes. The instructions have no stable intrinsics, so they are written as assembly.

use std::arch::asm;
use std::arch::x86_64::*;

use super::product::{Job, OUTSIDE, Part};
use super::simd::{Avx512, Simd};
use super::threads::Line;

/// Inputs that one instruction multiplies.
pub(super) const DEPTH: usize = 32;
/// Outputs of a panel: two tiles.
pub(super) const WIDTH: usize = 32;
/// Rows of a tile.
const ROWS: usize = 16;
/// Bytes of a tile.
const TILE: usize = 1024;

/// Whether the processor has tiles of bf16 and the system lets this process use them.
pub(super) fn available() -> bool {
    if !is_x86_feature_detected!("avx512f") || !is_x86_feature_detected!("avx512bf16") {
        return false;
    }
    let features = __cpuid_count(7, 0).edx;
    let (bf16, tiles) = (features >> 22 & 1, features >> 24 & 1);
    bf16 == 1 && tiles == 1 && permitted()
}

/// Asks Linux for the tiles' state, which it saves only for processes that want it.
#[cfg(target_os = "linux")]
fn permitted() -> bool {
    const ARCH_PRCTL: i64 = 158;
    const ARCH_REQ_XCOMP_PERM: i64 = 0x1023;
    const XFEATURE_XTILEDATA: i64 = 18;
    let result: i64;
    // SAFETY: a system call that writes no memory and, at worst, refuses.
    unsafe {
        asm!("syscall", inlateout("rax") ARCH_PRCTL => result, in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") XFEATURE_XTILEDATA, out("rcx") _, out("r11") _);
    }
    result == 0
}

#[cfg(not(target_os = "linux"))]
fn permitted() -> bool {
    false
}

/// The bf16 nearest to `x`, and the one nearest to what it leaves.
fn split(x: f32) -> [u16; 2] {
    let nearest = |x: f32| (x.to_bits().wrapping_add(0x7fff + (x.to_bits() >> 16 & 1)) >> 16) as u16;
    let high = nearest(x);
    [high, nearest(x - f32::from_bits(u32::from(high) << 16))]
}

/// Where the two halves of the weight of `input` and `column` stand in a panel, in numbers of bf16: for every 32 inputs
/// four tiles, the halves of the first 16 columns, then of the others; two inputs side by side.
fn places(input: usize, column: usize) -> [usize; 2] {
    let tile = input / DEPTH * 4 + column / ROWS;
    let place = tile * TILE / 2 + input % DEPTH / 2 * DEPTH + column % ROWS * 2 + input % 2;
    [place, place + TILE]
}

/// Writes one weight of a panel.
pub(super) fn put(panel: &mut [f32], input: usize, column: usize, weight: f32) {
    for (place, half) in places(input, column).into_iter().zip(split(weight)) {
        let bits = panel[place / 2].to_bits();
        let (kept, shift) = if place % 2 == 0 { (bits & 0xffff_0000, 0) } else { (bits & 0xffff, 16) };
        panel[place / 2] = f32::from_bits(kept | u32::from(half) << shift);
    }
}

/// Splits pixels of `inputs` numbers: all first halves of a pixel, then all second halves, in the same space.
///
/// # Safety
///
/// [`available`] must hold; `out` must have room for as many numbers as `x` has; `inputs` is a multiple of 32.
#[target_feature(enable = "avx512f,avx512bf16")]
pub(super) unsafe fn split_pixels(x: &[f32], inputs: usize, out: *mut f32) {
    for (index, pixel) in x.chunks_exact(inputs).enumerate() {
        // SAFETY: a pixel is read, and one of the same size is written.
        unsafe {
            let high = out.add(index * inputs).cast::<u16>();
            for at in (0..inputs).step_by(16) {
                let numbers = _mm512_loadu_ps(pixel.as_ptr().add(at));
                let halves: __m256i = std::mem::transmute(_mm512_cvtneps_pbh(numbers));
                let back = _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(halves)));
                let rest: __m256i = std::mem::transmute(_mm512_cvtneps_pbh(_mm512_sub_ps(numbers, back)));
                _mm256_storeu_si256(high.add(at).cast(), halves);
                _mm256_storeu_si256(high.add(inputs + at).cast(), rest);
            }
        }
    }
}

/// The tiles' shapes: all eight have 16 rows of 64 bytes.
#[repr(C, align(64))]
struct Shapes([u8; 64]);

impl Shapes {
    const ALL_WHOLE: Self = {
        let mut bytes = [0; 64];
        bytes[0] = 1;
        let mut tile = 0;
        while tile < 8 {
            bytes[16 + 2 * tile] = 64;
            bytes[48 + tile] = 16;
            tile += 1;
        }
        Self(bytes)
    };
}

/// 16 pixels under a tap: the first, and from one to the next, in bytes.
#[derive(Clone, Copy)]
struct Rows {
    first: *const u8,
    stride: usize,
}

/// A panel's outputs of a run of pixels, of split inputs.
///
/// # Safety
///
/// As for the job, and [`available`] must hold.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn panel(job: &Job<'_>) {
    let shapes = Shapes::ALL_WHOLE;
    let copy = vec![Line([0.0; 16]); ROWS * job.packed.inputs / 16];
    let mut copies = [copy.clone(), copy];
    let mut sums = [[Line([0.0; 16]); 2]; 2 * ROWS];
    // SAFETY: the caller's promise. The tiles are given back before anything else runs on this thread.
    unsafe {
        asm!("ldtilecfg [{}]", in(reg) shapes.0.as_ptr(), options(nostack));
        for taps in job.depth_blocks() {
            for start in job.pixels.clone().step_by(2 * ROWS) {
                let part = Part { job, taps: taps.clone(), start };
                if job.pixels.end - start > ROWS {
                    tile::<2>(&part, &mut copies, &mut sums);
                } else {
                    tile::<1>(&part, &mut copies, &mut sums);
                }
            }
        }
        asm!("tilerelease", options(nomem, nostack));
    }
}

/// `M` times 16 pixels times 32 outputs.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn tile<const M: usize>(part: &Part<'_>, copies: &mut [Vec<Line>; 2], sums: &mut [[Line; 2]; 2 * ROWS]) {
    let Part { job, taps, start } = part;
    let (inputs, last) = (job.packed.inputs, job.pixels.end - 1);
    let count = (M * ROWS).min(job.pixels.end - start);
    // SAFETY: the panel's columns and the pixels' inputs are there, which the job promises; pixels beyond the job's last
    // are replaced by it and not written.
    unsafe {
        for (m, sums) in sums[..count].iter_mut().enumerate() {
            let vectors: [_; 2] = job.begin::<Avx512, 2>(start + m, taps.start == 0);
            for (sums, vector) in sums.iter_mut().zip(vectors) {
                Avx512::store(sums.0.as_mut_ptr(), vector);
            }
        }
        let at = sums.as_mut_ptr().cast::<u8>();
        let line = WIDTH * 4;
        asm!("tileloadd tmm0, [{at} + {line}]", "tileloadd tmm1, [{at} + {line} + 64]", at = in(reg) at, line = in(reg) line, options(nostack));
        if M == 2 {
            asm!("tileloadd tmm2, [{at} + {line}]", "tileloadd tmm3, [{at} + {line} + 64]", at = in(reg) at.add(ROWS * line), line = in(reg) line, options(nostack));
        }
        let panel = job.panel_weights().cast::<u8>();
        for tap in taps.clone() {
            let mut rows = [Rows { first: job.x.as_ptr().cast(), stride: 0 }; 2];
            for m in 0..M {
                rows[m] = gather(job, tap, start + m * ROWS, last, &mut copies[m]);
            }
            let mut weights = panel.add(tap * inputs * WIDTH * 4);
            for k in (0..2 * inputs).step_by(2 * DEPTH) {
                let [upper, lower] = rows.map(|rows| rows.first.add(k));
                if M == 2 {
                    asm!(
                        "tileloadd tmm4, [{a} + {s}]", "tileloadd tmm6, [{w} + {l}]", "tdpbf16ps tmm0, tmm4, tmm6",
                        "tileloadd tmm7, [{w} + {l} + 1024]", "tdpbf16ps tmm1, tmm4, tmm7",
                        "tileloadd tmm5, [{b} + {t}]", "tdpbf16ps tmm2, tmm5, tmm6", "tdpbf16ps tmm3, tmm5, tmm7",
                        "tileloadd tmm4, [{c} + {s}]", "tdpbf16ps tmm0, tmm4, tmm6", "tdpbf16ps tmm1, tmm4, tmm7",
                        "tileloadd tmm5, [{d} + {t}]", "tdpbf16ps tmm2, tmm5, tmm6", "tdpbf16ps tmm3, tmm5, tmm7",
                        "tileloadd tmm4, [{a} + {s}]", "tileloadd tmm6, [{w} + {l} + 2048]", "tdpbf16ps tmm0, tmm4, tmm6",
                        "tileloadd tmm7, [{w} + {l} + 3072]", "tdpbf16ps tmm1, tmm4, tmm7",
                        "tileloadd tmm5, [{b} + {t}]", "tdpbf16ps tmm2, tmm5, tmm6", "tdpbf16ps tmm3, tmm5, tmm7",
                        a = in(reg) upper, s = in(reg) rows[0].stride, c = in(reg) upper.add(2 * inputs),
                        b = in(reg) lower, t = in(reg) rows[1].stride, d = in(reg) lower.add(2 * inputs),
                        w = in(reg) weights, l = in(reg) 64usize, options(nostack, readonly),
                    );
                } else {
                    asm!(
                        "tileloadd tmm4, [{a} + {s}]", "tileloadd tmm6, [{w} + {l}]", "tdpbf16ps tmm0, tmm4, tmm6",
                        "tileloadd tmm7, [{w} + {l} + 1024]", "tdpbf16ps tmm1, tmm4, tmm7",
                        "tileloadd tmm5, [{c} + {s}]", "tdpbf16ps tmm0, tmm5, tmm6", "tdpbf16ps tmm1, tmm5, tmm7",
                        "tileloadd tmm6, [{w} + {l} + 2048]", "tdpbf16ps tmm0, tmm4, tmm6",
                        "tileloadd tmm7, [{w} + {l} + 3072]", "tdpbf16ps tmm1, tmm4, tmm7",
                        a = in(reg) upper, s = in(reg) rows[0].stride, c = in(reg) upper.add(2 * inputs),
                        w = in(reg) weights, l = in(reg) 64usize, options(nostack, readonly),
                    );
                }
                weights = weights.add(4 * TILE);
            }
        }
        asm!("tilestored [{at} + {line}], tmm0", "tilestored [{at} + {line} + 64], tmm1", at = in(reg) at, line = in(reg) line, options(nostack));
        if M == 2 {
            asm!("tilestored [{at} + {line}], tmm2", "tilestored [{at} + {line} + 64], tmm3", at = in(reg) at.add(ROWS * line), line = in(reg) line, options(nostack));
        }
        for (m, sums) in sums[..count].iter().enumerate() {
            let vectors = sums.each_ref().map(|sums| Avx512::load(sums.0.as_ptr()));
            job.finish::<Avx512, 2>(start + m, vectors, taps.end == job.packed.taps);
        }
    }
}

/// The inputs of 16 pixels under a tap: where they are, if they lie at equal distances, or copied.
#[inline]
unsafe fn gather(job: &Job<'_>, tap: usize, start: usize, last: usize, copies: &mut [Line]) -> Rows {
    let inputs = job.packed.inputs;
    let bytes = inputs * 4;
    // SAFETY: the job promises a table for its pixels, and pixels that are in the picture.
    unsafe {
        let Some((table, pixels)) = job.table else {
            if start + ROWS - 1 <= last {
                return Rows { first: job.x.as_ptr().add(start * inputs).cast(), stride: bytes };
            }
            for m in 0..ROWS {
                let from = job.x.as_ptr().add((start + m).min(last) * inputs);
                std::ptr::copy_nonoverlapping(from, copies.as_mut_ptr().cast::<f32>().add(m * inputs), inputs);
            }
            return Rows { first: copies.as_ptr().cast(), stride: bytes };
        };
        let table = &table[tap * pixels..][..pixels];
        let pixel = |m: usize| *table.get_unchecked((start + m).min(last));
        let (first, step) = (pixel(0), pixel(1).wrapping_sub(pixel(0)));
        if first != OUTSIDE
            && (1..ROWS).all(|m| pixel(m) == first.wrapping_add(step.wrapping_mul(m as u32)) && pixel(m) != OUTSIDE)
        {
            return Rows {
                first: job.x.as_ptr().add(first as usize * inputs).cast(),
                stride: (step as i32 as usize).wrapping_mul(bytes),
            };
        }
        for m in 0..ROWS {
            let to = copies.as_mut_ptr().cast::<f32>().add(m * inputs);
            match pixel(m) {
                OUTSIDE => std::ptr::write_bytes(to, 0, inputs),
                pixel => std::ptr::copy_nonoverlapping(job.x.as_ptr().add(pixel as usize * inputs), to, inputs),
            }
        }
        Rows { first: copies.as_ptr().cast(), stride: bytes }
    }
}
