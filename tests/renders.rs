//! Whole renders of the embedded model, against what the reference implementation renders from the same weights.

#![allow(clippy::unwrap_used)]

use std::ops::ControlFlow;
use std::path::Path;

use sega::engine::device::DeviceChoice;
use sega::engine::loading::Loading;
use sega::engine::render::{Painter, Rendered};
use sega::engine::texts::TextEncoders;
use sega::engine::{ModelWeights, Precision};
use sega::model::card::Card;
use sega::model::prompt::Tokenizers;
use sega::recipe::{Recipe, Rule};
use sega::source::Source;
use serde::Deserialize;

use crate::models;

/// What `tools/reference/renders.py` writes.
#[derive(Deserialize)]
struct Reference {
    prediction: String,
    recipe: String,
    edition1: bool,
    shape: Vec<usize>,
    latents: Vec<f64>,
    picture: Vec<i32>,
}

const LATENTS_BOUND: f64 = 1e-4;

struct Mini {
    tokenizers: Tokenizers,
    encoders: TextEncoders,
    painter: Painter,
}

impl Mini {
    fn load() -> Self {
        Self::load_on(DeviceChoice::Cpu)
    }

    fn load_on(device: DeviceChoice) -> Self {
        let device = device.open().unwrap();
        let (files, card) = (models::mini(), models::card());
        let tokenizers = Tokenizers::read(&files, &card).unwrap();
        let weights = |part| files.weights(part).unwrap();
        let weights = ModelWeights {
            unet: weights("unet"),
            text_encoder: weights("text_encoder"),
            vae: weights("vae"),
            ..ModelWeights::default()
        };
        let loading = Loading::new(Precision::F32).on(&device);
        let encoders = TextEncoders::load(&card, &weights, &loading).unwrap();
        let painter = Painter::load(&card, &weights, &loading).unwrap();
        Self { tokenizers, encoders, painter }
    }

    /// mini's card, as if its network predicted something else.
    fn card(prediction: &str) -> Card {
        let (from, to) = (r#""prediction_type": "epsilon""#, format!(r#""prediction_type": "{prediction}""#));
        models::card_with(|scheduler| scheduler.replace(from, &to))
    }

    fn render(&self, recipe: &Recipe, prediction: &str) -> Rendered {
        let plan = sega::plan::build(recipe, &Self::card(prediction)).unwrap();
        let tokens = plan.texts.iter().map(|text| self.tokenizers.encode(text, plan.reading).unwrap().0);
        let texts = self.encoders.encode(&tokens.collect::<Vec<_>>(), plan.text_layer).unwrap();
        let condition = self.painter.condition(&plan, &texts).unwrap();
        self.painter.render(&plan, &condition, recipe.seeds[0].0, &mut |_| ControlFlow::Continue(())).unwrap()
    }
}

fn check(mini: &Mini, name: &str, reference: &Reference, recipe: &Recipe) {
    let rendered = mini.render(recipe, &reference.prediction);
    assert_eq!(rendered.latents_shape.as_slice(), reference.shape);
    let largest = reference.latents.iter().fold(0.0f64, |most, value| most.max(value.abs()));
    let errors =
        rendered.latents.iter().zip(&reference.latents).map(|(&ours, theirs)| (f64::from(ours) - theirs).abs());
    let error = errors.fold(0.0, f64::max) / largest;
    assert!(error <= LATENTS_BOUND, "{name}, {:?}: latents differ by {error:.1e} of the largest", recipe.rule);

    let (width, height) = (rendered.picture.width, rendered.picture.height);
    let every_eighth = (0..height).step_by(8).flat_map(|y| (0..width).step_by(8).map(move |x| 3 * (y * width + x)));
    let ours: Vec<i32> =
        every_eighth.flat_map(|at| rendered.picture.rgb[at..at + 3].iter().map(|&v| v.into())).collect();
    assert_eq!(ours.len(), reference.picture.len());
    for (ours, theirs) in ours.iter().zip(&reference.picture) {
        assert!((ours - theirs).abs() <= 1, "{name}, {:?}: a pixel is {ours}, not {theirs}", recipe.rule);
    }
}

#[test]
fn latents_and_pictures_are_the_references() {
    check_all(&Mini::load());
}

#[test]
#[cfg(feature = "cuda")]
#[ignore = "needs a CUDA device"]
fn latents_and_pictures_are_the_references_on_cuda() {
    check_all(&Mini::load_on(DeviceChoice::Cuda(0)));
}

fn check_all(mini: &Mini) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/renders");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 24);
    for path in paths {
        let name = path.file_stem().unwrap().to_string_lossy();
        let reference: Reference = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let checked = sega::recipe::parse(&Source::new(name.clone(), reference.recipe.clone()));
        let mut recipe = checked.recipe.unwrap_or_else(|| panic!("{name}: {:?}", checked.diagnostics));
        check(mini, &name, &reference, &recipe);
        if reference.edition1 {
            recipe.rule = Rule::Edition1;
            check(mini, &name, &reference, &recipe);
        }
    }
}

#[test]
fn neither_names_nor_the_order_of_concepts_change_a_pixel() {
    let mini = Mini::load();
    let head = "sega 1\nmodel \"mini\"\nprompt \"a portrait of a man\"\nseed 3\nsize 64x64\nsteps 6\n";
    let blocks = [
        r#"plus NAME1 "glasses" { warmup 1, momentum 0.3 }"#,
        r#"minus NAME2 "smile" { warmup 2, threshold 0.5 }"#,
        r#"plus NAME3 "at night" { warmup 0, steps 1..5 }"#,
    ];
    let render = |order: [usize; 3], names: [&str; 3]| {
        let lines: Vec<String> =
            order.iter().map(|&i| blocks[i].replace(&format!("NAME{}", i + 1), names[i])).collect();
        let text = format!("{head}{}\n", lines.join("\n"));
        let checked = sega::recipe::parse(&Source::new("order.sega", text));
        let recipe = checked.recipe.unwrap_or_else(|| panic!("{:?}", checked.diagnostics));
        mini.render(&recipe, "epsilon").latents
    };
    let first = render([0, 1, 2], ["a", "b", "c"]);
    assert_eq!(first, render([2, 0, 1], ["a", "b", "c"]));
    assert_eq!(first, render([1, 0, 2], ["z", "night", "first"]));
}
