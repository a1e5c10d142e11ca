//! This crate's side of `side_by_side.py`: computes a network once for every line that it reads.
//!
//!     side_by_side MODEL INPUTS [--precision TYPE] [--device DEVICE] [--threads N]
//!
//! INPUTS is a safetensors file with `latents`, `text` and, for models that want one, the `whole` text's vectors. A line is
//! `unet FILE` or `decode FILE`; the result is written to the file, and a line with the milliseconds that passed, those of the
//! processor, and the peak memory in KiB (the card's, where there is one) follows.

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::io::BufRead;
use std::path::Path;
use std::time::Instant;

use candle_core::{Device, Tensor, safetensors};
use cpu_time::ProcessTime;
use sega::engine::device::{DeviceChoice, peak_memory};
use sega::engine::kernel::{BLOCKS, KeepBlocks};
use sega::engine::loading::Loading;
use sega::engine::network::TextVectors;
use sega::engine::{Model, ModelWeights, Precision};
use sega::model::card::{Card, CardTexts};
use sega::model::files::ModelFiles;

type Fault = Box<dyn Error + Send + Sync>;

/// The program's own.
#[global_allocator]
static ALLOCATOR: &KeepBlocks = &BLOCKS;

fn main() -> Result<(), Fault> {
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    let (model, inputs) = (words.next().ok_or("no model")?, words.next().ok_or("no inputs")?);
    let (mut precision, mut device, mut threads) = (Precision::F32, DeviceChoice::Cpu, 0);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--precision" => precision = words.next().and_then(|word| Precision::from_name(&word)).ok_or("no type")?,
            "--device" => device = words.next().and_then(|word| DeviceChoice::from_word(&word)).ok_or("no device")?,
            "--threads" => threads = words.next().ok_or("no number")?.parse()?,
            other => return Err(format!("what is `{other}`?").into()),
        }
    }
    rayon::ThreadPoolBuilder::new().num_threads(threads).use_current_thread().build_global()?;
    serve(&model, &inputs, &device.open()?, precision)
}

fn serve(model: &str, inputs: &str, device: &Device, precision: Precision) -> Result<(), Fault> {
    let files = ModelFiles::locate(model, Path::new("."))?;
    let card = Card::new(&CardTexts::gather(|path| files.text(path))?)?;
    let weights = ModelWeights { unet: files.weights("unet")?, vae: files.weights("vae")?, ..ModelWeights::default() };
    let model = Model::load(&card, &weights, &Loading::new(precision).on(device))?;
    let inputs = safetensors::load(inputs, device)?;
    let (latents, text) = (&inputs["latents"], &inputs["text"]);
    let rows: Vec<usize> = (0..text.dim(0)?).collect();
    let texts = rows.iter().map(|&row| {
        let whole = inputs.get("whole").map(|whole| whole.narrow(0, row, 1)).transpose()?;
        Ok(TextVectors { tokens: text.narrow(0, row, 1)?, whole })
    });
    let texts = texts.collect::<Result<Vec<_>, Fault>>()?;
    let condition = model.unet.condition(&texts, card.default_size, 7.5)?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let (work, file) = line.split_once(' ').ok_or("no file")?;
        let (began, processor) = (Instant::now(), ProcessTime::now());
        let result: Tensor = match work {
            "unet" => model.unet.forward(latents, 500.0, &condition, &rows)?,
            _ => model.decoder.decode(latents)?,
        };
        device.synchronize()?;
        let (passed, processor) = (began.elapsed(), processor.elapsed());
        result.save_safetensors("result", file)?;
        println!("{} {} {}", passed.as_secs_f64() * 1e3, processor.as_secs_f64() * 1e3, peak(device)?);
    }
    Ok(())
}

/// The most memory that this process has had, in KiB; on a card, that its tensors have had there.
fn peak(device: &Device) -> Result<u64, Fault> {
    if let Some(bytes) = peak_memory(device) {
        return Ok(bytes / 1024);
    }
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("the system does not say")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
