//! Group and layer normalisation.

use candle_core::{Device, Result, Tensor, bail};

use super::math::silu;
use super::moments::Moments;
use super::numbers::{channels_last, picture, with_contiguous};
use super::simd::{Isa, Simd, Task};
use super::threads::{Shared, each, filled, threads_for, want_large_pages};

/// Multiplications that normalising a number is worth.
const COST: usize = 16;
/// Pixels whose sums are kept in f32.
const SUMMED: usize = 256;

/// The scale and the shift for each channel behind a normalisation.
pub struct Norm {
    isa: Isa,
    epsilon: f64,
    scale: Vec<f32>,
    shift: Vec<f32>,
}

impl Norm {
    /// From `scale` and `shift` `[channels]`; `epsilon` is added to the variance.
    pub fn new(isa: Isa, epsilon: f64, scale: &Tensor, shift: &Tensor) -> Result<Self> {
        Ok(Self { isa, epsilon, scale: scale.flatten_all()?.to_vec1()?, shift: shift.flatten_all()?.to_vec1()? })
    }

    /// Over the last dimension.
    pub fn layer(&self, x: &Tensor) -> Result<Tensor> {
        let width = self.scale.len();
        let positions = x.elem_count() / width;
        let normed = with_contiguous(x, |numbers| {
            let threads = threads_for(numbers.len() * COST);
            let chunk = positions.div_ceil(4 * threads).max(1);
            // SAFETY: the jobs cover all positions, each of them once, and every position is written.
            Ok(unsafe {
                filled(numbers.len(), |out| {
                    each(threads, positions.div_ceil(chunk), |job| {
                        let start = job * chunk;
                        let x = &numbers[start * width..(start + chunk).min(positions) * width];
                        self.isa.run(Layer { norm: self, x, out: out.pointer().add(start * width) });
                    });
                })
            })
        })?;
        Tensor::from_vec(normed, x.shape(), &Device::Cpu)
    }

    /// Over groups of channels and all places of `[rows, channels, height, width]`; then silu if `activated`.
    pub fn group(&self, x: &Tensor, groups: usize, activated: bool) -> Result<Tensor> {
        let moments = self.moments(x)?;
        self.group_by(x, &moments, groups, activated)
    }

    /// The moments of each row of `[rows, channels, height, width]`.
    pub(in crate::engine) fn moments(&self, x: &Tensor) -> Result<Vec<Moments>> {
        let (rows, channels, height, width) = x.dims4()?;
        let pixels = height * width;
        with_contiguous(&channels_last(x)?, |x| {
            let parts = Parts::new(rows, pixels, x.len());
            let first = |row: usize| &x[row * pixels * channels..][..channels];
            let mut sums = vec![0f64; parts.count() * 2 * channels];
            let shared = SharedSums(sums.as_mut_ptr());
            each(parts.threads, parts.count(), |job| {
                let range = parts.pixels(job);
                let pixels = &x[range.start * channels..range.end * channels];
                // SAFETY: each job has sums of its own.
                unsafe {
                    let sums = std::slice::from_raw_parts_mut(shared.pointer().add(job * 2 * channels), 2 * channels);
                    self.isa.run(Sum { pixels, first: first(parts.row(job)), sums });
                }
            });
            let sums_of = |row: usize| &sums[row * parts.of_row * 2 * channels..][..parts.of_row * 2 * channels];
            Ok((0..rows).map(|row| Moments::of_sums(sums_of(row), first(row), pixels)).collect())
        })
    }

    /// Like [`group`](Self::group), by the moments of each row.
    fn group_by(&self, x: &Tensor, moments: &[Moments], groups: usize, activated: bool) -> Result<Tensor> {
        let (rows, channels, height, width) = x.dims4()?;
        let affine: Vec<Vec<f32>> = moments.iter().map(|moments| self.affine(moments, groups)).collect();
        let normed = with_contiguous(&channels_last(x)?, |x| {
            // SAFETY: all numbers are written.
            Ok(unsafe { filled(x.len(), |out| self.apply(x, &affine, activated, out.pointer())) })
        })?;
        picture(normed, [rows, channels, height, width])
    }

    /// Like [`group`](Self::group), of parts of one row that lie one below the other, by the moments of the whole picture.
    pub(in crate::engine) fn group_joined(
        &self,
        parts: &[&Tensor],
        moments: &Moments,
        groups: usize,
        activated: bool,
    ) -> Result<Tensor> {
        let [first, ..] = parts else { bail!("a picture without parts") };
        let (_, channels, _, width) = first.dims4()?;
        let affine = [self.affine(moments, groups)];
        let parts = parts.iter().map(|part| channels_last(part)).collect::<Result<Vec<_>>>()?;
        let numbers: usize = parts.iter().map(Tensor::elem_count).sum();
        let mut normed: Vec<f32> = Vec::with_capacity(numbers);
        want_large_pages(&normed);
        for part in &parts {
            with_contiguous(part, |x| {
                assert!(normed.capacity() - normed.len() >= x.len());
                // SAFETY: there is room behind what was written before, and all of the part's numbers are written.
                unsafe {
                    self.apply(x, &affine, activated, normed.as_mut_ptr().add(normed.len()));
                    normed.set_len(normed.len() + x.len());
                }
                Ok(())
            })?;
        }
        picture(normed, [1, channels, numbers / (channels * width), width])
    }

    /// Writes what the scales and shifts of each row make of it.
    ///
    /// # Safety
    ///
    /// There must be room for as many numbers.
    unsafe fn apply(&self, x: &[f32], affine: &[Vec<f32>], activated: bool, out: *mut f32) {
        let channels = self.scale.len();
        let parts = Parts::new(affine.len(), x.len() / (affine.len() * channels), x.len());
        let out = Shared::new(out);
        each(parts.threads, parts.count(), |job| {
            let range = parts.pixels(job);
            let x = &x[range.start * channels..range.end * channels];
            let (scale, shift) = affine[parts.row(job)].split_at(channels);
            // SAFETY: the jobs cover all pixels, each of them once.
            unsafe {
                let out = out.pointer().add(range.start * channels);
                self.isa.run(Apply { x, scale, shift, activated, out });
            }
        });
    }

    /// The scale of each channel, and then the shift of each.
    fn affine(&self, moments: &Moments, groups: usize) -> Vec<f32> {
        let channels = self.scale.len();
        let mut affine = vec![0f32; 2 * channels];
        for (channel, (mean, factor)) in moments.of_groups(groups, self.epsilon).enumerate() {
            let scale = f64::from(self.scale[channel]) * factor;
            affine[channel] = scale as f32;
            affine[channels + channel] = (f64::from(self.shift[channel]) - mean * scale) as f32;
        }
        affine
    }
}

/// The pixels of rows, cut into parts for the threads.
struct Parts {
    threads: usize,
    of_row: usize,
    rows: usize,
    pixels: usize,
    chunk: usize,
}

impl Parts {
    fn new(rows: usize, pixels: usize, numbers: usize) -> Self {
        let threads = threads_for(numbers * COST);
        let parts = if threads == 1 { 1 } else { (2 * threads).div_ceil(rows).min(pixels) };
        let chunk = pixels.div_ceil(parts);
        Self { threads, of_row: pixels.div_ceil(chunk), rows, pixels, chunk }
    }

    fn count(&self) -> usize {
        self.rows * self.of_row
    }

    fn row(&self, job: usize) -> usize {
        job / self.of_row
    }

    fn pixels(&self, job: usize) -> std::ops::Range<usize> {
        let (row, part) = (job / self.of_row, job % self.of_row);
        let start = row * self.pixels + part * self.chunk;
        start..(start + self.chunk).min((row + 1) * self.pixels)
    }
}

/// Sums that jobs share: each writes to its own.
#[derive(Clone, Copy)]
struct SharedSums(*mut f64);

// SAFETY: a pointer alone does nothing; its only user gives each job a range of its own.
unsafe impl Send for SharedSums {}
// SAFETY: as above.
unsafe impl Sync for SharedSums {}

impl SharedSums {
    fn pointer(self) -> *mut f64 {
        self.0
    }
}

/// Sums of differences to `first`, and of their squares, for each channel.
struct Sum<'a> {
    pixels: &'a [f32],
    first: &'a [f32],
    sums: &'a mut [f64],
}

impl Task for Sum<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let channels = self.first.len();
        let (sums, squares) = self.sums.split_at_mut(channels);
        for start in (0..channels).step_by(4 * S::LANES) {
            let channel = |n: usize| (start + n * S::LANES).min(channels);
            let count = |n: usize| (channels - channel(n)).min(S::LANES);
            for pixels in self.pixels.chunks(SUMMED * channels) {
                // SAFETY: all loads are of channels that are there.
                unsafe {
                    let mut first = [S::splat(0.0); 4];
                    for n in 0..4 {
                        first[n] = S::load_some(self.first.as_ptr().add(channel(n)), count(n));
                    }
                    let (mut s, mut q) = ([S::splat(0.0); 4], [S::splat(0.0); 4]);
                    for pixel in pixels.chunks_exact(channels) {
                        for n in 0..4 {
                            let x = S::load_some(pixel.as_ptr().add(channel(n)), count(n));
                            let difference = S::sub(x, first[n]);
                            s[n] = S::add(s[n], difference);
                            q[n] = S::fma(difference, difference, q[n]);
                        }
                    }
                    for n in 0..4 {
                        let (mut sum, mut square) = ([0f32; 16], [0f32; 16]);
                        S::store(sum.as_mut_ptr(), s[n]);
                        S::store(square.as_mut_ptr(), q[n]);
                        for lane in 0..count(n) {
                            sums[channel(n) + lane] += f64::from(sum[lane]);
                            squares[channel(n) + lane] += f64::from(square[lane]);
                        }
                    }
                }
            }
        }
    }
}

/// x * scale + shift for each channel, then silu.
struct Apply<'a> {
    x: &'a [f32],
    scale: &'a [f32],
    shift: &'a [f32],
    activated: bool,
    out: *mut f32,
}

impl Task for Apply<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let channels = self.scale.len();
        for start in (0..self.x.len()).step_by(channels) {
            for channel in (0..channels).step_by(S::LANES) {
                let count = channels - channel;
                // SAFETY: the channels are there, in what is read as in what is written.
                unsafe {
                    let x = S::load_some(self.x.as_ptr().add(start + channel), count);
                    let scale = S::load_some(self.scale.as_ptr().add(channel), count);
                    let shift = S::load_some(self.shift.as_ptr().add(channel), count);
                    let y = S::fma(x, scale, shift);
                    let y = if self.activated { silu::<S>(y) } else { y };
                    S::store_some(self.out.add(start + channel), y, count);
                }
            }
        }
    }
}

/// Normalises each position of a run.
struct Layer<'a> {
    norm: &'a Norm,
    x: &'a [f32],
    out: *mut f32,
}

impl Task for Layer<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let width = self.norm.scale.len();
        for start in (0..self.x.len()).step_by(width) {
            let x = &self.x[start..][..width];
            // SAFETY: the numbers of the position are there, in what is read as in what is written. Those that are not
            // there count 0 in the sum, and are taken out of the squares.
            unsafe {
                let mut sum = S::splat(0.0);
                for at in (0..width).step_by(S::LANES) {
                    sum = S::add(sum, S::load_some(x.as_ptr().add(at), width - at));
                }
                let mean = S::sum(sum) / width as f32;
                let mut squares = S::splat(0.0);
                for at in (0..width).step_by(S::LANES) {
                    let centred = S::sub(S::load_some(x.as_ptr().add(at), width - at), S::splat(mean));
                    squares = S::fma(centred, centred, squares);
                }
                let missing = width.next_multiple_of(S::LANES) - width;
                let squares = S::sum(squares) - missing as f32 * mean * mean;
                let factor = 1.0 / (squares.max(0.0) / width as f32 + self.norm.epsilon as f32).sqrt();
                for at in (0..width).step_by(S::LANES) {
                    let count = width - at;
                    let centred = S::sub(S::load_some(x.as_ptr().add(at), count), S::splat(mean));
                    let scale = S::mul(S::load_some(self.norm.scale.as_ptr().add(at), count), S::splat(factor));
                    let shift = S::load_some(self.norm.shift.as_ptr().add(at), count);
                    S::store_some(self.out.add(start + at), S::fma(centred, scale, shift), count);
                }
            }
        }
    }
}
