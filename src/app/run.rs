//! `sega run`.

use std::collections::HashSet;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;

use super::Failure;
use super::cli::RunArgs;
use super::device::{Network, compute_here, threads};
use super::dispatch::share_out;
use super::hub::find_loras;
use super::input::{folder_of, is_stdin, load};
use super::interruption::Interruption;
use super::report::{Report, steps_per_second};
use super::session::{KnownModel, LoadedModel, plan_for, remarks};
use crate::artifact::{self, ArtifactError, Existing, Prepared};
use crate::engine::Precision;
use crate::engine::device::peak_memory;
use crate::engine::limits::{Limits, Stop};
use crate::engine::render::Rendered;
use crate::engine::sampler::State;
use crate::model::hub::Wanted;
use crate::plan::Plan;
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
    let started = Instant::now();
    let interruption = Interruption::watch(report);
    // First of all: nothing is to be fetched or read for a device that is not there.
    let networks: Vec<Network> =
        args.device.iter().map(|choice| Network::open(args.network, *choice)).collect::<Result<_, _>>()?;
    let (source, recipe, checked) = load(&args.recipe, report)?;
    let folder = folder_of(&args.recipe);
    let wanted = Wanted::Model { half: networks.iter().all(|network| network.precision != Precision::F32) };
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

    let jobs: Vec<Job> = seeds.iter().zip(&outputs).map(|(&seed, outputs)| Job { seed, outputs }).collect();
    let load = |network: &Network, warn: &mut dyn FnMut(&str)| {
        let ended = || interruption.raised();
        LoadedModel::load(&known, &plan, loras.clone(), network, Stop::when(&ended), warn)
    };
    let steps = recipe.steps.get();
    let seed_note =
        |seed: Seed| if drawn { format!(", seed {} (drawn: the recipe has none)", seed.0) } else { String::new() };
    let finish = |painted: Painted<'_>, report: &mut Report| -> Result<(), Failure> {
        let Painted { job: Job { seed, outputs }, rendered, precision, times, memory_peak } = painted;
        let seconds = times.all.as_secs_f64();
        for remark in remarks(precision, rendered.overflowed, rendered.reduced_rows) {
            report.warning(&format!("{}: {remark}", outputs.picture.display()));
        }
        let text = recipe::with_seed(&source, seed);
        interruption.hold_off(|| outputs.write(&rendered, &text, precision, existing))?;
        report.remark(&format!(
            "wrote {}{}: {}, {steps} steps in {seconds:.1} s, {}",
            outputs.paths().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" and "),
            seed_note(seed),
            plan.size,
            steps_per_second(steps as f64 / times.sampling.as_secs_f64()),
        ));
        report.item("pictures", || {
            json!({
                "file": outputs.picture.display().to_string(),
                "latents": outputs.latents.as_ref().map(|path| path.display().to_string()),
                "seed": seed.0,
                "width": plan.size.width(),
                "height": plan.size.height(),
                "precision": precision.name(),
                "seconds": seconds,
                "sampling_seconds": times.sampling.as_secs_f64(),
                "first_step_after_seconds": (times.first_step - started).as_secs_f64(),
                "device_memory_peak": memory_peak,
                "network_evaluations": plan.rows(),
            })
        });
        Ok(())
    };

    if networks.len() == 1 || jobs.len() == 1 {
        compute_here(args.network)?;
        let network = &networks[0];
        let model = load(network, &mut |warning| report.warning(warning))?;
        for job in jobs {
            let bar = report.progress(&job.outputs.picture.display().to_string(), steps);
            let painted = paint(&model, &plan, job, network, &interruption, &|done| bar.set_position(done as u64));
            bar.finish_and_clear();
            finish(painted?, report)?;
        }
        return Ok(());
    }
    threads(args.network).build_global()?;
    let all = format!("{} pictures on {} devices", jobs.len(), networks.len().min(jobs.len()));
    let bar = report.progress(&all, steps * jobs.len());
    let (first, mut told) = (report.clone(), report.clone());
    let ready = |(number, network): (usize, Network)| {
        // What is to be said of the texts is the same everywhere.
        let mut report = first.clone();
        let model = load(&network, &mut |warning| {
            if number == 0 {
                report.warning(warning)
            }
        })?;
        Ok((model, network))
    };
    let work = |(model, network): &mut (LoadedModel, Network), job| {
        let before = std::cell::Cell::new(0);
        paint(model, &plan, job, network, &interruption, &|done| bar.inc((done - before.replace(done)) as u64))
    };
    let result = share_out(networks.into_iter().enumerate().collect(), jobs, ready, work, |painted| {
        bar.suspend(|| finish(painted, &mut told))
    });
    bar.finish_and_clear();
    result
}

/// A picture that is to be made.
struct Job<'a> {
    seed: Seed,
    outputs: &'a Outputs,
}

/// A picture that is made.
struct Painted<'a> {
    job: Job<'a>,
    rendered: Rendered,
    precision: Precision,
    times: Times,
    /// The most bytes that tensors have taken on a card so far.
    memory_peak: Option<u64>,
}

/// When, and for how long, a picture was made.
struct Times {
    all: Duration,
    /// Without the decoder.
    sampling: Duration,
    first_step: Instant,
}

/// Makes a picture; `step` is told how many steps are done.
fn paint<'a>(
    model: &LoadedModel,
    plan: &Plan,
    job: Job<'a>,
    network: &Network,
    interruption: &Interruption,
    step: &dyn Fn(usize),
) -> Result<Painted<'a>, Failure> {
    let first_step = Instant::now();
    let mut sampling = None;
    let end = plan.steps.last().map_or(0, |last| last.step + 1);
    let ended = || interruption.raised();
    let mut watch = |state: &State| {
        let next = plan.steps.get(state.done());
        step(next.map_or(end, |next| next.step));
        if next.is_none() {
            sampling.get_or_insert_with(|| first_step.elapsed());
        }
        if ended() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let limits = Limits { rows: model.rows, stop: Stop::when(&ended) };
    let begin = model.painter.begin(plan, job.seed.0)?;
    let rendered = model.painter.render_from(plan, &model.condition, begin, &mut watch, limits)?;
    let all = first_step.elapsed();
    let times = Times { all, sampling: sampling.unwrap_or(all), first_step };
    Ok(Painted { job, rendered, precision: network.precision, times, memory_peak: peak_memory(&network.device) })
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
