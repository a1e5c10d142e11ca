//! Strassen's way against sums in double precision.

#![allow(clippy::unwrap_used)]

use candle_core::{DType, Device, Result, Tensor};

use super::panels;
use crate::engine::kernel::product::{Finish, Packed, Places};
use crate::engine::kernel::tests::numbers;
use crate::engine::kernel::{After, Conv2d, Geometry, Isa, Linear};

/// A layer of `inputs` and `outputs` and its bias, and what it is applied to.
struct Layer {
    weight: Tensor,
    bias: Tensor,
    x: Tensor,
}

impl Layer {
    fn new(positions: usize, inputs: usize, outputs: usize) -> Result<Self> {
        // Thirds fill an f32: the weights are not kept in 16 bits.
        let thirds = |seed, shape: &[usize]| numbers(seed, shape)? / 3.0;
        Ok(Self {
            weight: thirds(1, &[outputs, inputs])?,
            bias: thirds(2, &[outputs])?,
            x: thirds(3, &[positions, inputs])?,
        })
    }

    fn packed(&self, isa: Isa, gated: bool) -> Result<Packed> {
        let (outputs, inputs) = self.weight.dims2()?;
        let (weight, bias) = (list(&self.weight)?, list(&self.bias)?);
        Ok(Packed::new(isa, &weight, Some(&bias), [outputs, inputs, 1], gated))
    }

    /// In double precision.
    fn twin(&self) -> Result<Tensor> {
        let [weight, bias, x] = [&self.weight, &self.bias, &self.x].map(|numbers| numbers.to_dtype(DType::F64));
        x?.matmul(&weight?.t()?)?.broadcast_add(&bias?)
    }
}

fn list(x: &Tensor) -> Result<Vec<f32>> {
    x.flatten_all()?.to_vec1()
}

/// Those that have no matrix unit, which has a way of its own.
fn sets() -> impl Iterator<Item = Isa> {
    Isa::available().into_iter().filter(|isa| !isa.has_matrix_unit())
}

#[track_caller]
fn assert_near(name: &str, ours: &[f32], twin: &Tensor) -> Result<()> {
    let twin: Vec<f64> = twin.flatten_all()?.to_vec1()?;
    let largest = twin.iter().fold(0f64, |largest, x| largest.max(x.abs()));
    assert_eq!(ours.len(), twin.len());
    let difference = ours.iter().zip(&twin).fold(0f64, |most, (a, b)| most.max((f64::from(*a) - b).abs()));
    assert!(difference < 1e-5 * largest, "{name} differs by {:e}", difference / largest);
    Ok(())
}

#[test]
fn products_are_those_of_double_precision() -> Result<()> {
    // Pictures, their pixels, inputs, outputs.
    for (rows, picture, inputs, outputs) in [
        (2, 66, 352, 400),
        // A last panel of a single vector, and one that is not full.
        (1, 64, 320, 432),
        (3, 100, 320, 500),
        // More inputs than are summed at a time.
        (1, 64, 2560, 96),
        (2, 70, 1920, 100),
    ] {
        let layer = Layer::new(rows * picture, inputs, outputs)?;
        let residual = numbers(4, &[picture, outputs])?;
        let twin = layer.twin()?.broadcast_add(&layer.bias.to_dtype(DType::F64)?)?;
        let twin = twin.reshape((rows, picture, outputs))?.broadcast_add(&residual.to_dtype(DType::F64)?)?.relu()?;
        let (shift, residual, x) = (list(&layer.bias)?, list(&residual)?, list(&layer.x)?);
        for isa in sets() {
            let packed = layer.packed(isa, false)?;
            assert!(panels(&packed, picture) > 0, "{inputs} to {outputs} is computed otherwise");
            let finish = Finish { shift: Some(&shift), residual: Some(&residual), relu: true };
            let ours = packed.multiply(&x, Places::Same(picture), rows * picture, finish);
            assert_near(&format!("{isa:?}, {inputs} to {outputs}"), &ours, &twin)?;
        }
    }
    Ok(())
}

#[test]
fn gates_are_those_of_double_precision() -> Result<()> {
    let (picture, inputs, outputs) = (90, 320, 250);
    let layer = Layer::new(2 * picture, inputs, 2 * outputs)?;
    let all = layer.twin()?;
    let twin = (all.narrow(1, 0, outputs)? * all.narrow(1, outputs, outputs)?.gelu_erf()?)?;
    for isa in sets() {
        let packed = layer.packed(isa, true)?;
        assert!(panels(&packed, picture) > 0);
        let finish = Finish { shift: None, residual: None, relu: false };
        let ours = packed.multiply(&list(&layer.x)?, Places::Same(picture), 2 * picture, finish);
        assert_near(&format!("{isa:?}"), &ours, &twin)?;
    }
    Ok(())
}

/// Asserts that each row of `x` gives the same bits alone as with all others, which are shared among threads.
#[track_caller]
fn assert_rows_are_independent(
    name: &str,
    x: &Tensor,
    forward: impl Fn(&Tensor) -> Result<Tensor> + Sync,
) -> Result<()> {
    let threads = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    let all = threads.install(|| forward(x))?;
    for row in 0..x.dim(0)? {
        let (alone, among) = (forward(&x.narrow(0, row, 1)?)?, all.narrow(0, row, 1)?);
        let bits = |x: &Tensor| Ok::<_, candle_core::Error>(list(x)?.into_iter().map(f32::to_bits).collect::<Vec<_>>());
        assert!(bits(&alone)? == bits(&among)?, "{name}: row {row} differs");
    }
    Ok(())
}

#[test]
fn a_picture_is_the_same_with_others() -> Result<()> {
    let (rows, inputs, outputs) = (5, 320, 448);
    let layer = Layer::new(rows * 68, inputs, outputs)?;
    // What one picture is made of does not reach another.
    let spoilt = Tensor::full(1e30f32, (1, 68, inputs), &Device::Cpu)?;
    let x = layer.x.reshape((rows, 68, inputs))?.slice_assign(&[1..2, 0..68, 0..inputs], &spoilt)?;
    let picture = x.reshape((rows, 4, 17, inputs))?.permute((0, 3, 1, 2))?;
    for isa in sets() {
        let linear = Linear::new(isa, &layer.weight, Some(&layer.bias))?;
        assert_rows_are_independent(&format!("{isa:?}, linear"), &x, |x| linear.forward(x, After::default()))?;
        let geometry = Geometry { size: 1, stride: 1, padding: (0, 0) };
        let weight = layer.weight.reshape((outputs, inputs, 1, 1))?;
        let convolution = Conv2d::new(isa, &weight, Some(&layer.bias), geometry)?;
        let forward = |x: &Tensor| convolution.forward(x, None, (0, 0), After::default())?.contiguous();
        assert_rows_are_independent(&format!("{isa:?}, convolution"), &picture, forward)?;
        // Both took Strassen's way: the first position with another partner has other bits.
        let first = |x: &Tensor| list(&linear.forward(x, After::default())?.narrow(1, 0, 1)?);
        assert!(first(&x.narrow(0, 0, 1)?)? != first(&x.narrow(0, 0, 1)?.narrow(1, 0, 66)?.contiguous()?)?, "{isa:?}");
    }
    Ok(())
}

#[test]
fn weights_of_16_bits_are_what_they_are() -> Result<()> {
    let (picture, inputs, outputs) = (66, 320, 416);
    for dtype in [DType::F16, DType::BF16] {
        let mut layer = Layer::new(2 * picture, inputs, outputs)?;
        layer.weight = layer.weight.to_dtype(dtype)?.to_dtype(DType::F32)?;
        let twin = layer.twin()?;
        let x = layer.x.reshape((2, picture, inputs))?;
        for isa in sets() {
            let ours = Linear::new(isa, &layer.weight, Some(&layer.bias))?.forward(&x, After::default())?;
            assert_near(&format!("{isa:?}, {dtype:?}"), &list(&ours)?, &twin)?;
        }
    }
    Ok(())
}

#[test]
fn what_has_no_partner_is_computed_otherwise() -> Result<()> {
    let isa = Isa::best();
    let of = |inputs: usize, outputs: usize, picture: usize, gated: bool| -> Result<usize> {
        Ok(panels(&Layer::new(1, inputs, outputs)?.packed(isa, gated)?, picture))
    };
    assert_eq!(of(320, 640, 81, false)?, 0, "an odd picture");
    assert_eq!(of(320, 320, 4096, false)?, 0, "a small layer");
    assert_eq!(of(320, 640, 32, false)?, 0, "a small picture");
    assert_eq!(of(328, 640, 64, false)?, 0, "halves of no whole vectors");
    assert_eq!(of(2560, 128, 64, true)?, 0, "gates whose sums are not complete");
    Ok(())
}
