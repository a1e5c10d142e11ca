//! The noise of a seed, as PyTorch's CPU generator makes it: Mersenne Twister and the normal transform of `torch.randn`.
//!
//! The bits are the same on every platform: every operation is one that IEEE 754 rounds exactly, fused where PyTorch's
//! vector code for x86 fuses it, so that they are also the bits of PyTorch there. (Its code for other processors differs
//! from that in the last places.) Only the few elements of the double-precision path need a library's functions.

mod single_precision;

use single_precision::{ln, sin_cos};

/// The stream of a `torch.Generator("cpu")`.
#[derive(Debug, Clone)]
pub struct NoiseStream {
    twister: Twister,
    /// The second normal of a pair from the path for few elements.
    spare: Option<f64>,
}

/// `torch.randn` fills tensors of at least so many elements by blocks of as many.
const BLOCK: usize = 16;

impl NoiseStream {
    /// The stream that `manual_seed(seed)` begins. PyTorch's generator uses the low 32 bits of a seed.
    pub fn new(seed: u64) -> Self {
        Self { twister: Twister::new(seed as u32), spare: None }
    }

    /// The next `count` normals of mean 0 and variance 1, as one call of `torch.randn` draws them.
    pub fn normals(&mut self, count: usize) -> Vec<f32> {
        if count < BLOCK {
            return (0..count).map(|_| self.single() as f32).collect();
        }
        let mut values: Vec<f32> = (0..count).map(|_| self.uniform()).collect();
        for block in values.chunks_exact_mut(BLOCK) {
            transform(block);
        }
        if !count.is_multiple_of(BLOCK) {
            // The last block overlaps its predecessor and is drawn afresh.
            let last = &mut values[count - BLOCK..];
            last.fill_with(|| self.uniform());
            transform(last);
        }
        values
    }

    /// The next 32 bits of the stream beneath.
    pub fn bits(&mut self) -> u32 {
        self.twister.next()
    }

    /// A uniform number of 24 bits in [0, 1).
    fn uniform(&mut self) -> f32 {
        (self.bits() & 0x00ff_ffff) as f32 / 16_777_216.0
    }

    /// A uniform number of 53 bits in [0, 1).
    fn uniform_f64(&mut self) -> f64 {
        let high = u64::from(self.bits());
        let bits = high << 32 | u64::from(self.bits());
        (bits & ((1 << 53) - 1)) as f64 / (1u64 << 53) as f64
    }

    /// One normal of the path for few elements, which draws in pairs and in `f64`.
    fn single(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        let angle = std::f64::consts::TAU * self.uniform_f64();
        let radius = libm::sqrt(-2.0 * libm::log1p(-self.uniform_f64()));
        self.spare = Some(radius * libm::sin(angle));
        radius * libm::cos(angle)
    }
}

/// Box and Muller's transform of a block: the first half holds the radii's uniforms, the second the angles'.
fn transform(block: &mut [f32]) {
    let (first, second) = block.split_at_mut(BLOCK / 2);
    for (a, b) in first.iter_mut().zip(second) {
        // 1 - a is exact and never 0.
        let radius = (-2.0 * ln(1.0 - *a)).sqrt();
        let (sine, cosine) = sin_cos(std::f32::consts::TAU * *b);
        *a = radius * cosine;
        *b = radius * sine;
    }
}

/// The Mersenne Twister MT19937 (Matsumoto and Nishimura 1998).
#[derive(Debug, Clone)]
struct Twister {
    state: Box<[u32; Self::LENGTH]>,
    next: usize,
}

impl Twister {
    const LENGTH: usize = 624;
    const SHIFT: usize = 397;

    fn new(seed: u32) -> Self {
        let mut state = Box::new([seed; Self::LENGTH]);
        for i in 1..Self::LENGTH {
            let before = state[i - 1];
            state[i] = (before ^ before >> 30).wrapping_mul(1_812_433_253).wrapping_add(i as u32);
        }
        Self { state, next: Self::LENGTH }
    }

    fn next(&mut self) -> u32 {
        if self.next == Self::LENGTH {
            self.renew();
        }
        let mut bits = self.state[self.next];
        self.next += 1;
        bits ^= bits >> 11;
        bits ^= bits << 7 & 0x9d2c_5680;
        bits ^= bits << 15 & 0xefc6_0000;
        bits ^ bits >> 18
    }

    fn renew(&mut self) {
        for i in 0..Self::LENGTH {
            let mixed = self.state[i] & 0x8000_0000 | self.state[(i + 1) % Self::LENGTH] & 0x7fff_ffff;
            let twist = if mixed & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[i] = self.state[(i + Self::SHIFT) % Self::LENGTH] ^ mixed >> 1 ^ twist;
        }
        self.next = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::Twister;

    #[test]
    fn the_twister_is_mt19937() {
        // The ten-thousandth number from the default seed, as the C++ standard gives it ([rand.predef]).
        let mut twister = Twister::new(5489);
        let last = (0..10_000).map(|_| twister.next()).last();
        assert_eq!(last, Some(4_123_659_995));
    }
}
