//! Measures what editing achieves on a model whose world is known: `cargo bench --bench claims -- --quick`.
//!
//! Recipes are written as users write them ([`recipes`], from [`prompts`] and [`concepts`]), painted by the program's own
//! pipeline ([`studio`], [`work`]), and read by a classifier of the world's attributes ([`oracle`]). Each claim
//! ([`measure`]) is a function of those readings. All readings are kept ([`store`]): a run that was ended goes on where
//! it was, and a changed claim paints only what it lacks. A changed engine is not noticed: give it another folder.

mod args;
mod attributes;
mod book;
mod canvas;
mod concepts;
mod figures;
mod measure;
mod oracle;
mod plot;
mod progress;
mod prompts;
mod recipes;
mod sheet;
mod statistics;
mod store;
mod studio;
mod work;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use sega::artifact::{Existing, write_atomically};
use sega::recipe::Direction;

use args::Args;
use book::Book;
use concepts::{CONCEPTS, TOGETHER, named};
use measure::{CLAIMS, Claim, Findings, Study};
use oracle::{Oracle, Vocabulary};
use progress::Progress;
use prompts::{PROMPTS, Wording};
use recipes::{Edit, Setup, asking, recipe};
use store::Store;
use studio::Studio;
use work::Workshop;

/// Whatever ends the program.
pub(crate) type Fault = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            // Where the standard error cannot be written to, nobody can be told.
            let _ = writeln!(std::io::stderr(), "error: {fault}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), Fault> {
    let studio = Studio::open(&args.model, args.device, args.precision)?;
    let oracle = Oracle::load(&args.oracle)?;
    let setup = Setup {
        model: args.model.clone(),
        wording: Wording::Plain,
        scheduler: studio.scheduler(),
        steps: args.steps(),
        guidance: args.guidance,
    };
    check(&studio, &oracle.vocabulary, &setup)?;
    if !args.bench {
        return Ok(());
    }
    std::fs::create_dir_all(&args.out)?;
    let store = Store::open(&args.out.join("results.jsonl"))?;
    let mut book = Book::new(store, &studio.identity, &oracle.identity);
    let heading = heading(args, &setup, &studio, &oracle);
    let workshop = Workshop::new(studio, oracle, args.workers())?;
    let mut progress = Progress::new();

    let claims: Vec<&Claim> =
        CLAIMS.iter().filter(|(name, _)| args.only.is_empty() || args.only.iter().any(|only| only == name)).collect();
    let findings = loop {
        let mut findings = Findings::default();
        let mut study = Study {
            book: &mut book,
            vocabulary: &workshop.oracle.vocabulary,
            accuracy: &workshop.oracle.accuracy,
            setup: setup.clone(),
            seeds: args.seeds(),
            each: args.each(),
            quick: args.quick,
        };
        for (_, measure) in &claims {
            measure(&mut study, &mut findings);
        }
        let (wanted, foreseen) = book.take_wanted();
        if wanted.is_empty() {
            break findings;
        }
        progress.round(wanted.len(), foreseen);
        workshop.read(wanted, |key, reading| {
            progress.step();
            Ok(book.add(key, reading)?)
        })?;
    };
    progress.finish();

    let mut report = heading;
    for table in [figures::claims(&findings.figures)].iter().chain(&findings.tables) {
        report.push_str(&format!("\n{}", table.markdown()));
    }
    keep(&args.out.join("claims.md"), report.as_bytes())?;
    if !findings.curves.is_empty() {
        keep(&args.out.join("strength.png"), &plot::draw(&findings.curves)?.png()?)?;
    }
    if !findings.pairs.is_empty() {
        let pictures = sheet::pictures(&workshop, &findings.pairs, &args.out, &progress)?;
        keep(&args.out.join("sheet.png"), &sheet::draw(&findings.pairs, &pictures)?.png()?)?;
    }
    std::io::stdout().write_all(report.as_bytes())?;
    Ok(())
}

fn keep(path: &Path, bytes: &[u8]) -> Result<(), Fault> {
    Ok(write_atomically(path, Existing::Replace, |file| file.write_all(bytes))?)
}

/// Refuses what would fail, or would measure something else, hours later.
fn check(studio: &Studio, vocabulary: &Vocabulary, setup: &Setup) -> Result<(), Fault> {
    let sought = CONCEPTS.iter().map(|concept| (concept.group, concept.value));
    let said = PROMPTS.iter().flat_map(|prompt| prompt.says.iter().copied());
    if let Some((group, value)) = sought.chain(said).find(|(group, value)| !vocabulary.knows(group, value)) {
        return Err(format!("the oracle does not read the value `{value}` of `{group}`").into());
    }
    if let Some(name) = TOGETHER.iter().copied().flatten().copied().flatten().find(|name| named(name).is_none()) {
        return Err(format!("there is no concept `{name}`").into());
    }
    for wording in [Wording::Plain, Wording::Paraphrased] {
        for prompt in PROMPTS {
            for concept in CONCEPTS.iter().filter(|concept| prompt.suits(concept)) {
                for direction in [Direction::Plus, Direction::Minus] {
                    let edits = [Edit::new(direction, concept)];
                    let text = asking(prompt.text(wording), concept.text);
                    studio.check(&recipe(setup, &text, None, 0, &edits))?;
                }
            }
        }
    }
    Ok(())
}

/// Under what conditions the figures hold.
fn heading(args: &Args, setup: &Setup, studio: &Studio, oracle: &Oracle) -> String {
    const SHOWN: usize = 12;
    let mut out = format!(
        "# What editing achieves\n\nModel `{}` ({}), {}, {} steps, guidance {} where nothing else is said; up to {} \
         portraits a row ({} for each concept by itself), of {} prompts that no setting was chosen with, each portrait with a seed of its own{}.\n",
        args.model,
        &studio.identity[..SHOWN],
        setup.scheduler.unwrap_or("its own scheduler"),
        setup.steps,
        setup.guidance,
        args.seeds(),
        args.each(),
        PROMPTS.len(),
        if args.quick { "; the quick form, with fewer concepts" } else { "" }
    );
    out.push_str(
        "\"Counted\" are the pictures that a figure is the share of: for an edit, those in which the oracle does not see \
         the concept before (plus), or in which the prompt asks for it and the oracle sees it (minus). \"Others \
         unchanged\" is the mean share of other attributes that the oracle reads as before, over the edits that worked; \
         so are the changes of pixels, of 255. Intervals are Wilson's, Newcombe's for differences, and by the standard \
         error for correlations.\n",
    );
    if let Some((worst, least)) = oracle.accuracy.iter().min_by(|a, b| a.1.total_cmp(b.1)) {
        let mean = oracle.accuracy.values().sum::<f64>() / oracle.accuracy.len() as f64;
        out.push_str(&format!(
            "The oracle ({}) is itself right in {:.1} % of the attributes of drawn portraits that went through the \
             autoencoder, least often ({:.1} %) in `{worst}`.\n",
            &oracle.identity[..SHOWN],
            100.0 * mean,
            100.0 * least
        ));
    }
    out
}
