//! `sega run`.

use std::collections::HashSet;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::json;

use super::Failure;
use super::cli::RunArgs;
use super::device::opened;
use super::hub::find_loras;
use super::input::{folder_of, is_stdin, load};
use super::interruption::Interruption;
use super::report::{Report, steps_per_second};
use super::session::{KnownModel, LoadedModel, overflow_warning, plan_for};
use crate::artifact::{self, ArtifactError, Existing, Prepared};
use crate::engine::render::Rendered;
use crate::engine::{EngineError, Precision};
use crate::model::hub::Wanted;
use crate::quantity::Seed;
use crate::recipe;

/// Outputs that would destroy something.
#[derive(Debug, thiserror::Error)]
enum OutputError {
    /// Two outputs have one name.
    #[error("the picture and its latents cannot both be `{}`; give them different names", path.display())]
    Same { path: PathBuf },
    /// An output is to go where nothing goes.
    #[error("pictures and latents are written to files, not to the standard output: give a name instead of `-`")]
    Stdout,
    /// An output has the recipe's name.
    #[error("`{}` is the recipe itself; give the output another name", path.display())]
    Recipe { path: PathBuf },
}

/// Renders a recipe: one picture for each seed.
pub(super) fn run(args: &RunArgs, report: &mut Report) -> Result<(), Failure> {
    let interruption = Interruption::watch(report);
    // First of all: nothing is to be fetched or read for a device that is not there.
    opened(args.network.device)?;
    let (source, recipe, checked) = load(&args.recipe, report)?;
    let folder = folder_of(&args.recipe);
    let wanted = Wanted::Model { half: args.network.precision != Precision::F32 };
    let known = KnownModel::read(&recipe, folder, wanted, report, &|| interruption.raised())?;
    let loras = find_loras(&recipe, folder, report, &|| interruption.raised())?;
    let plan = plan_for(&recipe, &known, &checked.file, &source, report)?;

    let existing = if args.force || recipe.overwrite { Existing::Replace } else { Existing::Keep };
    let drawn = recipe.seeds.is_empty();
    let mut seeds = if drawn { vec![random_seed()] } else { recipe.seeds.clone() };
    // A seed that is named twice paints one picture.
    let mut painted = HashSet::new();
    seeds.retain(|seed| painted.insert(*seed));
    let default_output =
        || if is_stdin(&args.recipe) { "picture.png".into() } else { args.recipe.with_extension("png") };
    let output = args.output.clone().unwrap_or_else(default_output);
    let several = seeds.len() > 1;
    let outputs: Vec<Outputs> = seeds
        .iter()
        .map(|&seed| Outputs {
            picture: named_for(&output, seed, several),
            latents: args.latents.as_ref().map(|path| named_for(path, seed, several)),
        })
        .collect();
    // Minutes of rendering must not end in a refusal that could have come first.
    let mut taken = HashSet::new();
    for path in outputs.iter().flat_map(Outputs::paths) {
        if !is_stdin(&args.recipe) && same_place(path) == same_place(&args.recipe) {
            return Err(OutputError::Recipe { path: path.to_owned() }.into());
        }
        if path.as_os_str() == "-" {
            return Err(OutputError::Stdout.into());
        }
        if !taken.insert(same_place(path)) {
            return Err(OutputError::Same { path: path.to_owned() }.into());
        }
        artifact::may_write(path, existing)?;
    }

    // This thread is one of them, so that none waits while another computes for it.
    let threads = rayon::ThreadPoolBuilder::new().num_threads(args.threads.unwrap_or(0).into());
    threads.use_current_thread().build_global()?;
    let model = LoadedModel::load(&known, &plan, loras, args.network, args.memory, report)?;
    for (seed, outputs) in seeds.iter().zip(&outputs) {
        let bar = report.progress(&outputs.picture.display().to_string(), recipe.steps.get());
        let began = Instant::now();
        let mut sampling_seconds = None;
        let rendered = model.painter.render(&plan, &model.condition, seed.0, &mut |state| {
            let step = plan.steps.get(state.done()).map(|step| step.step);
            bar.set_position(step.unwrap_or(recipe.steps.get()) as u64);
            if step.is_none() {
                sampling_seconds.get_or_insert_with(|| began.elapsed().as_secs_f64());
            }
            if interruption.raised() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        bar.finish_and_clear();
        let rendered = rendered.map_err(|error| match error {
            EngineError::Interrupted => Failure::Interrupted,
            error => error.into(),
        })?;
        let seconds = began.elapsed().as_secs_f64();
        if rendered.overflowed {
            report.warning(&format!("{}: {}", outputs.picture.display(), overflow_warning(args.network.precision)));
        }

        let text = recipe::with_seed(&source, *seed);
        interruption.hold_off(|| outputs.write(&rendered, &text, args.network.precision, existing))?;
        let seed_note = if drawn { format!(", seed {} (drawn: the recipe has none)", seed.0) } else { String::new() };
        report.remark(&format!(
            "wrote {}{seed_note}: {}, {} steps in {seconds:.1} s, {}",
            outputs.paths().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" and "),
            plan.size,
            recipe.steps.get(),
            steps_per_second(recipe.steps.get() as f64 / sampling_seconds.unwrap_or(seconds)),
        ));
        report.item("pictures", || {
            json!({
                "file": outputs.picture.display().to_string(),
                "latents": outputs.latents.as_ref().map(|path| path.display().to_string()),
                "seed": seed.0,
                "width": plan.size.width(),
                "height": plan.size.height(),
                "precision": args.network.precision.name(),
                "seconds": seconds,
                "network_evaluations": plan.rows(),
            })
        });
    }
    Ok(())
}

/// The files of one picture.
struct Outputs {
    picture: PathBuf,
    latents: Option<PathBuf>,
}

impl Outputs {
    /// Writes the picture with its recipe, and the latents: all of them or none.
    fn write(
        &self,
        rendered: &Rendered,
        recipe: &str,
        precision: Precision,
        existing: Existing,
    ) -> Result<(), ArtifactError> {
        let picture = artifact::png::encode_noted(&rendered.picture, recipe, Some(precision.name()))?;
        let mut prepared = vec![Prepared::write(&self.picture, existing, |file| file.write_all(&picture))?];
        if let Some(path) = &self.latents {
            let latents = artifact::latents(rendered.latents_shape, &rendered.latents)?;
            prepared.push(Prepared::write(path, existing, |file| file.write_all(&latents))?);
        }
        prepared.into_iter().try_for_each(Prepared::keep)
    }

    fn paths(&self) -> impl Iterator<Item = &Path> {
        [Some(self.picture.as_path()), self.latents.as_deref()].into_iter().flatten()
    }
}

/// `glasses.png` for one seed, `glasses-42.png` for one of several.
pub(super) fn named_for(path: &Path, seed: Seed, several: bool) -> PathBuf {
    if !several {
        return path.to_owned();
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let name = match path.extension() {
        Some(extension) => format!("{stem}-{}.{}", seed.0, extension.to_string_lossy()),
        None => format!("{stem}-{}", seed.0),
    };
    path.with_file_name(name)
}

/// A seed by chance. 32 bits are all that the noise depends on, and are easier to copy than 64.
pub(super) fn random_seed() -> Seed {
    Seed(RandomState::new().build_hasher().finish() & u64::from(u32::MAX))
}

/// What two names of one file have in common.
pub(super) fn same_place(path: &Path) -> PathBuf {
    let in_folder = || Some(std::path::absolute(path).ok()?.parent()?.canonicalize().ok()?.join(path.file_name()?));
    path.canonicalize().ok().or_else(in_folder).unwrap_or_else(|| path.to_owned())
}
