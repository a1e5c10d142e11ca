//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

#[cfg(feature = "engine")]
use crate::engine::Precision;
#[cfg(feature = "engine")]
use crate::engine::device::DeviceChoice;

/// Edit text-to-image diffusion by words
#[derive(Debug, Parser)]
#[command(name = "sega", version, about, max_term_width = 100)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
    /// Print one JSON document instead of text
    #[arg(long, global = true)]
    pub(super) json: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Render a recipe's pictures
    #[cfg(feature = "engine")]
    Run(RunArgs),
    /// Render recipes again at every change, and show the pictures as they become
    #[cfg(feature = "watch")]
    Watch(WatchArgs),
    /// Report every mistake of recipes, without rendering
    Check(Recipes),
    /// Rewrite recipes in the canonical form
    Fmt(FmtArgs),
    /// Show what a recipe computes, step by step, without rendering
    Plan(PlanArgs),
    /// List the models that are in the cache; fetch, remove and check them
    #[cfg(feature = "hub")]
    Models(ModelsArgs),
    /// Explain a setting, a command or an error code
    Explain(ExplainArgs),
}

impl Command {
    /// The command's word.
    pub(super) fn name(&self) -> &'static str {
        match self {
            #[cfg(feature = "engine")]
            Self::Run(_) => "run",
            #[cfg(feature = "watch")]
            Self::Watch(_) => "watch",
            Self::Check(_) => "check",
            Self::Fmt(_) => "fmt",
            Self::Plan(_) => "plan",
            #[cfg(feature = "hub")]
            Self::Models(_) => "models",
            Self::Explain(_) => "explain",
        }
    }
}

#[cfg(feature = "engine")]
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// The recipe; `-` reads it from the standard input
    pub(super) recipe: PathBuf,
    /// The picture's file [default: the recipe's name with `.png`]; with several seeds, each seed is put before the ending
    #[arg(short, long, value_name = "FILE")]
    pub(super) output: Option<PathBuf>,
    /// Also write the final latents, as the network sees them, as safetensors (tensor `latents`)
    #[arg(long, value_name = "FILE")]
    pub(super) latents: Option<PathBuf>,
    #[command(flatten)]
    pub(super) network: NetworkArgs,
    /// Where the networks compute: `auto`, `cpu`, `cuda`, `cuda:N` or `metal`; of several, as in `cuda:0,cuda:1`, each
    /// picture of a list of seeds goes to the next that is free
    #[arg(long, value_name = "DEVICE", default_value = "auto", value_parser = device, value_delimiter = ',')]
    pub(super) device: Vec<DeviceChoice>,
    /// Replace files that exist
    #[arg(long)]
    pub(super) force: bool,
}

/// Bytes as people write them: `8G`, `8 GiB`, `1.5g`, `6000M`.
#[cfg(feature = "engine")]
fn memory(text: &str) -> Result<u64, String> {
    let lower = text.trim().to_lowercase();
    let number = lower.trim_end_matches("ib").trim_end_matches('b');
    let (number, unit) = match number.char_indices().next_back() {
        Some((at, 'k')) => (&number[..at], 1u64 << 10),
        Some((at, 'm')) => (&number[..at], 1 << 20),
        Some((at, 'g')) => (&number[..at], 1 << 30),
        Some((at, 't')) => (&number[..at], 1 << 40),
        _ => (number, 1),
    };
    let bytes = number.trim().parse::<f64>().ok().map(|number| number * unit as f64);
    bytes
        .filter(|bytes| bytes.is_finite() && *bytes >= 1.0)
        .map(|bytes| bytes as u64)
        .ok_or_else(|| "take a number and `M` or `G`, as in `8G`".to_owned())
}

/// How the networks compute.
#[cfg(feature = "engine")]
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct NetworkArgs {
    /// Evaluate at most so many texts at once: less memory, the same picture [default: all]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) rows: Option<u32>,
    /// Keep to so much memory, such as `8G`: fewer texts at once where needed, the same picture
    #[arg(long, value_name = "SIZE", value_parser = memory, conflicts_with = "rows")]
    pub(super) memory: Option<u64>,
    /// The processor's threads that compute [default: all]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) threads: Option<u16>,
    /// The numbers that the networks compute with: f32, f16 or bf16 [default: f32 on the CPU, f16 on a graphics card]
    #[arg(long, value_name = "TYPE", value_parser = precision)]
    pub(super) precision: Option<Precision>,
}

/// A device by its name.
#[cfg(feature = "engine")]
fn device(word: &str) -> Result<DeviceChoice, String> {
    DeviceChoice::from_word(word).ok_or_else(|| "take auto, cpu, cuda, cuda:N or metal".to_owned())
}

/// A precision by its name.
#[cfg(feature = "engine")]
fn precision(word: &str) -> Result<Precision, String> {
    Precision::from_name(word).ok_or_else(|| format!("take one of {}", Precision::ALL.map(Precision::name).join(", ")))
}

/// What a watch tells in JSON.
#[cfg(feature = "watch")]
const EVENTS: &str = "\
With --json one line of JSON an event, each with `format_version`, `command` and `event`:
  serving      the page's `address`
  rendered     a picture: `recipe`, `seed`, `file` (null where it could not be written), `changes` (each with `what`,
               `before`, `after`), `unchanged`, `resumed_at`, `steps`, `seconds`, `width`, `height`
  diagnostics  what is wrong with a `recipe`, or probably not meant: `diagnostics`, as `sega check` has them
  broken       the `recipe` has errors, and its last picture stays: `message`
  missing      the `recipe` is gone: `message`
  failed       the `recipe` cannot be rendered: `message`
  mended       nothing is wrong with the `recipe` any more
  fetching     a file of a model comes from a hub: `model`, `file`, `bytes`
  fetched      all that was wanted of a `model` has come
  unwritten    a picture of the `recipe` could not be written: `message`
  warning      something about the `recipe`: `message`
  kept         a copy was kept: `file`
  state        the watch is paused or goes on, or could not keep a copy: `message`
  end          the last: `exit_code`";

#[cfg(feature = "watch")]
#[derive(Debug, Args)]
#[command(after_long_help = EVENTS)]
pub(super) struct WatchArgs {
    /// The recipes, or folders of recipes
    #[arg(required = true)]
    pub(super) recipes: Vec<PathBuf>,
    /// The picture's file, for a single recipe [default: the recipe's name with `.png`]
    #[arg(short, long, value_name = "FILE")]
    pub(super) output: Option<PathBuf>,
    /// Replace existing files that are no pictures of sega
    #[arg(long)]
    pub(super) force: bool,
    /// Open the preview page in the browser
    #[arg(long)]
    pub(super) open: bool,
    /// The preview page's port [default: the same for the same recipes, where it is free]
    #[arg(long, conflicts_with = "no_page")]
    pub(super) port: Option<u16>,
    /// Serve no preview page
    #[arg(long, conflicts_with = "open")]
    pub(super) no_page: bool,
    #[command(flatten)]
    pub(super) network: NetworkArgs,
    /// Where the networks compute: `auto`, `cpu`, `cuda`, `cuda:N` or `metal`
    #[arg(long, value_name = "DEVICE", default_value = "auto", value_parser = device)]
    pub(super) device: DeviceChoice,
    /// Show no pictures in the terminal
    #[arg(long)]
    pub(super) no_preview: bool,
    /// Memory for what renders leave behind for later ones, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    pub(super) keep: usize,
}

#[derive(Debug, Args)]
pub(super) struct Recipes {
    /// The recipes; `-` reads one from the standard input
    #[arg(required = true)]
    pub(super) recipes: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct FmtArgs {
    #[command(flatten)]
    pub(super) files: Recipes,
    /// Change nothing; exit with 1 and name the files that are not in the canonical form
    #[arg(long)]
    pub(super) check: bool,
}

#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    /// The recipe; `-` reads it from the standard input
    pub(super) recipe: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// A setting (`threshold`), a command (`fmt`) or an error code; without it, the list of all
    pub(super) word: Option<String>,
}

#[cfg(feature = "hub")]
#[derive(Debug, Args)]
pub(super) struct ModelsArgs {
    #[command(subcommand)]
    pub(super) command: Option<ModelsCommand>,
}

#[cfg(feature = "hub")]
#[derive(Debug, Subcommand)]
pub(super) enum ModelsCommand {
    /// Fetch models from the hub, or their newest state
    Add(AddArgs),
    /// Take models out of the cache
    Remove(Ids),
    /// Check the files of models against their checksums; without ids, all of the cache
    Verify(VerifyArgs),
}

#[cfg(feature = "hub")]
#[derive(Debug, Args)]
pub(super) struct Ids {
    /// `owner/name` or `owner/name@revision`
    #[arg(required = true, value_name = "ID")]
    pub(super) ids: Vec<String>,
}

#[cfg(feature = "hub")]
#[derive(Debug, Args)]
pub(super) struct AddArgs {
    /// `owner/name`, `owner/name@revision`, or either with `/file.safetensors`
    #[arg(required = true, value_name = "ID")]
    pub(super) ids: Vec<String>,
    /// Fetch the weights in half precision where there are both
    #[arg(long)]
    pub(super) half: bool,
}

#[cfg(feature = "hub")]
#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// `owner/name`
    #[arg(value_name = "ID")]
    pub(super) ids: Vec<String>,
}
