//! Linear layers and convolutions on packed weights.

use candle_core::{Device, Result, Tensor};

use super::grid::{Grid, OUTSIDE, Side};
use super::numbers::{channels_last, picture, with_contiguous, with_optional};
use super::product::{Finish, Packed, Places};
use super::simd::Isa;
use super::winograd::Winograd;

/// What is done to the outputs of a layer while they are at hand.
#[derive(Clone, Copy, Default)]
pub struct After<'a> {
    /// Added to every position or pixel: `[outputs]`.
    pub shift: Option<&'a Tensor>,
    /// Added: of the outputs' shape, or a single row for all rows.
    pub residual: Option<&'a Tensor>,
    /// Then the larger of it and 0.
    pub relu: bool,
}

/// y = W x + b.
pub struct Linear(Packed);

impl Linear {
    /// From `weight` `[outputs, inputs]` and `bias` `[outputs]`.
    pub fn new(isa: Isa, weight: &Tensor, bias: Option<&Tensor>) -> Result<Self> {
        Self::pack(isa, weight, bias, false)
    }

    /// a * gelu(g) with `[a, g]` = W x + b, from the same.
    pub fn gated(isa: Isa, weight: &Tensor, bias: Option<&Tensor>) -> Result<Self> {
        Self::pack(isa, weight, bias, true)
    }

    fn pack(isa: Isa, weight: &Tensor, bias: Option<&Tensor>, gated: bool) -> Result<Self> {
        let (outputs, inputs) = weight.dims2()?;
        with_contiguous(weight, |weight| {
            with_optional(bias, |bias| Ok(Self(Packed::new(isa, weight, bias, [outputs, inputs, 1], gated))))
        })
    }

    /// `[.., inputs]` to `[.., outputs]`.
    pub fn forward(&self, x: &Tensor, after: After<'_>) -> Result<Tensor> {
        let mut shape = x.dims().to_vec();
        let pixels = x.elem_count() / self.0.inputs();
        // What has no rows of its own is not computed with others.
        let picture = if let &[.., _, picture, _] = x.dims() { picture } else { 1 };
        if let Some(last) = shape.last_mut() {
            *last = self.0.outputs();
        }
        Tensor::from_vec(
            multiply(&self.0, x, Places::Same(picture), pixels, after.shift, after.residual, after.relu)?,
            shape,
            &Device::Cpu,
        )
    }
}

/// Where a convolution's kernel is put.
#[derive(Debug, Clone, Copy)]
pub struct Geometry {
    /// The kernel's side.
    pub size: usize,
    /// From one place of the kernel to the next.
    pub stride: usize,
    /// Zeros before the first pixel and behind the last.
    pub padding: (usize, usize),
}

impl Geometry {
    /// The size of what comes out, along one side.
    fn outputs(self, inputs: usize) -> usize {
        (inputs + self.padding.0 + self.padding.1).saturating_sub(self.size) / self.stride + 1
    }

    /// One side of a picture of `inputs` pixels that are enlarged to `enlarged`, without so many outputs at each end.
    fn side(self, inputs: usize, enlarged: usize, left_out: (usize, usize)) -> Side {
        let Self { size, stride, padding } = self;
        let scale = inputs as f64 / enlarged as f64;
        let origin = (left_out.0 * stride) as isize - padding.0 as isize;
        Side {
            outputs: self.outputs(enlarged) - left_out.0 - left_out.1,
            stride,
            pixels: (0..enlarged).map(|at| ((at as f64 * scale) as usize).min(inputs - 1)).collect(),
            taps: (0..size).map(|tap| tap as isize + origin).collect(),
        }
    }
}

/// A two-dimensional convolution.
pub struct Conv2d {
    kernel: Kernel,
    geometry: Geometry,
}

enum Kernel {
    Product(Packed),
    Winograd {
        winograd: Winograd,
        /// Of a small layer, for small pictures.
        plain: Option<Packed>,
    },
}

/// Inputs from which on a layer is Winograd's: with fewer, as behind the latents, transforms take what products spare.
const FEWEST_INPUTS: usize = 16;
/// Weights of a place of the kernel from which on a layer is always Winograd's. A smaller one takes little time in small
/// pictures, for which it sums plainly, with the smaller error.
const LARGE_LAYER: usize = 1 << 16;
/// Output pixels of a row from which on its picture is not small: whatever other rows are computed with it.
const LARGE_PICTURE: usize = 1 << 10;

impl Conv2d {
    /// From `weight` `[outputs, inputs, size, size]` and `bias` `[outputs]`.
    pub fn new(isa: Isa, weight: &Tensor, bias: Option<&Tensor>, geometry: Geometry) -> Result<Self> {
        let (outputs, inputs, height, width) = weight.dims4()?;
        let kernel = with_contiguous(weight, |weight| {
            with_optional(bias, |bias| {
                let product = || Packed::new(isa, weight, bias, [outputs, inputs, height * width], false);
                let spares = geometry.size == 3 && geometry.stride == 1 && inputs >= FEWEST_INPUTS;
                // A matrix unit is faster only where numbers are rounded: it needs three to six products for one of f32.
                let spares = spares && !(isa.rounds() && Packed::is_tiled(isa, outputs, inputs));
                Ok(if spares {
                    let winograd = Winograd::new(isa, weight, bias, [outputs, inputs]);
                    Kernel::Winograd { winograd, plain: (inputs * outputs < LARGE_LAYER).then(product) }
                } else {
                    Kernel::Product(product())
                })
            })
        })?;
        Ok(Self { kernel, geometry })
    }

    /// `x` `[rows, inputs, height, width]`, first enlarged to `size` by nearest neighbours if one is given, to
    /// `[rows, outputs, ..]`, without `left_out` lines above and below.
    pub fn forward(
        &self,
        x: &Tensor,
        size: Option<(usize, usize)>,
        left_out: (usize, usize),
        after: After<'_>,
    ) -> Result<Tensor> {
        let (rows, _, height, width) = x.dims4()?;
        let (tall, wide) = size.unwrap_or((height, width));
        let sides = [self.geometry.side(height, tall, left_out), self.geometry.side(width, wide, (0, 0))];
        let [out_height, out_width] = sides.each_ref().map(|side| side.outputs);
        let residual = after.residual.map(channels_last).transpose()?;
        let x = channels_last(x)?;
        let pixels = rows * out_height * out_width;
        let packed = match &self.kernel {
            Kernel::Product(packed) => packed,
            Kernel::Winograd { plain: Some(packed), .. } if out_height * out_width < LARGE_PICTURE => packed,
            Kernel::Winograd { winograd, .. } => {
                let numbers = with_all(&x, after.shift, residual.as_ref(), after.relu, |x, finish| {
                    winograd.convolve(x, rows, [height, width], sides.each_ref(), finish)
                })?;
                return picture(numbers, [rows, winograd.outputs(), out_height, out_width]);
            }
        };
        let plain = self.geometry.size == 1 && self.geometry.stride == 1 && size.is_none() && left_out == (0, 0);
        let grid = (!plain && packed.wants_grid()).then(|| Grid::new(rows, [height, width], sides.each_ref()));
        let table = (!plain && !packed.wants_grid()).then(|| table(rows, [height, width], sides.each_ref()));
        let places = match (&grid, &table) {
            (Some(grid), _) => Places::Grid(grid),
            (_, Some(table)) => Places::Table(table),
            _ => Places::Same(out_height * out_width),
        };
        let numbers = multiply(packed, &x, places, pixels, after.shift, residual.as_ref(), after.relu)?;
        picture(numbers, [rows, packed.outputs(), out_height, out_width])
    }
}

/// For each place of the kernel and each output pixel the pixel that lies there, of so many pictures of `height` times
/// `width` pixels.
fn table(rows: usize, [height, width]: [usize; 2], sides: [&Side; 2]) -> Vec<u32> {
    // Along one side.
    let inputs = |side: &Side| -> Vec<Vec<Option<usize>>> {
        let pixel = |at: usize, tap: isize| side.pixels.get((at * side.stride).checked_add_signed(tap)?).copied();
        side.taps.iter().map(|&tap| (0..side.outputs).map(|at| pixel(at, tap)).collect()).collect()
    };
    let [lines, columns] = sides.map(inputs);
    let mut table = Vec::with_capacity(lines.len() * columns.len() * rows * sides[0].outputs * sides[1].outputs);
    for lines in &lines {
        for columns in &columns {
            for row in 0..rows {
                for line in lines {
                    table.extend(columns.iter().map(|column| match (line, column) {
                        (Some(line), Some(column)) => ((row * height + line) * width + column) as u32,
                        _ => OUTSIDE,
                    }));
                }
            }
        }
    }
    table
}

fn multiply(
    packed: &Packed,
    x: &Tensor,
    places: Places<'_>,
    pixels: usize,
    shift: Option<&Tensor>,
    residual: Option<&Tensor>,
    relu: bool,
) -> Result<Vec<f32>> {
    with_all(x, shift, residual, relu, |x, finish| packed.multiply(x, places, pixels, finish))
}

/// Gives `work` the numbers of all.
fn with_all(
    x: &Tensor,
    shift: Option<&Tensor>,
    residual: Option<&Tensor>,
    relu: bool,
    work: impl FnOnce(&[f32], Finish<'_>) -> Vec<f32>,
) -> Result<Vec<f32>> {
    with_contiguous(x, |x| {
        with_optional(shift, |shift| with_optional(residual, |residual| Ok(work(x, Finish { shift, residual, relu }))))
    })
}

#[cfg(test)]
mod tests;
