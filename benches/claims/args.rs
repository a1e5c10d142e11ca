//! The command line.

use std::path::PathBuf;

use clap::Parser;

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
    /// Pictures painted at a time [default: one for each processor].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    workers: Option<u32>,
    /// What cargo says when it measures, and leaves out when it tests: then only the recipes are checked.
    #[arg(long, hide = true)]
    pub(crate) bench: bool,
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
        let processors = || std::thread::available_parallelism().map_or(1, usize::from);
        self.workers.map_or_else(processors, |workers| workers as usize)
    }
}
