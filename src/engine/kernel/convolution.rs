//! Linear layers and convolutions on packed weights.

use candle_core::{Device, Result, Tensor};

use super::grid::{Grid, OUTSIDE, Side};
use super::numbers::{channels_last, picture, with_contiguous, with_optional};
use super::product::{Finish, Packed, Places};
use super::simd::Isa;

/// What is done to the outputs of a layer while they are at hand.
#[derive(Clone, Copy, Default)]
pub(in crate::engine) struct After<'a> {
    /// Added to every position or pixel: `[outputs]`.
    pub(in crate::engine) shift: Option<&'a Tensor>,
    /// Added: of the outputs' shape, or a single row for all rows.
    pub(in crate::engine) residual: Option<&'a Tensor>,
    /// Then the larger of it and 0.
    pub(in crate::engine) relu: bool,
}

/// y = W x + b.
pub(in crate::engine) struct Linear(Packed);

impl Linear {
    /// From `weight` `[outputs, inputs]` and `bias` `[outputs]`.
    pub(in crate::engine) fn new(isa: Isa, weight: &Tensor, bias: Option<&Tensor>) -> Result<Self> {
        Self::pack(isa, weight, bias, false)
    }

    /// a * gelu(g) with `[a, g]` = W x + b, from the same.
    pub(in crate::engine) fn gated(isa: Isa, weight: &Tensor, bias: Option<&Tensor>) -> Result<Self> {
        Self::pack(isa, weight, bias, true)
    }

    fn pack(isa: Isa, weight: &Tensor, bias: Option<&Tensor>, gated: bool) -> Result<Self> {
        let (outputs, inputs) = weight.dims2()?;
        with_contiguous(weight, |weight| {
            with_optional(bias, |bias| Ok(Self(Packed::new(isa, weight, bias, [outputs, inputs, 1], gated))))
        })
    }

    /// `[.., inputs]` to `[.., outputs]`.
    pub(in crate::engine) fn forward(&self, x: &Tensor, after: After<'_>) -> Result<Tensor> {
        let mut shape = x.dims().to_vec();
        let pixels = x.elem_count() / self.0.inputs();
        if let Some(last) = shape.last_mut() {
            *last = self.0.outputs();
        }
        Tensor::from_vec(
            multiply(&self.0, x, Places::Same, pixels, after.shift, after.residual, after.relu)?,
            shape,
            &Device::Cpu,
        )
    }
}

/// Where a convolution's kernel is put.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine) struct Geometry {
    /// The kernel's side.
    pub(in crate::engine) size: usize,
    /// From one place of the kernel to the next.
    pub(in crate::engine) stride: usize,
    /// Zeros before the first pixel and behind the last.
    pub(in crate::engine) padding: (usize, usize),
}

impl Geometry {
    /// The size of what comes out, along one side.
    fn outputs(self, inputs: usize) -> usize {
        (inputs + self.padding.0 + self.padding.1).saturating_sub(self.size) / self.stride + 1
    }
}

/// A two-dimensional convolution.
pub(in crate::engine) struct Conv2d {
    packed: Packed,
    geometry: Geometry,
}

impl Conv2d {
    /// From `weight` `[outputs, inputs, size, size]` and `bias` `[outputs]`.
    pub(in crate::engine) fn new(isa: Isa, weight: &Tensor, bias: Option<&Tensor>, geometry: Geometry) -> Result<Self> {
        let (outputs, inputs, height, width) = weight.dims4()?;
        let packed = with_contiguous(weight, |weight| {
            with_optional(bias, |bias| Ok(Packed::new(isa, weight, bias, [outputs, inputs, height * width], false)))
        })?;
        Ok(Self { packed, geometry })
    }

    /// `x` `[rows, inputs, height, width]`, first enlarged to `size` by nearest neighbours if one is given, to
    /// `[rows, outputs, ..]`.
    pub(in crate::engine) fn forward(
        &self,
        x: &Tensor,
        size: Option<(usize, usize)>,
        after: After<'_>,
    ) -> Result<Tensor> {
        let (rows, _, height, width) = x.dims4()?;
        let (tall, wide) = size.unwrap_or((height, width));
        let (out_height, out_width) = (self.geometry.outputs(tall), self.geometry.outputs(wide));
        let pixels = rows * out_height * out_width;
        let plain = self.geometry.size == 1 && self.geometry.stride == 1 && size.is_none();
        let grid = (!plain && self.packed.wants_grid()).then(|| {
            let [down, across] = [(out_height, height, tall), (out_width, width, wide)].map(|side| self.side(side));
            Grid::new(rows, [height, width], [&down, &across])
        });
        let table = (!plain && !self.packed.wants_grid()).then(|| {
            let [lines, columns] = [(out_height, height, tall), (out_width, width, wide)].map(|side| self.table(side));
            let mut table = Vec::with_capacity(lines.len() * columns.len() * pixels);
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
        });
        let places = match (&grid, &table) {
            (Some(grid), _) => Places::Grid(grid),
            (_, Some(table)) => Places::Table(table),
            _ => Places::Same,
        };
        let residual = after.residual.map(channels_last).transpose()?;
        let x = channels_last(x)?;
        let numbers = multiply(&self.packed, &x, places, pixels, after.shift, residual.as_ref(), after.relu)?;
        picture(numbers, [rows, self.packed.outputs(), out_height, out_width])
    }

    /// One side of a picture: so many outputs, of `inputs` pixels that are enlarged to `enlarged`.
    fn side(&self, (outputs, inputs, enlarged): (usize, usize, usize)) -> Side {
        let Geometry { size, stride, padding } = self.geometry;
        let scale = inputs as f64 / enlarged as f64;
        Side {
            outputs,
            stride,
            pixels: (0..enlarged).map(|at| ((at as f64 * scale) as usize).min(inputs - 1)).collect(),
            taps: (0..size).map(|tap| tap as isize - padding.0 as isize).collect(),
        }
    }

    /// For each place of the kernel along one side, and each output, the input that lies there.
    fn table(&self, sizes: (usize, usize, usize)) -> Vec<Vec<Option<usize>>> {
        let side = self.side(sizes);
        let pixel = |at: usize, tap: isize| side.pixels.get((at * side.stride).checked_add_signed(tap)?).copied();
        side.taps.iter().map(|&tap| (0..side.outputs).map(|at| pixel(at, tap)).collect()).collect()
    }
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
    with_contiguous(x, |x| {
        with_optional(shift, |shift| {
            with_optional(residual, |residual| Ok(packed.multiply(x, places, pixels, Finish { shift, residual, relu })))
        })
    })
}
