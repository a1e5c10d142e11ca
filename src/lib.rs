//! sega edits text-to-image diffusion by words: a recipe language and interpreter for Semantic Guidance
//! (arXiv 2301.12247). A recipe is *compiled*; only the last stage touches tensors:
//!
//! ```text
//! text -> syntax tree -> Recipe (typed) -> Plan (every scalar decided) -> engine -> picture that carries its recipe
//! ```
//!
//! # The pipeline
//!
//! 1. [`source`]: the text and places in it.
//! 2. [`syntax::parse`]: the text as a tree, [`syntax::File`]. It never fails: what has no shape has a place all the same.
//!    [`syntax::format`] writes a tree in the canonical form.
//! 3. [`recipe::parse`]: the tree as it is meant, [`recipe::Recipe`], or every mistake at once, as
//!    [`diagnostic::Diagnostic`]s. [`recipe::fields::FIELDS`] defines every setting once, on the checked numbers of
//!    [`quantity`].
//! 4. [`model::card::Card`]: what a model's JSON says, found by [`model::files::ModelFiles`]; [`model::emphasis`]: how much
//!    each part of a text counts; [`model::lora`]: which of a model's tensors a LoRA's keys mean.
//! 5. [`plan::build`]: recipe and card as a [`plan::Plan`]: for every evaluation of the network the rows, the terms of
//!    guidance and the update of the [`plan::scheduler`]. [`plan::key`]: what each step depends on, as a digest.
#![cfg_attr(
    feature = "engine",
    doc = "6. [`engine::texts::TextEncoders`]: from texts to vectors; [`engine::render::Painter`]: runs a plan. [`engine::sampler`] is the one loop, [`engine::guidance`] the rule."
)]
#![cfg_attr(not(feature = "engine"), doc = "6. `engine`: runs a plan (left out of this build).")]
//! 7. [`artifact`]: pictures and latents as files, written whole or not at all.
//! 8. [`app`]: the commands. Its session keeps, by key, the states that renders went through; the engine keeps nothing.
//!
//! # What is absent, and tested to be
//!
//! A module uses only what stands left of it in: source | diagnostic, quantity, model | syntax, artifact | recipe | plan |
//! engine | app; and the engine never sees source, diagnostic, syntax or recipe. Only `syntax/lower.rs` names the parser
//! generator; only the engine names candle; only `app/report.rs` prints (and the argument parser its help); only the app reads the clock, the environment
//! or the command line. A plan holds no span, path or tensor. The engine never asks which model family it runs: it reads
//! the card. Nothing below the app caches. Guidance functions have no state: momentum goes in and comes out.
//! `tests/architecture.rs` checks these.

pub mod app;
pub mod artifact;
#[cfg(all(test, feature = "engine"))]
#[path = "../tests/cases.rs"]
mod cases;
pub mod diagnostic;
#[cfg(feature = "engine")]
pub mod engine;
pub mod model;
pub mod plan;
pub mod quantity;
pub mod recipe;
pub mod source;
pub mod syntax;
