//! Every instruction set's convolutions against candle's in double precision.

use candle_core::{DType, Device, Tensor};
use proptest::prelude::*;

use super::{After, Conv2d, Geometry, Kernel, table};
use crate::engine::kernel::Isa;
use crate::engine::kernel::grid::{Grid, OUTSIDE};

/// What a convolution is tried with.
#[derive(Debug, Clone)]
struct Case {
    rows: usize,
    inputs: usize,
    outputs: usize,
    size: (usize, usize),
    enlarged: Option<(usize, usize)>,
    stride: usize,
    /// Lines.
    left_out: (usize, usize),
    shifted: bool,
    /// A residual of 1 row or of all.
    residual: Option<bool>,
    relu: bool,
    half: bool,
}

impl Case {
    /// The largest difference as a share of the largest value, of each instruction set.
    fn differences(&self) -> Vec<(Isa, f64)> {
        let Self { rows, inputs, outputs, size: (height, width), .. } = *self;
        // Numbers of both signs that f32 holds exactly, of nearly normal distribution.
        let mut state = 1u32;
        let mut uniform = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f64::from(state >> 8) / f64::from(1 << 24) - 0.5
        };
        let mut numbers = |shape: &[usize], dtype| {
            let count = shape.iter().product();
            let sums: Vec<f64> = (0..count).map(|_| uniform() + uniform() + uniform()).collect();
            Tensor::from_vec(sums, shape, &Device::Cpu).unwrap().to_dtype(dtype).unwrap().to_dtype(DType::F32).unwrap()
        };
        let stored = if self.half { DType::F16 } else { DType::F32 };
        let x = numbers(&[rows, inputs, height, width], DType::F32);
        let weight = numbers(&[outputs, inputs, 3, 3], stored);
        let (bias, shift) = (numbers(&[outputs], DType::F32), numbers(&[outputs], DType::F32));

        let double = |x: &Tensor| x.to_dtype(DType::F64).unwrap();
        let (tall, wide) = self.enlarged.unwrap_or((height, width));
        let big = double(&x).upsample_nearest2d(tall, wide).unwrap();
        let column = |x: &Tensor| double(x).reshape((1, outputs, 1, 1)).unwrap();
        let mut wanted = big.conv2d(&double(&weight), 1, self.stride, 1, 1).unwrap();
        let left = wanted.dim(2).unwrap().saturating_sub(self.left_out.0 + self.left_out.1);
        let left_out = if left == 0 { (0, 0) } else { self.left_out };
        if left > 0 {
            wanted = wanted.narrow(2, left_out.0, left).unwrap();
        }
        wanted = wanted.broadcast_add(&column(&bias)).unwrap();
        if self.shifted {
            wanted = wanted.broadcast_add(&column(&shift)).unwrap();
        }
        let (_, _, tall, wide) = wanted.dims4().unwrap();
        let residual = self.residual.map(|all| numbers(&[if all { rows } else { 1 }, outputs, tall, wide], DType::F32));
        if let Some(residual) = &residual {
            wanted = wanted.broadcast_add(&double(residual)).unwrap();
        }
        if self.relu {
            wanted = wanted.relu().unwrap();
        }
        let largest = |x: Tensor| x.abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar::<f64>().unwrap();
        let scale = largest(wanted.clone()).max(1e-3);
        let difference = |(isa, plainly): (Isa, bool)| {
            let geometry = Geometry { size: 3, stride: self.stride, padding: (1, 1) };
            let mut layer = Conv2d::new(isa, &weight, Some(&bias), geometry).unwrap();
            if let Kernel::Winograd { plain, .. } = &mut layer.kernel
                && !plainly
            {
                *plain = None;
            }
            let after = After { shift: self.shifted.then_some(&shift), residual: residual.as_ref(), relu: self.relu };
            let ours = layer.forward(&x, self.enlarged, left_out, after).unwrap();
            assert_eq!(ours.dims(), wanted.dims());
            (isa, largest((double(&ours) - &wanted).unwrap()) / scale)
        };
        Isa::available().into_iter().flat_map(|isa| [(isa, true), (isa, false)]).map(difference).collect()
    }

    fn check(&self) {
        for (isa, difference) in self.differences() {
            assert!(difference <= 1e-5, "{isa:?} differs by {difference:e}");
        }
    }
}

fn case() -> impl Strategy<Value = Case> {
    let counts = (1..=3usize, 1..=350usize, 1..=70usize, 1..=2usize, (0..=2usize, 0..=2usize));
    let sides = ((1..=13usize, 1..=13usize), proptest::option::of((1..=19usize, 1..=19usize)));
    let after = (any::<bool>(), proptest::option::of(any::<bool>()), any::<bool>(), any::<bool>());
    (counts, sides, after).prop_map(|(counts, (size, enlarged), (shifted, residual, relu, half))| {
        let (rows, inputs, outputs, stride, left_out) = counts;
        Case { rows, inputs, outputs, size, enlarged, stride, left_out, shifted, residual, relu, half }
    })
}

proptest! {
    #![proptest_config(crate::cases::cases(48))]

    #[test]
    fn sums_are_those_of_double_precision(case in case()) {
        case.check();
    }
}

proptest! {
    #![proptest_config(crate::cases::cases(256))]

    /// The matrix unit finds under a kernel what vectors find there.
    #[test]
    fn a_grid_says_what_a_table_says(
        rows in 1..=3usize,
        inputs in (1..=9usize, 1..=9usize),
        enlarged in (1..=9usize, 1..=9usize),
        (size, stride, padding) in (1..=3usize, 1..=2usize, (0..=1usize, 0..=1usize)),
        left_out in (0..=1usize, 0..=1usize),
    ) {
        let geometry = Geometry { size, stride, padding };
        let left_out = if geometry.outputs(enlarged.0) > 2 { left_out } else { (0, 0) };
        prop_assume!(enlarged.0 + padding.0 + padding.1 >= size && enlarged.1 + padding.0 + padding.1 >= size);
        let sides = [geometry.side(inputs.0, enlarged.0, left_out), geometry.side(inputs.1, enlarged.1, (0, 0))];
        let picture = [inputs.0, inputs.1];
        let (grid, table) = (Grid::new(rows, picture, sides.each_ref()), table(rows, picture, sides.each_ref()));
        let pixels = rows * sides[0].outputs * sides[1].outputs;
        let mut found = vec![None; table.len()];
        for (number, &pixel) in grid.targets.iter().enumerate().filter(|(_, pixel)| **pixel != OUTSIDE) {
            for (tap, offset) in grid.offsets.iter().enumerate() {
                found[tap * pixels + pixel as usize] = Some(grid.sources[number + offset]);
            }
        }
        prop_assert_eq!(found, table.into_iter().map(Some).collect::<Vec<_>>());
    }
}

/// Blocks of tiles that several threads share, and panels that do not fit them.
#[test]
fn large_pictures_are_shared_among_threads() {
    let case = Case {
        rows: 2,
        inputs: 170,
        outputs: 71,
        size: (41, 50),
        enlarged: None,
        stride: 1,
        left_out: (1, 0),
        shifted: true,
        residual: Some(false),
        relu: false,
        half: true,
    };
    for threads in [1, 3] {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| case.check());
    }
    Case { size: (20, 25), enlarged: Some((41, 50)), ..case }.check();
}
