//! Linear layers and convolutions on packed weights.

use candle_core::{Device, Result, Tensor};

use super::numbers::{channels_last, picture, with_contiguous, with_optional};
use super::product::{Finish, OUTSIDE, Packed};
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
            multiply(&self.0, x, None, pixels, after.shift, after.residual, after.relu)?,
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

    /// The input under the kernel's place `tap` at the output `at`, along one side.
    fn input(self, at: usize, tap: usize, inputs: usize) -> Option<usize> {
        (at * self.stride + tap).checked_sub(self.padding.0).filter(|&input| input < inputs)
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
        let table = (!plain).then(|| {
            let lines = self.sources(out_height, height, tall);
            let columns = self.sources(out_width, width, wide);
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
        let residual = after.residual.map(channels_last).transpose()?;
        let x = channels_last(x)?;
        let numbers = multiply(&self.packed, &x, table.as_deref(), pixels, after.shift, residual.as_ref(), after.relu)?;
        picture(numbers, [rows, self.packed.outputs(), out_height, out_width])
    }

    /// For each place of the kernel along one side, and each output, the input that lies there: of `inputs`, enlarged
    /// to `enlarged`.
    fn sources(&self, outputs: usize, inputs: usize, enlarged: usize) -> Vec<Vec<Option<usize>>> {
        let scale = inputs as f64 / enlarged as f64;
        let source = |at: usize| ((at as f64 * scale) as usize).min(inputs - 1);
        (0..self.geometry.size)
            .map(|tap| (0..outputs).map(|at| self.geometry.input(at, tap, enlarged).map(source)).collect())
            .collect()
    }
}

fn multiply(
    packed: &Packed,
    x: &Tensor,
    table: Option<&[u32]>,
    pixels: usize,
    shift: Option<&Tensor>,
    residual: Option<&Tensor>,
    relu: bool,
) -> Result<Vec<f32>> {
    with_contiguous(x, |x| {
        with_optional(shift, |shift| {
            with_optional(residual, |residual| Ok(packed.multiply(x, table, pixels, Finish { shift, residual, relu })))
        })
    })
}
