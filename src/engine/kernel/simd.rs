//! Vectors of f32 as each instruction set has them, behind one trait, and the choice of the set at run time.
//!
//! A kernel is a [`Task`], written once for every [`Simd`]. [`Isa::run`] compiles it into a function that may use the
//! set's instructions; everything below it must be inlined, or it would call a function for every addition.

use std::fmt;

#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "x86_64")]
mod x86;
#[cfg(target_arch = "x86_64")]
pub(super) use x86::Avx512;

#[cfg(target_arch = "x86_64")]
use super::amx;

/// The rows of the tallest tile of any instruction set.
pub(super) const MOST_ROWS: usize = 12;
/// The numbers in the longest vector.
pub(super) const MOST_LANES: usize = 16;

/// The operations of an instruction set on vectors of [`LANES`](Self::LANES) numbers.
///
/// # Safety
///
/// Everything here may be called only where the set is available; what takes a pointer reads or writes `LANES` numbers
/// behind it, or `count` where a count is given.
pub(super) trait Simd: Copy {
    /// Numbers in a vector.
    const LANES: usize;
    /// Rows of a tile of a matrix product that is two vectors wide: about as many as the registers hold.
    const ROWS: usize;
    /// Numbers in a cell, which is what a product multiplies in each lane: one f32, or two bf16 in its place.
    const CELL: usize = 1;
    /// A vector.
    type V: Copy;

    /// Runs a task in a function that may use the set's instructions.
    unsafe fn call<T: Task>(task: T) -> T::Output;

    unsafe fn splat(x: f32) -> Self::V;
    unsafe fn load(from: *const f32) -> Self::V;
    unsafe fn store(to: *mut f32, v: Self::V);
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn div(a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The larger, or `b` if one is not a number.
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    /// The smaller, or `b` if one is not a number.
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V;
    /// 2^n, where `biased` is n + 1.5 * 2^23: the integer n then stands in the lowest bits.
    unsafe fn power_of_two(biased: Self::V) -> Self::V;

    /// `sum` and the products of the numbers in each cell of `x` and `w`.
    #[inline(always)]
    unsafe fn multiply(x: Self::V, w: Self::V, sum: Self::V) -> Self::V {
        // SAFETY: the caller's promise.
        unsafe { Self::fma(x, w, sum) }
    }

    /// Two vectors as the cells that hold their numbers in order, where cells hold two.
    #[inline(always)]
    unsafe fn narrow(_: Self::V, _: Self::V) -> Self::V {
        unreachable!("cells hold one number")
    }

    /// Two vectors as cells of a number of each, where cells hold two.
    #[inline(always)]
    unsafe fn pair(_: Self::V, _: Self::V) -> Self::V {
        unreachable!("cells hold one number")
    }

    /// As many numbers of 16 bits, 5 of them for the exponent.
    #[inline(always)]
    unsafe fn load_f16(from: *const u16) -> Self::V {
        // The exponent's bias grows by 112, which makes normal numbers of the subnormal, too.
        let factor = f32::from_bits((127 + 112) << 23);
        let mut buffer = [0f32; MOST_LANES];
        // SAFETY: the caller gives so many numbers, and no vector is longer than the buffer.
        unsafe {
            for at in 0..Self::LANES {
                let from = *from.add(at);
                let size = f32::from_bits(u32::from(from & 0x7fff) << 13) * factor;
                buffer[at] = f32::from_bits(size.to_bits() | u32::from(from & 0x8000) << 16);
            }
            Self::load(buffer.as_ptr())
        }
    }

    /// As many numbers of 16 bits, the upper half of an f32 each.
    #[inline(always)]
    unsafe fn load_bf16(from: *const u16) -> Self::V {
        let mut buffer = [0f32; MOST_LANES];
        // SAFETY: as above.
        unsafe {
            for at in 0..Self::LANES {
                buffer[at] = f32::from_bits(u32::from(*from.add(at)) << 16);
            }
            Self::load(buffer.as_ptr())
        }
    }

    /// Asks for the cache line at a place, which need not be there, to be near when it is read.
    #[inline(always)]
    unsafe fn prefetch(from: *const f32) {
        let _ = from;
    }

    /// Asks for the cache line at a place, which need not be there, to be near when it is written.
    #[inline(always)]
    unsafe fn prefetch_to_write(to: *mut f32) {
        let _ = to;
    }

    #[inline(always)]
    unsafe fn load_some(from: *const f32, count: usize) -> Self::V {
        let mut buffer = [0f32; MOST_LANES];
        // SAFETY: the caller gives `count` numbers, and no vector is longer than the buffer.
        unsafe {
            if count >= Self::LANES {
                return Self::load(from);
            }
            std::ptr::copy_nonoverlapping(from, buffer.as_mut_ptr(), count);
            Self::load(buffer.as_ptr())
        }
    }

    #[inline(always)]
    unsafe fn store_some(to: *mut f32, v: Self::V, count: usize) {
        let mut buffer = [0f32; MOST_LANES];
        // SAFETY: as above.
        unsafe {
            if count >= Self::LANES {
                return Self::store(to, v);
            }
            Self::store(buffer.as_mut_ptr(), v);
            std::ptr::copy_nonoverlapping(buffer.as_ptr(), to, count);
        }
    }

    /// Turns a square of [`LANES`](Self::LANES) vectors, the first of these: rows become columns.
    #[inline(always)]
    unsafe fn turn(square: &mut [Self::V; MOST_LANES]) {
        let mut numbers = [[0f32; MOST_LANES]; MOST_LANES];
        // SAFETY: no vector is longer than a line of numbers.
        unsafe {
            for at in 0..Self::LANES {
                Self::store(numbers[at].as_mut_ptr(), square[at]);
            }
            for at in 0..Self::LANES {
                let mut column = [0f32; MOST_LANES];
                for line in 0..Self::LANES {
                    column[line] = numbers[line][at];
                }
                square[at] = Self::load(column.as_ptr());
            }
        }
    }

    #[inline(always)]
    unsafe fn sum(v: Self::V) -> f32 {
        // SAFETY: no vector is longer than the buffer.
        unsafe {
            let mut buffer = [0f32; MOST_LANES];
            Self::store(buffer.as_mut_ptr(), v);
            buffer[..Self::LANES].iter().sum()
        }
    }
}

/// A piece of work for any instruction set.
pub(super) trait Task {
    type Output;

    /// # Safety
    ///
    /// The set must be available, and what the task's pointers point to must be there.
    unsafe fn run<S: Simd>(self) -> Self::Output;
}

/// An instruction set that this machine has, and how precisely it is to multiply.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Isa {
    kind: Kind,
    rounds: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// AVX-512, and the matrix unit for products.
    #[cfg(target_arch = "x86_64")]
    Amx,
    /// AVX-512, and its products of bf16 where numbers are rounded to it.
    #[cfg(target_arch = "x86_64")]
    Avx512Bf16,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "aarch64")]
    Neon,
    Portable,
}

impl fmt::Debug for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

impl Isa {
    /// All that this machine has, the fastest first.
    pub fn available() -> Vec<Self> {
        let mut kinds = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if amx::available() {
                kinds.push(Kind::Amx);
            }
            let has_bf16 = is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512bf16");
            if is_x86_feature_detected!("avx512f") {
                kinds.push(Kind::Avx512);
            }
            if is_x86_feature_detected!("avx512f") && has_bf16 {
                // Intel's vectors multiply bf16 half as fast as f32.
                let at = kinds.len() - usize::from(!x86::is_of_intel());
                kinds.insert(at, Kind::Avx512Bf16);
            }
            let has_fma = is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c");
            if is_x86_feature_detected!("avx2") && has_fma {
                kinds.push(Kind::Avx2);
            }
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("neon") {
            kinds.push(Kind::Neon);
        }
        kinds.push(Kind::Portable);
        kinds.into_iter().map(|kind| Self { kind, rounds: false }).collect()
    }

    /// The fastest.
    pub fn best() -> Self {
        Self::available()[0]
    }

    /// The same with weights rounded to bf16, and, where the machine is faster at such numbers, inputs of products as well.
    pub fn rounding(self) -> Self {
        Self { rounds: true, ..self }
    }

    /// Whether numbers are rounded to bf16 before they are multiplied.
    pub(super) fn rounds(self) -> bool {
        self.rounds
    }

    /// Whether products are left to the matrix unit where their sizes allow it.
    pub(super) fn has_matrix_unit(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        return self.kind == Kind::Amx;
        #[cfg(not(target_arch = "x86_64"))]
        false
    }

    /// Whether products whose sums have so many terms are of cells that hold two numbers.
    pub(super) fn pairs(self, terms: usize) -> bool {
        #[cfg(target_arch = "x86_64")]
        return self.kind == Kind::Avx512Bf16 && self.rounds && terms.is_multiple_of(2);
        #[cfg(not(target_arch = "x86_64"))]
        {
            let _ = terms;
            false
        }
    }

    /// Numbers in a vector.
    pub(super) fn lanes(self) -> usize {
        match self.kind {
            #[cfg(target_arch = "x86_64")]
            Kind::Amx | Kind::Avx512Bf16 | Kind::Avx512 => x86::Avx512::LANES,
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => x86::Avx2::LANES,
            #[cfg(target_arch = "aarch64")]
            Kind::Neon => neon::Neon::LANES,
            Kind::Portable => Portable::LANES,
        }
    }

    /// Runs a task with this set.
    ///
    /// # Safety
    ///
    /// What the task's pointers point to must be there.
    pub(super) unsafe fn run<T: Task>(self, task: T) -> T::Output {
        // SAFETY: a value of this type is only made for a set that was detected; the rest is the caller's promise.
        unsafe {
            match self.kind {
                #[cfg(target_arch = "x86_64")]
                Kind::Amx | Kind::Avx512Bf16 | Kind::Avx512 => x86::Avx512::call(task),
                #[cfg(target_arch = "x86_64")]
                Kind::Avx2 => x86::Avx2::call(task),
                #[cfg(target_arch = "aarch64")]
                Kind::Neon => neon::Neon::call(task),
                Kind::Portable => Portable::call(task),
            }
        }
    }

    /// Like [`run`](Self::run); if `pairs`, which must be what [`pairs`](Self::pairs) says, with cells of two numbers.
    ///
    /// # Safety
    ///
    /// As above.
    pub(super) unsafe fn run_product<T: Task>(self, pairs: bool, task: T) -> T::Output {
        // SAFETY: as above.
        unsafe {
            #[cfg(target_arch = "x86_64")]
            if pairs {
                return x86::Avx512Bf16::call(task);
            }
            let _ = pairs;
            self.run(task)
        }
    }
}

/// What every machine can do: arrays, which the compiler turns into whatever vectors it may assume.
#[derive(Clone, Copy)]
struct Portable;

#[inline(always)]
fn each(a: [f32; 4], b: [f32; 4], f: impl Fn(f32, f32) -> f32) -> [f32; 4] {
    [f(a[0], b[0]), f(a[1], b[1]), f(a[2], b[2]), f(a[3], b[3])]
}

impl Simd for Portable {
    const LANES: usize = 4;
    const ROWS: usize = 4;
    type V = [f32; 4];

    unsafe fn call<T: Task>(task: T) -> T::Output {
        // SAFETY: the caller's promise.
        unsafe { task.run::<Self>() }
    }

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self::V {
        [x; 4]
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self::V {
        // SAFETY: the caller's promise; the read need not be aligned.
        unsafe { from.cast::<[f32; 4]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, v: Self::V) {
        // SAFETY: as above.
        unsafe { to.cast::<[f32; 4]>().write_unaligned(v) }
    }

    #[inline(always)]
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V {
        each(a, b, |a, b| a + b)
    }

    #[inline(always)]
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V {
        each(a, b, |a, b| a - b)
    }

    #[inline(always)]
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V {
        each(a, b, |a, b| a * b)
    }

    #[inline(always)]
    unsafe fn div(a: Self::V, b: Self::V) -> Self::V {
        each(a, b, |a, b| a / b)
    }

    #[inline(always)]
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // Not `mul_add`, which calls a function where the machine has no such instruction.
        each(each(a, b, |a, b| a * b), c, |a, b| a + b)
    }

    #[inline(always)]
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V {
        each(a, b, |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V {
        each(a, b, |a, b| if a < b { a } else { b })
    }

    #[inline(always)]
    unsafe fn power_of_two(biased: Self::V) -> Self::V {
        biased.map(|x| f32::from_bits((x.to_bits() << 23).wrapping_add(0x3f80_0000)))
    }
}
