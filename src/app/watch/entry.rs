//! One watched recipe: what its file says now, and whether that is news.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;

use super::easel::Job;
use super::fetch::Absent;
use super::output::Output;
use super::short_name;
use crate::app::Failure;
use crate::app::device::Network;
use crate::app::hub::{self, find_loras_with};
use crate::app::input::{self, InputError, folder_of};
use crate::app::run::random_seed;
use crate::app::session::{KnownModel, Order, Stamp, plan_or_mistake, size_warning};
use crate::diagnostic::Diagnostics;
use crate::engine::Precision;
use crate::model::hub::{HubId, Wanted};
use crate::quantity::Seed;
use crate::recipe::{self, Recipe};
use crate::source::Source;

/// A watched recipe.
pub(super) struct Entry {
    pub(super) path: PathBuf,
    pub(super) name: String,
    output: PathBuf,
    force: bool,
    network: Network,
    /// The seed of a recipe that has none, the same as long as it is watched, so that edits can be compared.
    drawn: Seed,
    /// What was read last.
    last: Option<Last>,
    /// The files that the last recipe that was right is made from, beside its own.
    reads: Vec<PathBuf>,
    /// What the last recipe that was right needs of a hub and is not here.
    absent: Option<Absent>,
}

/// What tells whether anything has changed since.
struct Last {
    text: Option<String>,
    stamps: Vec<Stamp>,
}

/// What a recipe says.
pub(super) enum Reading {
    /// The same as before.
    Same,
    /// It can be rendered. There may be warnings.
    Right(Box<Job>, Option<(Source, Diagnostics)>),
    /// Its model has to come first.
    Absent,
    /// It has mistakes.
    Broken(Source, Diagnostics),
    /// Its file is not there.
    Missing,
    /// It cannot be read, or its model cannot.
    Failed(Failure),
}

impl Entry {
    pub(super) fn new(path: &Path, output: Option<&Path>, force: bool, network: Network) -> Self {
        Self {
            path: path.to_owned(),
            name: short_name(path),
            output: output.map_or_else(|| path.with_extension("png"), Path::to_owned),
            force,
            network,
            drawn: random_seed(),
            last: None,
            reads: Vec::new(),
            absent: None,
        }
    }

    /// The files that it depends on, its own first.
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        std::iter::once(self.path.as_path()).chain(self.reads.iter().map(PathBuf::as_path))
    }

    /// Whether, as far as can be told without reading, a file of it is another than at the last reading.
    pub(super) fn looks_changed(&self) -> bool {
        self.last.as_ref().is_none_or(|last| last.stamps != self.stamps())
    }

    fn stamps(&self) -> Vec<Stamp> {
        self.files().map(Stamp::of).collect()
    }

    /// What it needs of a hub and is not here.
    pub(super) fn absent(&self) -> Option<&Absent> {
        self.absent.as_ref()
    }

    /// What it needs of a hub is not to be had, until it is read anew.
    pub(super) fn give_up(&mut self) {
        self.absent = None;
    }

    /// Takes what the file says for new.
    pub(super) fn read_anew(&mut self) {
        self.last = None;
    }

    /// Draws another seed, where the recipe has none, and takes what the file says for new.
    pub(super) fn forget(&mut self) {
        self.drawn = random_seed();
        self.last = None;
    }

    /// Reads the recipe. With `hasty`, what is wrong with it is not taken for read yet: an editor may be halfway through.
    pub(super) fn read(&mut self, number: usize, hasty: bool) -> Reading {
        let stamps = self.stamps();
        let source = match input::read(&self.path) {
            Ok(source) => Ok(source),
            Err(InputError::Unreadable { cause, .. }) if cause.kind() == std::io::ErrorKind::NotFound => {
                Err(Reading::Missing)
            }
            Err(error) => Err(Reading::Failed(error.into())),
        };
        let text = source.as_ref().ok().map(|source| source.text.clone());
        if self.last.as_ref().is_some_and(|last| last.text == text && last.stamps[1..] == stamps[1..]) {
            // Touched, or moved away and back.
            if let Some(last) = &mut self.last {
                last.stamps = stamps;
            }
            return Reading::Same;
        }
        let reading = source.map_or_else(|reading| reading, |source| self.understand(number, source));
        if matches!(reading, Reading::Right(..) | Reading::Absent) || !hasty {
            // The files that it depends on may be others now.
            self.last = Some(Last { text, stamps: self.stamps() });
        }
        reading
    }

    /// Checks and plans a recipe.
    fn understand(&mut self, number: usize, source: Source) -> Reading {
        let checked = recipe::parse(&source);
        let Some(recipe) = checked.recipe else {
            return match checked.diagnostics {
                Some(diagnostics) => Reading::Broken(source, diagnostics),
                None => Reading::Same,
            };
        };
        // Also what is not there, as it may come.
        self.reads = named(&recipe, folder_of(&self.path));
        let wanted = Wanted::Model { half: self.network.precision != Precision::F32 };
        let absent = &mut self.absent;
        *absent = None;
        let mut get = |id: &HubId, wanted| {
            hub::cached(id, wanted).ok_or_else(|| {
                *absent = Some(Absent { id: id.clone(), wanted });
                Failure::Interrupted
            })
        };
        let known = KnownModel::read_with(&recipe, folder_of(&self.path), wanted, &mut get);
        self.reads.extend(known.iter().flat_map(KnownModel::reads));
        let loras = find_loras_with(&recipe, folder_of(&self.path), &mut get);
        let (known, loras) = match (known, loras) {
            (Ok(known), Ok(loras)) => (known, loras),
            _ if self.absent.is_some() => return Reading::Absent,
            (Err(failure), _) | (_, Err(failure)) => return Reading::Failed(failure),
        };
        self.reads.extend(loras.iter().map(|lora| lora.path.clone()));
        let plan = match plan_or_mistake(&recipe, &known, &checked.file) {
            Ok(plan) => plan,
            Err(mistake) => return Reading::Broken(source, mistake.into()),
        };
        let warnings = size_warning(&recipe, &known, &plan).into_iter().collect();
        let order = match Order::new(known, loras, self.network.clone(), plan, warnings) {
            Ok(order) => order,
            Err(failure) => return Reading::Failed(failure),
        };
        let drawn = recipe.seeds.is_empty();
        let mut seeds = if drawn { vec![self.drawn] } else { recipe.seeds.clone() };
        let mut seen = std::collections::HashSet::new();
        seeds.retain(|seed| seen.insert(*seed));
        let several = seeds.len() > 1;
        let force = self.force || recipe.overwrite;
        let outputs = seeds.iter().map(|seed| Output::new(&self.output, *seed, several, force)).collect();
        let warnings = checked.diagnostics.map(|diagnostics| (source.clone(), diagnostics));
        let messages = warnings.iter().flat_map(|(_, all)| all).map(|one| one.message.clone()).collect();
        let (file, steps) = (checked.file, recipe.steps.get());
        let finished = AtomicUsize::new(0);
        let job =
            Job { recipe: number, source, file, order, seeds, outputs, steps, drawn, warnings: messages, finished };
        Reading::Right(Box::new(job), warnings)
    }
}

/// What a recipe names, as files beside it. Folders are left out: they change when anything in them does.
fn named(recipe: &Recipe, folder: &Path) -> Vec<PathBuf> {
    let sources = recipe.loras.iter().map(|lora| &lora.source);
    let names = std::iter::once(&recipe.model).chain(&recipe.vae).chain(sources);
    names.map(|name| folder.join(&name.value)).filter(|path| !path.is_dir()).collect()
}
