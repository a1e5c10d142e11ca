//! Where pictures are made: one at a time, always of the newest order, and dropped when it is not the newest any more.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::board::Board;
use super::output::Output;
use super::previews::{Previews, Speed};
use super::screen::{Screen, Told};
use super::view::{ChangeView, EffectView, Image, PictureView, RecipeView, Standing};
use crate::app::Failure;
use crate::app::interruption::Interruption;
use crate::app::session::{Order, Painted, Studio, StudioModel};
use crate::artifact::png;
use crate::engine::limits::Stop;
use crate::engine::preview::EffectMap;
use crate::engine::sampler::State;
use crate::plan::key::Key;
use crate::quantity::Seed;
use crate::recipe;
use crate::source::Source;
use crate::syntax::File;
use crate::syntax::changes::{Change, Text, changes};

/// A recipe that is to be rendered.
pub(super) struct Job {
    pub(super) recipe: usize,
    pub(super) source: Source,
    pub(super) file: File,
    pub(super) order: Order,
    pub(super) seeds: Vec<Seed>,
    pub(super) outputs: Vec<Output>,
    pub(super) steps: usize,
    pub(super) drawn: bool,
    /// What of the recipe is probably not meant.
    pub(super) warnings: Vec<String>,
    /// How many of the seeds have their picture.
    pub(super) finished: AtomicUsize,
}

/// The orders: at most one for each recipe, the newest. There is no queue.
#[derive(Default)]
pub(super) struct Easel {
    orders: Mutex<Orders>,
    news: Condvar,
}

#[derive(Default)]
struct Orders {
    /// The newest stands last.
    jobs: Vec<Arc<Job>>,
    paused: bool,
    closed: bool,
    /// The pictures that were finished last.
    finished: HashMap<usize, Vec<(Output, Image)>>,
}

impl Orders {
    /// What is to be done now: the newest order.
    fn newest(&self) -> Option<&Arc<Job>> {
        if self.paused || self.closed { None } else { self.jobs.last() }
    }
}

impl Easel {
    fn lock(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an order, in the place of an earlier one of the same recipe.
    pub(super) fn order(&self, job: Job) {
        let mut orders = self.lock();
        orders.jobs.retain(|known| known.recipe != job.recipe);
        orders.jobs.push(Arc::new(job));
        self.news.notify_all();
    }

    /// Stops, or goes on; says which.
    pub(super) fn pause(&self) -> bool {
        let mut orders = self.lock();
        orders.paused = !orders.paused;
        self.news.notify_all();
        orders.paused
    }

    /// No more renders.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.news.notify_all();
    }

    /// The pictures that were finished last, of all recipes or of one.
    pub(super) fn finished(&self, which: Option<usize>) -> Vec<(usize, Output, Image)> {
        let orders = self.lock();
        let pictures = orders.finished.iter().filter(|(recipe, _)| which.is_none_or(|which| which == **recipe));
        let named = |(recipe, (output, image)): (usize, &(Output, Image))| (recipe, output.clone(), image.clone());
        pictures.flat_map(|(recipe, pictures)| pictures.iter().map(|one| (*recipe, one)).map(named)).collect()
    }

    /// Waits for the next order; `None` when there will be no more.
    fn next(&self) -> Option<Arc<Job>> {
        let mut orders = self.lock();
        loop {
            if orders.closed {
                return None;
            }
            if let Some(job) = orders.newest() {
                return Some(job.clone());
            }
            orders = self.news.wait(orders).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Whether a job is still what is to be done now.
    fn is_newest(&self, job: &Arc<Job>) -> bool {
        self.lock().newest().is_some_and(|newest| Arc::ptr_eq(newest, job))
    }

    /// A job is over. A newer one of the same recipe stays.
    fn done(&self, job: &Arc<Job>) {
        self.lock().jobs.retain(|known| !Arc::ptr_eq(known, job));
    }
}

/// What of a recipe is on the board.
struct Shown {
    source: Source,
    file: File,
    /// By seed.
    ends: HashMap<u64, Key>,
}

/// Renders until the easel is closed.
pub(super) fn work(easel: &Easel, board: &Board, screen: &Screen, interruption: &Interruption, keep: usize) {
    let mut painter = Painter {
        studio: Studio::new(keep),
        speed: Speed::default(),
        shown: HashMap::new(),
        easel,
        board,
        screen,
        interruption,
    };
    while let Some(job) = easel.next() {
        match painter.paint(&job) {
            Ok(()) => easel.done(&job),
            // Another is newer; what this one came to is kept in case it comes back.
            Err(Failure::Interrupted) => board.recipe(job.recipe, |view| view.standing = Standing::Waiting),
            Err(failure) => {
                painter.failed(&job, &failure);
                easel.done(&job);
            }
        }
    }
}

/// What is told of a picture when it is there.
struct Finish<'a> {
    /// Whether it is the same as before.
    unchanged: bool,
    seconds: f64,
    /// What the recipe's author changed, if the view does not say it yet.
    changes: Option<&'a [Change]>,
}

struct Painter<'a> {
    studio: Studio,
    speed: Speed,
    shown: HashMap<usize, Shown>,
    easel: &'a Easel,
    board: &'a Board,
    screen: &'a Screen,
    interruption: &'a Interruption,
}

impl Painter<'_> {
    /// Makes the pictures of a job that are not there yet.
    fn paint(&mut self, job: &Arc<Job>) -> Result<(), Failure> {
        let changes: Vec<Change> = self.shown.get(&job.recipe).map_or_else(Vec::new, |shown| {
            let before = Text { file: &shown.file, source: &shown.source };
            changes(before, Text { file: &job.file, source: &job.source })
        });
        // What is known already is told with its picture, at once.
        let mut told = false;
        let mut ends = self.shown.get(&job.recipe).map(|shown| shown.ends.clone()).unwrap_or_default();
        for at in job.finished.load(Ordering::Relaxed)..job.seeds.len() {
            let seed = job.seeds[at].0;
            let began = Instant::now();
            if !told && !self.studio.knows(&job.order, seed) {
                told = true;
                self.board.recipe(job.recipe, |view| begin(view, job, &changes));
            }
            let painted = self.paint_seed(job, at)?;
            let end = job.order.keys(seed).last().copied();
            let unchanged = end.is_some() && ends.get(&seed).copied() == end;
            ends.extend(end.map(|end| (seed, end)));
            let seconds = began.elapsed().as_secs_f64();
            let changes_to_tell = (!told).then_some(changes.as_slice());
            let image = self.show(job, at, &painted, Finish { unchanged, seconds, changes: changes_to_tell })?;
            told = true;
            let file = self.write(job, at, &image);
            let resumed = step_at(job, painted.reused);
            let name = self.name(job);
            self.screen.rendered(&Told {
                recipe: &name,
                seed,
                drawn: job.drawn,
                changes: &changes,
                first: !self.shown.contains_key(&job.recipe),
                unchanged,
                resumed,
                steps: job.steps,
                seconds,
                file: file.as_deref(),
                picture: &painted.picture,
                png: &image.png,
            });
            painted.warnings.iter().for_each(|warning| self.screen.warning(&name, warning));
            job.finished.store(at + 1, Ordering::Relaxed);
        }
        ends.retain(|seed, _| job.seeds.iter().any(|known| known.0 == *seed));
        self.shown.insert(job.recipe, Shown { source: job.source.clone(), file: job.file.clone(), ends });
        Ok(())
    }

    /// Renders one seed, and shows how it becomes.
    fn paint_seed(&mut self, job: &Arc<Job>, at: usize) -> Result<Painted, Failure> {
        let Self { studio, speed, easel, board, screen, interruption, .. } = self;
        let mut previews = Previews::of(job.order.plan.steps.len());
        let mut resumed = None;
        screen.begin(&job.outputs[at].path.display().to_string(), job.steps);
        let ended = || interruption.raised() || !easel.is_newest(job);
        let mut watch = |model: &StudioModel, state: &State| {
            if ended() {
                return ControlFlow::Break(());
            }
            let step = step_at(job, state.done());
            let resumed = *resumed.get_or_insert(step);
            screen.step(step);
            let preview = if board.is_looked_at() { previews.make(speed, model, state) } else { None };
            board.recipe(job.recipe, |view| {
                if let Some(picture) = view.pictures.get_mut(at) {
                    (picture.step, picture.resumed, picture.rendering) = (step, resumed, true);
                    if let Some(png) = preview {
                        picture.show_preview(Image::new(png));
                    }
                }
            });
            ControlFlow::Continue(())
        };
        let painted = studio.paint(&job.order, job.seeds[at].0, &mut watch, Stop::when(&ended));
        screen.end();
        painted
    }

    /// Puts a finished picture on the board.
    fn show(&self, job: &Job, at: usize, painted: &Painted, finish: Finish<'_>) -> Result<Image, Failure> {
        let Finish { unchanged, seconds, changes } = finish;
        let text = recipe::with_seed(&job.source, job.seeds[at]);
        let precision = job.order.network.precision.name();
        let image = Image::new(painted.compressed.encode(&text, Some(precision))?);
        let effects = self.effects(job, &painted.effects)?;
        self.board.recipe(job.recipe, |view| {
            if let Some(changes) = changes {
                begin(view, job, changes);
            }
            if let Some(picture) = view.pictures.get_mut(at) {
                let old = picture.current.replace(image.clone());
                if !unchanged {
                    picture.previous = old.or(picture.previous.take());
                }
                picture.show_no_preview();
                picture.effects = effects;
                picture.seconds = Some(seconds);
                picture.resumed = step_at(job, painted.reused);
                (picture.step, picture.rendering) = (job.steps, false);
            }
            if unchanged {
                view.note = Some("the same picture: nothing that it is made from has changed".to_owned());
            }
            // Every seed of a recipe has the same.
            let new = painted.warnings.iter().filter(|warning| !view.warnings.contains(warning)).cloned();
            view.warnings.extend(new.collect::<Vec<_>>());
            if at + 1 == job.seeds.len() {
                view.standing = Standing::Done;
            }
        });
        let mut orders = self.easel.lock();
        let finished = orders.finished.entry(job.recipe).or_default();
        finished.retain(|(output, _)| {
            output.path != job.outputs[at].path && job.outputs.iter().any(|known| known.path == output.path)
        });
        finished.push((job.outputs[at].clone(), image.clone()));
        Ok(image)
    }

    /// Writes a picture; says of what hinders. It is on the page all the same.
    fn write(&self, job: &Job, at: usize, image: &Image) -> Option<PathBuf> {
        let output = &job.outputs[at];
        match self.interruption.hold_off(|| output.write(&image.png)) {
            Ok(()) => Some(output.path.clone()),
            Err(error) => {
                let message = crate::app::report::message(&error);
                self.screen.note("unwritten", &self.name(job), &message);
                self.board.recipe(job.recipe, |view| view.warnings.push(message));
                None
            }
        }
    }

    /// Where the concepts acted, as overlays.
    fn effects(&self, job: &Job, maps: &[EffectMap]) -> Result<Vec<EffectView>, Failure> {
        let sum = |map: &EffectMap| map.values.iter().map(|value| f64::from(*value)).sum::<f64>();
        let total: f64 = maps.iter().map(sum).sum();
        let plan = &job.order.plan;
        let effect = |(number, (concept, map)): (usize, (usize, &EffectMap))| {
            let concept = &plan.concepts[concept];
            Ok(EffectView {
                name: concept.name.clone(),
                direction: concept.direction.name(),
                share: if total > 0.0 { sum(map) / total } else { 0.0 },
                image: Image::new(png::encode_overlay(map.width, map.height, &overlay(map, number))?),
            })
        };
        plan.acting().into_iter().zip(maps).enumerate().map(effect).collect()
    }

    fn failed(&self, job: &Job, failure: &Failure) {
        let message = match failure {
            Failure::Run(error) => crate::app::report::message(error.as_ref()),
            Failure::Recipe | Failure::Interrupted => "the render was ended".to_owned(),
        };
        self.screen.note("failed", &self.name(job), &message);
        self.board.recipe(job.recipe, |view| {
            view.standing = Standing::Failed;
            view.warnings.push(message);
            view.pictures.iter_mut().for_each(|picture| picture.rendering = false);
        });
    }

    fn name(&self, job: &Job) -> String {
        job.source.name.clone()
    }
}

/// The recipe's step that so many evaluations lead to.
fn step_at(job: &Job, evaluations: usize) -> usize {
    job.order.plan.steps.get(evaluations).map_or(job.steps, |step| step.step)
}

/// The view when a job begins: pictures of seeds that were there before stay.
fn begin(view: &mut RecipeView, job: &Job, changes: &[Change]) {
    view.standing = Standing::Rendering;
    view.note = None;
    view.warnings.clone_from(&job.warnings);
    view.changes = changes
        .iter()
        .map(|change| ChangeView {
            what: change.what.clone(),
            before: change.before.clone(),
            after: change.after.clone(),
        })
        .collect();
    let mut old = std::mem::take(&mut view.pictures);
    let size = job.order.plan.size;
    for (seed, output) in job.seeds.iter().zip(&job.outputs) {
        let known = old.iter().position(|picture| picture.seed == seed.0).map(|at| old.swap_remove(at));
        let known = known.or_else(|| (job.seeds.len() == 1).then(|| old.pop()).flatten());
        view.pictures.push(PictureView {
            seed: seed.0,
            file: super::short_name(&output.path),
            width: size.width(),
            height: size.height(),
            steps: job.steps,
            ..known.unwrap_or_default()
        });
    }
}

/// Colours of overlays, far from each other; the page has the same.
const COLORS: [[u8; 3]; 6] =
    [[255, 92, 53], [38, 132, 255], [46, 184, 92], [214, 64, 189], [242, 176, 0], [0, 178, 178]];

/// A map as pixels of one colour, the more opaque the stronger the effect.
fn overlay(map: &EffectMap, number: usize) -> Vec<u8> {
    let most = map.values.iter().copied().fold(0.0, f32::max);
    let [red, green, blue] = COLORS[number % COLORS.len()];
    let opacity = |value: f32| if most > 0.0 { ((value / most).powf(0.6) * 225.0) as u8 } else { 0 };
    map.values.iter().flat_map(|&value| [red, green, blue, opacity(value)]).collect()
}
