//! Each kernel against its plain twin of candle's operations, in the shapes of Stable Diffusion 1.5's layers and of `mini`'s:
//!
//!     cargo bench --bench layers -- [FILTER] [--quick]
//!
//! on one thread; GFLOP/s are those of the layer as it is defined (Winograd's convolutions need fewer). `SEGA_THREADS=N`
//! takes more threads, and `SEGA_ISA=NAME` other kernels than the fastest (`Amx`, `Avx512Bf16`, `Avx512`, `Avx2`, `Neon`,
//! `Portable`).

use candle_core::{Device, Result, Tensor};
use candle_nn::ops::softmax_last_dim;
use candle_nn::{GroupNorm, Module};
use criterion::{Criterion, Throughput};
use sega::engine::kernel::{After, BLOCKS, Conv2d, Geometry, Isa, KeepBlocks, Linear, Norm, attention};
use sega::engine::noise::NoiseStream;

/// The program's own.
#[global_allocator]
static ALLOCATOR: &KeepBlocks = &BLOCKS;

/// Numbers that are f16 exactly, as most checkpoints' weights are.
fn numbers(seed: u64, shape: &[usize]) -> Result<Tensor> {
    let numbers = NoiseStream::new(seed).normals(shape.iter().product());
    Tensor::from_vec(numbers, shape, &Device::Cpu)?.to_dtype(candle_core::DType::F16)?.to_dtype(candle_core::DType::F32)
}

/// Times both ways of a layer that takes so many operations.
fn both(
    criterion: &mut Criterion,
    name: &str,
    operations: usize,
    ours: impl Fn() -> Result<Tensor>,
    twin: impl Fn() -> Result<Tensor>,
) {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(operations as u64)).sample_size(10);
    group.bench_function("ours", |bencher| bencher.iter(&ours));
    group.bench_function("candle", |bencher| bencher.iter(&twin));
    group.finish();
}

fn linear(criterion: &mut Criterion, isa: Isa) -> Result<()> {
    for [positions, inputs, outputs] in [[8192, 320, 960], [2048, 2560, 640], [512, 1280, 3840], [1024, 128, 384]] {
        let (x, weight) = (numbers(1, &[positions, inputs])?, numbers(2, &[outputs, inputs])?);
        let (bias, layer) = (numbers(3, &[outputs])?, Linear::new(isa, &weight, None)?);
        let name = format!("linear {inputs} to {outputs}, {positions} positions");
        both(
            criterion,
            &name,
            2 * positions * inputs * outputs,
            || layer.forward(&x, After { shift: Some(&bias), ..After::default() }),
            || x.matmul(&weight.t()?)?.broadcast_add(&bias),
        );
    }
    let [positions, inputs, outputs] = [8192, 320, 2560];
    let (x, weight) = (numbers(1, &[positions, inputs])?, numbers(2, &[outputs, inputs])?);
    let layer = Linear::gated(isa, &weight, None)?;
    let name = format!("linear gated {inputs} to {outputs}, {positions} positions");
    both(
        criterion,
        &name,
        2 * positions * inputs * outputs,
        || layer.forward(&x, After::default()),
        || {
            let y = x.matmul(&weight.t()?)?.chunk(2, 1)?;
            &y[0] * y[1].gelu_erf()?
        },
    );
    Ok(())
}

fn convolution(criterion: &mut Criterion, isa: Isa) -> Result<()> {
    for [rows, side, channels, stride] in
        [[2, 64, 320, 1], [2, 16, 1280, 1], [1, 256, 256, 1], [2, 64, 320, 2], [4, 32, 64, 1], [4, 16, 64, 1]]
    {
        let (x, weight) = (numbers(1, &[rows, channels, side, side])?, numbers(2, &[channels, channels, 3, 3])?);
        // Ours read a picture pixel by pixel, as their own outputs are.
        let pixels = x.permute((0, 2, 3, 1))?.contiguous()?.permute((0, 3, 1, 2))?;
        let layer = Conv2d::new(isa, &weight, None, Geometry { size: 3, stride, padding: (1, 1) })?;
        let name = format!("convolution 3x3 of {rows} x {channels} x {side} x {side}, stride {stride}");
        both(
            criterion,
            &name,
            18 * rows * (side / stride).pow(2) * channels * channels,
            || layer.forward(&pixels, None, (0, 0), After::default()),
            || x.conv2d(&weight, 1, stride, 1, 1),
        );
    }
    Ok(())
}

fn attentions(criterion: &mut Criterion, isa: Isa) -> Result<()> {
    for [positions, count, heads, width] in
        [[4096, 4096, 8, 40], [4096, 77, 8, 40], [1024, 1024, 8, 80], [256, 77, 4, 32]]
    {
        let (queries, keys) = (numbers(1, &[1, positions, heads * width])?, numbers(2, &[1, count, heads * width])?);
        let values = numbers(3, &[1, count, heads * width])?;
        let split = |x: &Tensor| x.reshape((1, (), heads, width))?.transpose(1, 2)?.contiguous();
        let name = format!("attention of {positions} positions to {count} keys, {heads} heads of {width}");
        both(
            criterion,
            &name,
            4 * positions * count * heads * width,
            || attention(isa, &queries, &keys, &values, heads),
            || {
                let scores = (split(&queries)?.matmul(&split(&keys)?.t()?)? / (width as f64).sqrt())?;
                softmax_last_dim(&scores)?.matmul(&split(&values)?)?.transpose(1, 2)?.contiguous()
            },
        );
    }
    Ok(())
}

fn normalisation(criterion: &mut Criterion, isa: Isa) -> Result<()> {
    for [rows, channels, side, groups] in [[2, 320, 64, 32], [4, 64, 32, 16]] {
        let x = numbers(1, &[rows, channels, side, side])?;
        let pixels = x.permute((0, 2, 3, 1))?.contiguous()?.permute((0, 3, 1, 2))?;
        let (scale, shift) = (numbers(2, &[channels])?, numbers(3, &[channels])?);
        let norm = Norm::new(isa, 1e-5, &scale, &shift)?;
        let twin = GroupNorm::new(scale, shift, channels, groups, 1e-5)?;
        let name = format!("group norm and silu of {rows} x {channels} x {side} x {side}");
        both(
            criterion,
            &name,
            rows * channels * side * side,
            || norm.group(&pixels, groups, true),
            || twin.forward(&x)?.silu(),
        );
    }
    Ok(())
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let named =
        |isa: &Isa| std::env::var("SEGA_ISA").map_or(true, |name| format!("{isa:?}").eq_ignore_ascii_case(&name));
    let isa = Isa::available().into_iter().find(named).ok_or("this machine has no such instruction set")?;
    let threads = std::env::var("SEGA_THREADS").map_or(Ok(1), |threads| threads.parse())?;
    let mut criterion = Criterion::default().configure_from_args();
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global()?;
    linear(&mut criterion, isa)?;
    convolution(&mut criterion, isa)?;
    attentions(&mut criterion, isa)?;
    normalisation(&mut criterion, isa)?;
    criterion.final_summary();
    Ok(())
}
