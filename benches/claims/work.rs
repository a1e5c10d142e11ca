//! Painting and reading the pictures on a list, several at a time.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use rayon::{ThreadPool, ThreadPoolBuilder};
use sega::artifact::Picture;

use crate::Fault;
use crate::book::Shot;
use crate::concepts::Region;
use crate::oracle::Oracle;
use crate::store::{Change, Reading};
use crate::studio::Studio;

/// Workers that paint a picture each. The engine spreads one picture over threads as well, but waits for them at every
/// layer: a thread for each picture does more in the same time.
pub(crate) struct Workshop {
    pub(crate) studio: Studio,
    pub(crate) oracle: Oracle,
    workers: Vec<ThreadPool>,
    /// Pictures before edits, by their recipes.
    before: Mutex<HashMap<String, Arc<Picture>>>,
}

impl Workshop {
    /// As many workers as asked for, which share the processors.
    pub(crate) fn new(studio: Studio, oracle: Oracle, workers: usize) -> Result<Self, Fault> {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let pool = |_| ThreadPoolBuilder::new().num_threads((processors / workers).max(1)).build();
        let workers = (0..workers).map(pool).collect::<Result<_, _>>()?;
        Ok(Self { studio, oracle, workers, before: Mutex::default() })
    }

    /// Reads the pictures of a list; `done` gets each reading as it comes.
    pub(crate) fn read(
        &self,
        shots: Vec<(String, Shot)>,
        done: impl FnMut(String, Reading) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.each(&shots, |(key, shot)| Ok((key.clone(), self.reading(shot)?)), {
            let mut done = done;
            move |(key, reading)| done(key, reading)
        })
    }

    /// Paints recipes; `done` gets each one's place in the list and its picture.
    pub(crate) fn paint(
        &self,
        recipes: &[String],
        done: impl FnMut((usize, Picture)) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let numbered: Vec<(usize, &String)> = recipes.iter().enumerate().collect();
        self.each(&numbered, |(place, recipe)| Ok((*place, self.studio.paint(recipe)?)), done)
    }

    /// Does `work` for every job, on whichever worker is free; the first fault ends it all.
    fn each<J: Sync, R: Send>(
        &self,
        jobs: &[J],
        work: impl Fn(&J) -> Result<R, Fault> + Sync,
        mut done: impl FnMut(R) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            let (sender, results) = mpsc::channel();
            for pool in &self.workers {
                let (sender, next, work) = (sender.clone(), &next, &work);
                scope.spawn(move || {
                    while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                        // Nobody listens any more after a fault.
                        if sender.send(pool.install(|| work(job))).is_err() {
                            break;
                        }
                    }
                });
            }
            drop(sender);
            results.into_iter().try_for_each(|result| done(result?))
        })
    }

    fn reading(&self, shot: &Shot) -> Result<Reading, Fault> {
        let picture = self.studio.paint(&shot.recipe)?;
        // Four digits are more than a picture of 8 bits is worth.
        let logits = self.oracle.read(&picture)?.into_iter().map(|logit| (logit * 1e4).round() / 1e4).collect();
        let change = match &shot.before {
            Some((before, regions)) => Some(change(&*self.picture_before(before)?, &picture, regions)),
            None => {
                self.remember(&shot.recipe, picture);
                None
            }
        };
        Ok(Reading { logits, change })
    }

    fn picture_before(&self, recipe: &str) -> Result<Arc<Picture>, Fault> {
        let known = self.before.lock().unwrap_or_else(PoisonError::into_inner).get(recipe).cloned();
        match known {
            Some(picture) => Ok(picture),
            None => Ok(self.remember(recipe, self.studio.paint(recipe)?)),
        }
    }

    fn remember(&self, recipe: &str, picture: Picture) -> Arc<Picture> {
        let picture = Arc::new(picture);
        let mut before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        before.insert(recipe.to_owned(), Arc::clone(&picture));
        picture
    }
}

/// How far two pictures of one size are apart, in all and outside of regions.
fn change(before: &Picture, after: &Picture, regions: &[Region]) -> Change {
    let (width, height) = (after.width, after.height);
    let inside = |x: f64, y: f64| regions.iter().any(|&[l, t, r, b]| (l..r).contains(&x) && (t..b).contains(&y));
    let (mut all, mut outside, mut pixels_outside) = (0.0, 0.0, 0_usize);
    let pairs = before.rgb.chunks_exact(3).zip(after.rgb.chunks_exact(3));
    for (place, (old, new)) in pairs.enumerate() {
        let apart = old.iter().zip(new).map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / 3.0;
        all += apart;
        let (x, y) = ((place % width) as f64 + 0.5, (place / width) as f64 + 0.5);
        if !inside(x / width as f64, y / height as f64) {
            outside += apart;
            pixels_outside += 1;
        }
    }
    let outside = (pixels_outside > 0).then(|| rounded(outside / pixels_outside as f64));
    Change { all: rounded(all / (width * height) as f64), outside }
}

fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}
