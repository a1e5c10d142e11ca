//! The command line.

use std::path::PathBuf;

use clap::Parser;
use sega::engine::Precision;
use sega::engine::device::DeviceChoice;

/// Measures what editing achieves on a model, as read by the oracle. A second run paints only what is missing.
#[derive(Debug, Parser)]
#[command(name = "cargo bench --bench claims --")]
pub(crate) struct Args {
    /// Takes minutes: fewer portraits, concepts and steps.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Portraits for each row [default: 200, quick: 12].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    seeds: Option<u32>,
    /// Portraits for each concept where concepts are measured one by one [default: as many as for each row].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    each: Option<u32>,
    /// Measures this claim alone; may be repeated.
    #[arg(long, value_name = "CLAIM", value_parser = claim_names())]
    pub(crate) only: Vec<String>,
    /// Steps of a render [default: 30, quick: 20].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    steps: Option<u32>,
    /// The guidance scale of all renders.
    #[arg(long, value_name = "SCALE", default_value_t = 5.0)]
    pub(crate) guidance: f64,
    /// Where results, tables and pictures go.
    #[arg(long, value_name = "FOLDER", default_value = "target/claims")]
    pub(crate) out: PathBuf,
    /// The model, as a recipe names it: `mini` or a folder.
    #[arg(long, value_name = "NAME", default_value = "mini")]
    pub(crate) model: String,
    /// The oracle's folder.
    #[arg(long, value_name = "FOLDER", default_value = "benches/claims/oracle")]
    pub(crate) oracle: PathBuf,
    /// Where the model computes: cpu, cuda, cuda:N or metal. On a card take one worker.
    #[arg(long, value_name = "DEVICE", default_value = "cpu", value_parser = device)]
    pub(crate) device: DeviceChoice,
    /// The numbers that it computes with: f32, f16 or bf16.
    #[arg(long, value_name = "TYPE", default_value = "f32", value_parser = precision)]
    pub(crate) precision: Precision,
    /// Pictures painted at a time [default: one for each processor, on a card one].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    workers: Option<u32>,
    /// What cargo says when it measures, and leaves out when it tests: then only the recipes are checked.
    #[arg(long, hide = true)]
    pub(crate) bench: bool,
}

fn device(word: &str) -> Result<DeviceChoice, String> {
    DeviceChoice::from_word(word).ok_or_else(|| "take cpu, cuda, cuda:N or metal".to_owned())
}

fn precision(word: &str) -> Result<Precision, String> {
    Precision::from_name(word).ok_or_else(|| "take f32, f16 or bf16".to_owned())
}

fn claim_names() -> Vec<&'static str> {
    crate::measure::CLAIMS.iter().map(|(name, _)| *name).collect()
}

impl Args {
    /// Portraits for each row.
    pub(crate) fn seeds(&self) -> usize {
        self.seeds.unwrap_or(if self.quick { 12 } else { 200 }) as usize
    }

    /// Portraits for each concept that is measured by itself; together they make the row of their mean.
    pub(crate) fn each(&self) -> usize {
        self.each.map_or_else(|| self.seeds(), |each| each as usize)
    }

    /// Steps of a render.
    pub(crate) fn steps(&self) -> u32 {
        self.steps.unwrap_or(if self.quick { 20 } else { 30 })
    }

    /// Pictures painted at a time.
    pub(crate) fn workers(&self) -> usize {
        let processors = || match self.device {
            DeviceChoice::Cpu => std::thread::available_parallelism().map_or(1, usize::from),
            _ => 1,
        };
        self.workers.map_or_else(processors, |workers| workers as usize)
    }
}
