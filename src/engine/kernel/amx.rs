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
pub(super) unsafe fn execute(job: &Job<'_>) {
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
    let all = steps * job.offsets.len();
    let heights = job.positions.len().div_ceil(HEIGHT);
    // A product of a single block has done with its sums at once.
    let kept = if all > STEPS { heights * job.panels.len() } else { 1 };
    let mut sums = vec![Line([0.0; 16]); SUMS * kept];
    // One step more, since the last step reads what would be the next.
    let mut weights = vec![Line([0.0; 16]); (STEPS.min(all) + 1) * W * 2 * TILE / 64];
    for block in (0..all).step_by(STEPS) {
        let block = block..all.min(block + STEPS);
        for panel in job.panels.clone() {
            let start = (panel * all + block.start) * DEPTH * WIDTH;
            // SAFETY: there is room for so many steps.
            unsafe {
                put_weights(&job.packed.weights, start, block.len() * DEPTH * WIDTH, weights.as_mut_ptr().cast());
            }
            for height in 0..heights {
                let position = job.positions.start + height * HEIGHT;
                let rows = HEIGHT.min(job.positions.end - position);
                let place = ((panel - job.panels.start) * heights + height) % kept;
                let sums = &mut sums[place * SUMS..][..SUMS];
                // SAFETY: inputs are there for a whole height from each position on, sums for four tiles.
                unsafe {
                    let at = sums.as_mut_ptr().cast();
                    if rows > HEIGHT / 2 {
                        load::<2>(at, block.start == 0)
                    } else {
                        load::<1>(at, block.start == 0)
                    }
                    let mut step = block.start;
                    while step < block.end {
                        let (tap, first) = (step / steps, step % steps);
                        let count = (steps - first).min(block.end - step);
                        let x = job.x.add((position + job.offsets[tap]) * stride + first * X * 64);
                        let w = weights.as_ptr().cast::<u8>().add((step - block.start) * W * 2 * TILE);
                        if rows > HEIGHT / 2 {
                            run::<2, X, W>(x, stride, w, count)
                        } else {
                            run::<1, X, W>(x, stride, w, count)
                        }
                        step += count;
                    }
                    if rows > HEIGHT / 2 { store::<2>(at) } else { store::<1>(at) }
                }
                if block.end == all {
                    // SAFETY: as above, and the outputs are the job's.
                    unsafe { finish(job, panel, position, rows, sums) };
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

/// Loads a part of the inputs of 16 positions, the first or the second.
macro_rules! x {
    (0, $at:literal) => {
        concat!("tileloadd tmm4, [{x} + {s} + ", $at, "]\n")
    };
    (1, $at:literal) => {
        concat!("tileloadd tmm5, [{y} + {s} + ", $at, "]\n")
    };
}

/// Loads a part of the weights of 16 outputs, the first or the second.
macro_rules! w {
    (0, $at:literal) => {
        concat!("tileloadd tmm6, [{w} + {l} + ", $at, "]\n")
    };
    (1, $at:literal) => {
        concat!("tileloadd tmm7, [{w} + {l} + ", $at, " + 1024]\n")
    };
}

/// Multiplies all that is loaded, of 16 or 32 positions, and then loads other inputs, other weights, or both. The unit
/// loads while it multiplies only into a register that it has done with: hence the order.
macro_rules! multiply {
    (1, x $x:literal) => {
        concat!("tdpbf16ps tmm0, tmm4, tmm6\ntdpbf16ps tmm1, tmm4, tmm7\n", x!(0, $x))
    };
    (1, w $w:literal) => {
        concat!("tdpbf16ps tmm0, tmm4, tmm6\n", w!(0, $w), "tdpbf16ps tmm1, tmm4, tmm7\n", w!(1, $w))
    };
    (1, x $x:literal, w $w:literal) => {
        concat!("tdpbf16ps tmm0, tmm4, tmm6\n", w!(0, $w), "tdpbf16ps tmm1, tmm4, tmm7\n", x!(0, $x), w!(1, $w))
    };
    (2, x $x:literal) => {
        concat!(multiply!(1, x $x), "tdpbf16ps tmm2, tmm5, tmm6\ntdpbf16ps tmm3, tmm5, tmm7\n", x!(1, $x))
    };
    (2, w $w:literal) => {
        concat!(
            "tdpbf16ps tmm0, tmm4, tmm6\ntdpbf16ps tmm2, tmm5, tmm6\n",
            w!(0, $w),
            "tdpbf16ps tmm1, tmm4, tmm7\ntdpbf16ps tmm3, tmm5, tmm7\n",
            w!(1, $w)
        )
    };
    (2, x $x:literal, w $w:literal) => {
        concat!(
            "tdpbf16ps tmm0, tmm4, tmm6\ntdpbf16ps tmm2, tmm5, tmm6\n",
            w!(0, $w),
            "tdpbf16ps tmm1, tmm4, tmm7\n",
            x!(0, $x),
            "tdpbf16ps tmm3, tmm5, tmm7\n",
            x!(1, $x),
            w!(1, $w)
        )
    };
}

/// Runs code on the names of the inputs of 16 positions and of 16 more, their stride, and the weights.
macro_rules! run {
    ($x:ident, $y:ident, $stride:ident, $w:ident; $($code:expr),*) => {
        asm!(concat!("/* {x} {y} {s} {w} {l} */\n", $($code),*), x = in(reg) $x, y = in(reg) $y, s = in(reg) $stride,
            w = in(reg) $w, l = in(reg) 64usize, options(nostack, readonly))
    };
}

/// Loads what the first step begins with.
macro_rules! begin {
    ($($names:ident),*) => {
        match (X, W) {
            (3, 3) => run!($($names),*; w!(0, 4096), x!(0, 0), x!(1, 0), w!(1, 4096)),
            (3, _) => run!($($names),*; w!(0, 0), x!(0, 128), x!(1, 128), w!(1, 0)),
            _ => run!($($names),*; w!(0, 0), x!(0, 0), x!(1, 0), w!(1, 0)),
        }
    };
}

/// One step of products of `$M` times 16 positions. From one pair of parts to the next one side changes; at the end what
/// the next step begins with is loaded.
macro_rules! products {
    ($M:tt, $($names:ident),*) => {
        match (X, W) {
            (1, _) => run!($($names),*; multiply!($M, x 64, w 2048)),
            (_, 1) => run!($($names),*; multiply!($M, x 64), multiply!($M, x 0), multiply!($M, x 320, w 2048)),
            (_, 2) => run!($($names),*; multiply!($M, x 0), multiply!($M, w 2048), multiply!($M, x 64),
                multiply!($M, w 0), multiply!($M, x 320, w 4096)),
            _ => run!($($names),*; multiply!($M, w 0), multiply!($M, x 128), multiply!($M, x 64), multiply!($M, w 2048),
                multiply!($M, x 0), multiply!($M, x 192, w 10240)),
        }
    };
}

/// Loads the sums of `M` times 16 positions and 32 outputs, which are 0 at `first`.
#[inline(always)]
unsafe fn load<const M: usize>(sums: *const u8, first: bool) {
    // SAFETY: the caller's promise that the sums are there.
    unsafe {
        if first {
            asm!("tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3", options(nomem, nostack));
            return;
        }
        asm!("tileloadd tmm0, [{c} + {l}]", "tileloadd tmm1, [{c} + {l} + 1024]",
            c = in(reg) sums, l = in(reg) 64usize, options(nostack, readonly));
        if M == 2 {
            asm!("tileloadd tmm2, [{c} + {l} + 2048]", "tileloadd tmm3, [{c} + {l} + 3072]",
                c = in(reg) sums, l = in(reg) 64usize, options(nostack, readonly));
        }
    }
}

/// Stores them.
#[inline(always)]
unsafe fn store<const M: usize>(sums: *mut u8) {
    // SAFETY: as above.
    unsafe {
        asm!("tilestored [{c} + {l}], tmm0", "tilestored [{c} + {l} + 1024], tmm1",
            c = in(reg) sums, l = in(reg) 64usize, options(nostack));
        if M == 2 {
            asm!("tilestored [{c} + {l} + 2048], tmm2", "tilestored [{c} + {l} + 3072], tmm3",
                c = in(reg) sums, l = in(reg) 64usize, options(nostack));
        }
    }
}

/// Adds `steps` steps of products to the sums.
#[inline(always)]
unsafe fn run<const M: usize, const X: usize, const W: usize>(
    x: *const u8,
    stride: usize,
    weights: *const u8,
    steps: usize,
) {
    // SAFETY: the caller's promise that inputs and weights are there, and one step more.
    unsafe {
        let (mut x, mut w) = (x, weights);
        let y = x.wrapping_add(16 * stride);
        begin!(x, y, stride, w);
        for _ in 0..steps {
            let y = x.wrapping_add(16 * stride);
            if M == 2 {
                products!(2, x, y, stride, w);
            } else {
                products!(1, x, y, stride, w);
            }
            x = x.wrapping_add(X * 64);
            w = w.wrapping_add(W * 2 * TILE);
        }
    }
}
