//! Matrix products in f32 by the matrix unit of recent server processors (AMX), which multiplies bf16 alone.
//!
//! A number of 24 bits is the sum of three of bf16's 8 (the nearest, the nearest to the rest, and the rest of that), so
//! that a product of two is nine products of parts. The three smallest of them are left out: together they are less than
//! f32's own rounding. Weights that were f16 need two parts only, and weights that were bf16 one. Sums are kept in f32,
//! as they are by vectors.
//!
//! A tile is 16 rows of 64 bytes. The instructions have no stable intrinsics, so they are written as assembly.

use std::arch::asm;
use std::arch::x86_64::*;

use super::simd::{Avx512, Simd};
use super::stored::Stored;
use super::threads::Line;
use super::tiles::{DEPTH, HEIGHT, Job, STEPS, WIDTH};

/// Bytes of a tile.
const TILE: usize = 1024;
/// Lines of the sums of one panel at one height.
const SUMS: usize = 4 * TILE / 64;

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


/// The nearest bf16 of 32 numbers, and what is left.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn nearest([first, second]: [__m512; 2]) -> (__m512i, [__m512; 2]) {
    // SAFETY: both types are 64 bytes.
    let near: __m512i = unsafe { std::mem::transmute(_mm512_cvtne2ps_pbh(second, first)) };
    let wide = |half| _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(half)));
    let back = [wide(_mm512_castsi512_si256(near)), wide(_mm512_extracti64x4_epi64::<1>(near))];
    (near, [_mm512_sub_ps(first, back[0]), _mm512_sub_ps(second, back[1])])
}

/// Writes the parts of 32 numbers, `stride` bytes apart.
///
/// # Safety
///
/// `to` must have room.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn put_parts(parts: usize, numbers: [__m512; 2], to: *mut u8, stride: usize) {
    let mut rest = numbers;
    for part in 0..parts {
        let (near, left) = nearest(rest);
        // SAFETY: the caller's promise.
        unsafe { _mm512_storeu_si512(to.add(part * stride).cast(), near) };
        rest = left;
    }
}

/// Writes the parts of a pixel's numbers: of every 32 numbers the first parts, then the second, then the third.
///
/// # Safety
///
/// [`available`] must hold; `to` must have room for all parts; the count of numbers is a multiple of 32.
#[target_feature(enable = "avx512f,avx512bf16")]
pub(super) unsafe fn split(parts: usize, numbers: &[f32], to: *mut u16) {
    for (index, numbers) in numbers.chunks_exact(DEPTH).enumerate() {
        // SAFETY: 32 numbers are read and their parts written.
        unsafe {
            let both = [_mm512_loadu_ps(numbers.as_ptr()), _mm512_loadu_ps(numbers.as_ptr().add(16))];
            put_parts(parts, both, to.add(index * parts * DEPTH).cast(), 64);
        }
    }
}

/// The parts that weights are made of.
fn parts_of(weights: &Stored) -> usize {
    match weights {
        Stored::F32(_) => 3,
        Stored::F16(_) => 2,
        Stored::BF16(_) => 1,
    }
}

/// Writes the parts of a run of weights as tiles: of every step of 32 inputs the two tiles of first parts, then those of
/// the others.
///
/// # Safety
///
/// [`available`] must hold; `to` must have room; the run consists of whole steps.
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn put_weights(weights: &Stored, start: usize, count: usize, to: *mut u8) {
    let parts = parts_of(weights);
    // SAFETY: the weights are there, as the slices show; room is the caller's promise.
    unsafe {
        let place = |at: usize| to.add(at / (DEPTH * WIDTH) * parts * 2 * TILE + at % (DEPTH * WIDTH) * 2);
        match weights {
            Stored::F32(lines) => {
                let from = lines[start / 16..(start + count) / 16].as_ptr().cast::<f32>();
                for at in (0..count).step_by(32) {
                    let both = [_mm512_loadu_ps(from.add(at)), _mm512_loadu_ps(from.add(at + 16))];
                    put_parts(3, both, place(at), 2 * TILE);
                }
            }
            Stored::F16(numbers) => {
                let from = numbers[start..start + count].as_ptr();
                for at in (0..count).step_by(32) {
                    let wide = |at| _mm512_cvtph_ps(_mm256_loadu_si256(from.add(at).cast()));
                    put_parts(2, [wide(at), wide(at + 16)], place(at), 2 * TILE);
                }
            }
            Stored::BF16(numbers) => {
                let from = numbers[start..start + count].as_ptr();
                std::ptr::copy_nonoverlapping(from, to.cast(), count);
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

/// Does a job.
///
/// # Safety
///
/// [`available`] must hold, and the job's inputs and outputs be there.
#[target_feature(enable = "avx512f,avx512bf16")]
pub(super) unsafe fn run(job: &Job<'_>) {
    let shapes = Shapes::ALL_WHOLE;
    // SAFETY: the caller's promise. The tiles are given back before anything else runs on this thread.
    unsafe {
        asm!("ldtilecfg [{}]", in(reg) shapes.0.as_ptr(), options(nostack));
        match (job.packed.isa.rounds(), parts_of(&job.packed.weights)) {
            (true, _) => multiply::<1, 1>(job),
            (false, 1) => multiply::<3, 1>(job),
            (false, 2) => multiply::<3, 2>(job),
            (false, _) => multiply::<3, 3>(job),
        }
        asm!("tilerelease", options(nomem, nostack));
    }
}

/// Inputs of `X` parts times weights of `W` parts.
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn multiply<const X: usize, const W: usize>(job: &Job<'_>) {
    let inputs = job.packed.inputs;
    let (steps, stride) = (inputs / DEPTH, inputs * X * 2);
    let heights = job.positions.len().div_ceil(HEIGHT);
    // A product of a single run of steps has done with its sums at once.
    let several = steps * job.packed.taps > STEPS;
    let mut sums = vec![Line([0.0; 16]); SUMS * if several { heights * job.panels.len() } else { 1 }];
    let mut weights = vec![Line([0.0; 16]); STEPS.min(steps) * W * 2 * TILE / 64];
    for (tap, offset) in job.offsets.iter().enumerate() {
        for first in (0..steps).step_by(STEPS) {
            let count = STEPS.min(steps - first);
            let is_first = tap == 0 && first == 0;
            let is_last = tap + 1 == job.offsets.len() && first + count == steps;
            for panel in job.panels.clone() {
                let start = (panel * job.packed.taps + tap) * inputs * WIDTH + first * DEPTH * WIDTH;
                // SAFETY: there is room for so many steps.
                unsafe {
                    put_weights(&job.packed.weights, start, count * DEPTH * WIDTH, weights.as_mut_ptr().cast());
                }
                for height in 0..heights {
                    let position = job.positions.start + height * HEIGHT;
                    let rows = HEIGHT.min(job.positions.end - position);
                    let place = if several { (panel - job.panels.start) * heights + height } else { 0 };
                    let sums = &mut sums[place * SUMS..][..SUMS];
                    // SAFETY: inputs are there for a whole height from each position on, sums for four tiles.
                    unsafe {
                        let x = job.x.add((position + offset) * stride + first * X * 64);
                        let sums = sums.as_mut_ptr().cast();
                        if rows > HEIGHT / 2 {
                            step::<2, X, W>(x, stride, weights.as_ptr().cast(), count, sums, is_first);
                        } else {
                            step::<1, X, W>(x, stride, weights.as_ptr().cast(), count, sums, is_first);
                        }
                    }
                    if is_last {
                        // SAFETY: as above, and the outputs are the job's.
                        unsafe { finish(job, panel, position, rows, sums) };
                    }
                }
            }
        }
    }
}

/// Adds the bias to finished sums and writes them.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn finish(job: &Job<'_>, panel: usize, position: usize, rows: usize, sums: &[Line]) {
    // SAFETY: a panel has two vectors of biases; the pixels are the job's.
    unsafe {
        let bias = [0, 1].map(|n| Avx512::load(job.target.bias[panel * WIDTH + n * 16..].as_ptr()));
        for row in 0..rows {
            let Some(pixel) = job.pixel(position + row) else { continue };
            let at = row / 16 * 32 + row % 16;
            let sum = [0, 1].map(|n| Avx512::add(Avx512::load(sums[at + n * 16].0.as_ptr()), bias[n]));
            job.target.finish::<Avx512, 2>(panel, pixel, sum, true);
        }
    }
}

/// Loads a part of the inputs, of 16 or 32 positions.
macro_rules! x {
    (1, $at:literal) => {
        concat!("tileloadd tmm4, [{x} + {s} + ", $at, "]\n")
    };
    (2, $at:literal) => {
        concat!("tileloadd tmm4, [{x} + {s} + ", $at, "]\ntileloadd tmm5, [{y} + {s} + ", $at, "]\n")
    };
}

/// Loads a part of the weights of 32 outputs.
macro_rules! w {
    ($at:literal) => {
        concat!("tileloadd tmm6, [{w} + {l} + ", $at, "]\ntileloadd tmm7, [{w} + {l} + ", $at, " + 1024]\n")
    };
}

/// Multiplies what is loaded.
macro_rules! multiply {
    (1) => {
        "tdpbf16ps tmm0, tmm4, tmm6\ntdpbf16ps tmm1, tmm4, tmm7\n"
    };
    (2) => {
        concat!(multiply!(1), "tdpbf16ps tmm2, tmm5, tmm6\ntdpbf16ps tmm3, tmm5, tmm7\n")
    };
}

/// Loads and multiplies one after another.
macro_rules! run {
    ($x:ident, $y:ident, $stride:ident, $w:ident; $($code:expr),*) => {
        asm!(concat!("/* {y} */\n", $($code),*), x = in(reg) $x, y = in(reg) $y, s = in(reg) $stride, w = in(reg) $w,
            l = in(reg) 64usize, options(nostack, readonly))
    };
}

/// One step of products of `$M` times 16 positions. From one pair of parts to the next one side changes; the largest
/// come last.
macro_rules! products {
    ($M:tt, $($names:ident),*) => {
        match (X, W) {
            (1, _) => run!($($names),*; w!(0), x!($M, 0), multiply!($M)),
            (_, 1) => run!($($names),*; w!(0), x!($M, 128), multiply!($M), x!($M, 64), multiply!($M), x!($M, 0),
                multiply!($M)),
            (_, 2) => run!($($names),*; w!(2048), x!($M, 64), multiply!($M), x!($M, 0), multiply!($M), w!(0),
                x!($M, 128), multiply!($M), x!($M, 64), multiply!($M), x!($M, 0), multiply!($M)),
            _ => run!($($names),*; w!(4096), x!($M, 0), multiply!($M), w!(0), x!($M, 128), multiply!($M), x!($M, 64),
                multiply!($M), w!(2048), multiply!($M), x!($M, 0), multiply!($M), w!(0), multiply!($M)),
        }
    };
}

/// Adds `steps` steps of products of `M` times 16 positions and 32 outputs to the sums, which are 0 at `first`.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn step<const M: usize, const X: usize, const W: usize>(
    x: *const u8,
    stride: usize,
    weights: *const u8,
    steps: usize,
    sums: *mut u8,
    first: bool,
) {
    // SAFETY: the caller's promise that inputs, weights and sums are there.
    unsafe {
        if first {
            asm!("tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3", options(nomem, nostack));
        } else {
            asm!("tileloadd tmm0, [{c} + {l}]", "tileloadd tmm1, [{c} + {l} + 1024]", c = in(reg) sums, l = in(reg) 64usize, options(nostack, readonly));
            if M == 2 {
                asm!("tileloadd tmm2, [{c} + {l} + 2048]", "tileloadd tmm3, [{c} + {l} + 3072]", c = in(reg) sums, l = in(reg) 64usize, options(nostack, readonly));
            }
        }
        let (mut x, mut w) = (x, weights);
        for _ in 0..steps {
            let y = x.add(16 * stride);
            if M == 2 {
                products!(2, x, y, stride, w);
            } else {
                products!(1, x, y, stride, w);
            }
            x = x.add(X * 64);
            w = w.add(W * 2 * TILE);
        }
        asm!("tilestored [{c} + {l}], tmm0", "tilestored [{c} + {l} + 1024], tmm1", c = in(reg) sums, l = in(reg) 64usize, options(nostack));
        if M == 2 {
            asm!("tilestored [{c} + {l} + 2048], tmm2", "tilestored [{c} + {l} + 3072], tmm3", c = in(reg) sums, l = in(reg) 64usize, options(nostack));
        }
    }
}
