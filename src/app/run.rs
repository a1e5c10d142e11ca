//! `sega run`.

use std::collections::HashSet;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde_json::json;

use super::Failure;
use super::cli::RunArgs;
use super::input::{folder_of, is_stdin, load};
use super::report::{Report, steps_per_second};
use super::session::{KnownModel, LoadedModel, plan_for};
use crate::artifact::{self, Existing, write_atomically};
use crate::engine::EngineError;
use crate::quantity::Seed;
use crate::recipe;

/// Renders a recipe: one picture for each seed.
pub(super) fn run(args: &RunArgs, report: &mut Report) -> Result<(), Failure> {
    let (source, recipe, checked) = load(&args.recipe, report)?;
    let folder = folder_of(&args.recipe);
    let known = KnownModel::read(&recipe.model.value, folder)?;
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
    for path in outputs.iter().flat_map(Outputs::paths) {
        artifact::may_write(path, existing)?;
    }

    let interrupted = watch_for_interrupts();
    let model = LoadedModel::load(&known)?;
    let condition = model.condition(&plan, report)?;
    for (seed, outputs) in seeds.iter().zip(&outputs) {
        let bar = report.progress(&outputs.picture.display().to_string(), plan.steps.len());
        let began = Instant::now();
        let rendered = model.painter.render(&plan, &condition, seed.0, &mut |done| {
            bar.set_position(done as u64);
            if interrupted.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        bar.finish_and_clear();
        let rendered = rendered.map_err(|error| match error {
            EngineError::Interrupted => Failure::Interrupted,
            error => error.into(),
        })?;
        let seconds = began.elapsed().as_secs_f64();

        if let Some(path) = &outputs.latents {
            let bytes = artifact::latents(rendered.latents_shape, &rendered.latents)?;
            write_atomically(path, existing, |file| file.write_all(&bytes))?;
        }
        let text = recipe::with_seed(&source, *seed);
        let bytes = artifact::png::encode(&rendered.picture, &text)?;
        write_atomically(&outputs.picture, existing, |file| file.write_all(&bytes))?;
        let seed_note = if drawn { format!(", seed {} (drawn: the recipe has none)", seed.0) } else { String::new() };
        report.remark(&format!(
            "wrote {}{seed_note}: {}, {} steps in {seconds:.1} s, {}",
            outputs.paths().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" and "),
            plan.size,
            recipe.steps.get(),
            steps_per_second(plan.steps.len() as f64 / seconds),
        ));
        report.item("pictures", || {
            json!({
                "file": outputs.picture,
                "latents": outputs.latents,
                "seed": seed.0,
                "width": plan.size.width(),
                "height": plan.size.height(),
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
    fn paths(&self) -> impl Iterator<Item = &Path> {
        [Some(self.picture.as_path()), self.latents.as_deref()].into_iter().flatten()
    }
}

/// `glasses.png` for one seed, `glasses-42.png` for one of several.
fn named_for(path: &Path, seed: Seed, several: bool) -> PathBuf {
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
fn random_seed() -> Seed {
    Seed(RandomState::new().build_hasher().finish() & u64::from(u32::MAX))
}

/// A flag that rises with the first Ctrl-C (or polite termination): the render ends before its next evaluation. A
/// second one ends the program at once.
fn watch_for_interrupts() -> Arc<AtomicBool> {
    let flag = Arc::new(AtomicBool::new(false));
    let raised = Arc::clone(&flag);
    let handler = move || {
        if raised.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    };
    // Without a handler the system's own stands: the program ends at once, and nothing half-written is left either.
    let _ = ctrlc::set_handler(handler);
    flag
}
