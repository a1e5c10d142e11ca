//! Numbers that all threads read at once, piece by piece, and that become f32 on the way.

use rayon::prelude::*;

use super::simd::{Isa, Simd, Task};
use super::threads::want_large_pages;

/// How numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Format {
    F32,
    F16,
    BF16,
}

/// Numbers that are read at a time: they fit into the second-level cache.
const PIECE: usize = 1 << 16;

/// `count` numbers as f32; `read` gives the bytes from a place on.
pub(in crate::engine) fn read_numbers<E: Send>(
    isa: Isa,
    format: Format,
    count: usize,
    read: impl Fn(usize, &mut [u8]) -> Result<(), E> + Sync,
) -> Result<Vec<f32>, E> {
    let mut numbers = vec![0.0; count];
    want_large_pages(&numbers);
    let piece = |stored: &mut Vec<u16>, (at, to): (usize, &mut [f32])| {
        if format == Format::F32 {
            // SAFETY: the same memory as bytes, any of which make numbers.
            let bytes = unsafe { std::slice::from_raw_parts_mut(to.as_mut_ptr().cast::<u8>(), size_of_val(to)) };
            return read(at * PIECE * size_of::<f32>(), bytes);
        }
        stored.resize(to.len(), 0);
        // SAFETY: as above.
        let bytes = unsafe { std::slice::from_raw_parts_mut(stored.as_mut_ptr().cast::<u8>(), 2 * to.len()) };
        read(at * PIECE * size_of::<u16>(), bytes)?;
        // SAFETY: the machine has the set, and both are slices.
        unsafe { isa.run(Widen { from: stored, format, to }) };
        Ok(())
    };
    if count <= PIECE {
        piece(&mut Vec::new(), (0, &mut numbers))?;
    } else {
        let pieces = numbers.par_chunks_mut(PIECE).enumerate();
        pieces.try_for_each_init(Vec::new, piece)?;
    }
    Ok(numbers)
}

/// 16-bit numbers to f32, whatever they are: what a file holds need not be finite.
struct Widen<'a> {
    from: &'a [u16],
    format: Format,
    to: &'a mut [f32],
}

impl Task for Widen<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let pairs = self.to.iter_mut().zip(self.from);
        if self.format == Format::BF16 {
            pairs.for_each(|(to, from)| *to = f32::from_bits(u32::from(*from) << 16));
            return;
        }
        // The exponent's bias grows by 112, which makes normal numbers of the subnormal, too.
        let factor = f32::from_bits((127 + 112) << 23);
        pairs.for_each(|(to, from)| {
            let bits = u32::from(*from);
            let size = f32::from_bits((bits & 0x7fff) << 13) * factor;
            // The largest exponent stands for infinity and for what is no number.
            let infinite = if bits & 0x7c00 == 0x7c00 { 0x7f80_0000 } else { 0 };
            *to = f32::from_bits(size.to_bits() | infinite | (bits & 0x8000) << 16);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::{Format, PIECE, read_numbers};
    use crate::engine::kernel::Isa;

    /// Every number of 16 bits there is, and a piece and a bit of them.
    #[test]
    fn every_number_becomes_what_it_is() {
        let count = PIECE + 77;
        let number = |at: usize| at as u16;
        let f16 = |at: usize| half::f16::from_bits(number(at)).to_f32();
        let bf16 = |at: usize| half::bf16::from_bits(number(at)).to_f32();
        let read = |from: usize, bytes: &mut [u8]| {
            for (at, byte) in bytes.iter_mut().enumerate() {
                *byte = number((from + at) / 2).to_le_bytes()[(from + at) % 2];
            }
            Ok::<_, ()>(())
        };
        for isa in Isa::available() {
            for (format, expected) in [(Format::F16, &f16 as &dyn Fn(usize) -> f32), (Format::BF16, &bf16)] {
                let numbers = read_numbers(isa, format, count, read).unwrap();
                for (at, ours) in numbers.iter().enumerate() {
                    let theirs = expected(at);
                    assert!(ours.to_bits() == theirs.to_bits() || ours.is_nan() && theirs.is_nan(), "{isa:?} {at:#x}");
                }
            }
            let wide = |from: usize, bytes: &mut [u8]| {
                bytes.chunks_mut(4).enumerate().for_each(|(at, to)| {
                    to.copy_from_slice(&((from / 4 + at) as f32).to_le_bytes());
                });
                Ok::<_, ()>(())
            };
            let numbers = read_numbers(isa, Format::F32, count, wide).unwrap();
            assert!(numbers.iter().enumerate().all(|(at, number)| *number == at as f32));
            let failing = |from: usize, _: &mut [u8]| if from > 0 { Err("cut short") } else { Ok(()) };
            assert_eq!(read_numbers(isa, Format::F16, count, failing), Err("cut short"));
        }
    }
}
