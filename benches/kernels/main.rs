//! The kernels against their plain twins made of candle's operations, layer by layer of a model's networks:
//!
//!     cargo bench --bench kernels -- [MODEL] [--size N] [--rows N] [--runs N] [--threads N] [--isa NAME] [--bf16] [--alone]
//!
//! MODEL is a folder in diffusers' layout or the built-in `mini`. Both run alternately in one process; times are of the
//! processor, so that what else the machine does counts little. `--isa` takes other kernels than the fastest (`Amx`,
//! `Avx512`, `Avx2`, `Neon`, `Portable`); `--bf16` has ours round what they multiply; `--alone` leaves the twin out.

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use candle_core::{Device, Tensor};
use cpu_time::ProcessTime;
use sega::engine::kernel::{BLOCKS, Isa, KeepBlocks};
use sega::engine::loading::Loading;
use sega::engine::noise::NoiseStream;
use sega::engine::texts::TextEncoders;
use sega::engine::{Model, ModelWeights, Precision};
use sega::model::card::{Card, CardTexts};
use sega::model::files::ModelFiles;
use sega::model::prompt::{Chunk, TextTokens};

type Fault = Box<dyn Error + Send + Sync>;

/// The program's own.
#[global_allocator]
static ALLOCATOR: &KeepBlocks = &BLOCKS;

struct Options {
    model: String,
    size: Option<usize>,
    rows: usize,
    runs: usize,
    threads: usize,
    alone: bool,
    isa: Option<String>,
    precision: Precision,
}

fn options() -> Result<Options, Fault> {
    let mut options = Options {
        model: "mini".into(),
        size: None,
        rows: 4,
        runs: 5,
        threads: 0,
        alone: false,
        isa: None,
        precision: Precision::F32,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || -> Result<usize, Fault> { Ok(arguments.next().ok_or("a number is missing")?.parse()?) };
        match argument.as_str() {
            "--bench" => {}
            "--alone" => options.alone = true,
            "--bf16" => options.precision = Precision::BF16,
            "--isa" => options.isa = arguments.next(),
            "--size" => options.size = Some(number()?),
            "--rows" => options.rows = number()?,
            "--runs" => options.runs = number()?,
            "--threads" => options.threads = number()?,
            other => options.model = other.to_owned(),
        }
    }
    Ok(options)
}

fn main() -> Result<(), Fault> {
    let options = options()?;
    rayon::ThreadPoolBuilder::new().num_threads(options.threads).build()?.install(|| compare(&options))
}

fn compare(options: &Options) -> Result<(), Fault> {
    let files = ModelFiles::locate(&options.model, Path::new("."))?;
    let card = Card::new(&CardTexts::gather(|path| files.text(path))?)?;
    let weights = ModelWeights {
        unet: files.weights("unet")?,
        text_encoder: files.weights("text_encoder")?,
        text_encoder_2: card.text_2.as_ref().map_or(Ok(Vec::new()), |_| files.weights("text_encoder_2"))?,
        vae: files.weights("vae")?,
        loras: Vec::new(),
    };
    let device = Device::Cpu;
    let load = |isa, precision| {
        let started = ProcessTime::now();
        let loading = Loading::new(precision).by(isa);
        let encoders = TextEncoders::load(&card, &weights, &loading)?;
        let model = Model::load(&card, &weights, &loading)?;
        println!("loaded with {isa:?} in {:.2} s", started.elapsed().as_secs_f64());
        Ok::<_, Fault>((encoders, model))
    };
    let named = |isa: &Isa| options.isa.as_ref().is_none_or(|name| format!("{isa:?}").eq_ignore_ascii_case(name));
    let isa = Isa::available().into_iter().find(named).ok_or("this machine has no such instruction set")?;
    let fast = load(Some(isa), options.precision)?;
    let plain = if options.alone { None } else { Some(load(None, Precision::F32)?) };

    let size = options.size.unwrap_or(16);
    let noise = NoiseStream::new(1).normals(card.latent_channels() * size * size);
    let latents = Tensor::from_vec(noise, (1, card.latent_channels(), size, size), &device)?;
    let vocabulary = card.text.vocabulary;
    let texts: Vec<TextTokens> = (0..options.rows)
        .map(|row| {
            let ids = (0..card.max_tokens()).map(|at| ((7 + 31 * row + 13 * at) % vocabulary) as u32).collect();
            TextTokens(vec![vec![Chunk::plain(ids)]; card.text_encoders().count()])
        })
        .collect();
    let rows: Vec<usize> = (0..options.rows).collect();

    type Networks = (TextEncoders, Model);
    type Work<'a> = dyn Fn(&Networks) -> Result<Tensor, Fault> + 'a;
    let encode = |(encoders, _): &Networks| -> Result<Tensor, Fault> {
        let texts = encoders.encode(&texts, None)?;
        Ok(Tensor::cat(&texts.iter().map(|text| &text.tokens).collect::<Vec<_>>(), 0)?)
    };
    let embeddings = fast.0.encode(&texts, None)?;
    let conditions = [Some(&fast), plain.as_ref()]
        .map(|both| both.map(|(_, model)| model.unet.condition(&embeddings, card.default_size, 7.5)));
    let [fast_condition, plain_condition] = conditions.map(Option::transpose);
    let (fast_condition, plain_condition) = (fast_condition?, plain_condition?);
    let estimate = |both: &Networks| -> Result<Tensor, Fault> {
        let model = &both.1;
        let condition = if std::ptr::eq(both, &fast) { &fast_condition } else { &plain_condition };
        let condition = condition.as_ref().ok_or("the model has no condition")?;
        Ok(model.unet.forward(&latents, 500.0, condition, &rows)?)
    };
    let decode = |(_, model): &Networks| -> Result<Tensor, Fault> { Ok(model.decoder.decode(&latents)?) };
    let works: [(&str, &Work); 3] = [("text encoder", &encode), ("u-net", &estimate), ("decoder", &decode)];

    println!(
        "{:<14}{:>12}{:>12}{:>12}{:>12}{:>9}{:>14}",
        "", "min ms", "median ms", "twin min", "median", "ratio", "difference"
    );
    for (name, work) in works {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        let mut difference = 0.0;
        for _ in 0..options.runs {
            let (time, result) = timed(|| work(&fast))?;
            ours.push(time);
            if let Some(plain) = &plain {
                let (time, twin) = timed(|| work(plain))?;
                theirs.push(time);
                let largest = |x: Tensor| -> Result<f32, Fault> { Ok(x.abs()?.flatten_all()?.max(0)?.to_scalar()?) };
                difference = largest((result - &twin)?)? / largest(twin)?;
            }
        }
        let (ours, theirs) = (summary(&mut ours), summary(&mut theirs));
        println!(
            "{name:<14}{:>12.2}{:>12.2}{:>12.2}{:>12.2}{:>9.3}{difference:>14.1e}",
            ours.0,
            ours.1,
            theirs.0,
            theirs.1,
            ours.1 / theirs.1
        );
    }
    Ok(())
}

/// What work costs all threads together.
fn timed<T>(work: impl FnOnce() -> Result<T, Fault>) -> Result<(Duration, T), Fault> {
    let started = ProcessTime::now();
    let result = work()?;
    Ok((started.elapsed(), result))
}

/// Minimum and median in milliseconds.
fn summary(times: &mut [Duration]) -> (f64, f64) {
    times.sort();
    let at = |index: usize| times.get(index).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3);
    (at(0), at(times.len() / 2))
}
