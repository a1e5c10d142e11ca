//! Keys of plans, and renders that go on from a state of an earlier one: to the same bits as from the beginning.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::ops::ControlFlow;

use candle_core::{Device, Tensor};
use proptest::prelude::*;
use sega::engine::noise::NoiseStream;
use sega::engine::sampler::{State, sample};
use sega::plan::Plan;
use sega::plan::key::{Key, keys};
use sega::source::Source;

use crate::models;

fn plan(text: &str) -> Option<(Plan, u64)> {
    let recipe = sega::recipe::parse(&Source::new("a.sega", text)).recipe?;
    let seed = recipe.seeds.first().map_or(0, |seed| seed.0);
    Some((sega::plan::build(&recipe, &models::card()).ok()?, seed))
}

/// A network whose rows differ by their text, and depend on everything that they are given.
fn answer(plan: &Plan, latents: &Tensor, timestep: f64, rows: &[usize]) -> Tensor {
    let row = |row: &usize| {
        let hash = plan.texts[*row].bytes().fold(7u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
        let phase = f64::from(hash % 1000) / 100.0 + timestep / 500.0;
        latents.affine(0.3, phase).unwrap().sin().unwrap()
    };
    Tensor::cat(&rows.iter().map(row).collect::<Vec<_>>(), 0).unwrap()
}

/// Runs a plan from a state, and keeps every state that it goes through.
fn run(plan: &Plan, from: State, keep: &mut dyn FnMut(&State)) -> State {
    let mut network = |latents: &Tensor, timestep: f64, rows: &[usize]| Ok(answer(plan, latents, timestep, rows));
    let end = sample(plan, &mut network, from, &mut |state| {
        keep(state);
        ControlFlow::Continue(())
    });
    let end = end.unwrap();
    keep(&end);
    end
}

fn begin(plan: &Plan, seed: u64) -> State {
    State::begin(plan, NoiseStream::new(seed), &Device::Cpu).unwrap()
}

/// The bits of everything that a state shows.
fn bits(state: &State) -> Vec<Vec<u32>> {
    let all = [Some(state.latents()), state.original()].into_iter().flatten().chain(state.effects());
    all.map(|tensor| {
        let values: Vec<f32> = tensor.flatten_all().unwrap().to_vec1().unwrap();
        values.into_iter().map(f32::to_bits).collect()
    })
    .collect()
}

fn model() -> Key {
    Key::of(b"a model")
}

const RECIPE: &str = r#"sega 1
model  "mini"
prompt "a portrait"
size   32x32
seed   7
steps  8
plus  hat   "a hat" { warmup 1, steps 2.. }
minus smile "smile" { strength 4, warmup 0, steps 4..6, momentum 0 }
"#;

/// At which step a render goes on when the recipe is edited.
fn check(from: &str, to: &str, step: usize) {
    assert!(RECIPE.contains(from), "{from}");
    let ((before, seed), (after, new_seed)) = (plan(RECIPE).unwrap(), plan(&RECIPE.replacen(from, to, 1)).unwrap());
    let (old, new) = (keys(&before, model(), seed), keys(&after, model(), new_seed));
    let equal = new.iter().zip(&old).take_while(|(a, b)| a == b).count();
    // What differs once differs to the end.
    assert!(new.iter().skip(equal).all(|key| !old.contains(key)), "{from} -> {to}");
    let resumed = equal.checked_sub(1).map_or(0, |at| after.steps.get(at).map_or(8, |step| step.step));
    assert_eq!(resumed, step, "{from} -> {to}");
}

#[test]
fn an_edit_costs_the_steps_that_it_changes() {
    check("strength 4", "strength 3", 4);
    check("\"smile\"", "\"grin\"", 4);
    check("minus smile", "plus smile", 4);
    check("steps 2..", "steps 3..", 2);
    check("4..6", "5..6", 4);
    check("4..6", "4..7", 6);
    check("warmup 1", "warmup 2", 3);
    check("minus smile", "plus cap \"a cap\" { warmup 0, steps 5.. }\nminus smile", 5);
    // Its text stands before the others': rows and momenta have other numbers, and nothing else changes.
    check("minus smile", "plus cap \"a cap\" { warmup 0, steps 5.., momentum 0.2 }\nminus smile", 5);
    check("minus smile \"smile\" { strength 4, warmup 0, steps 4..6, momentum 0 }\n", "", 4);
    check("a portrait", "a cat", 0);
    check("seed   7", "seed 8", 0);
    check("steps  8", "steps 9", 0);
    check("steps  8", "steps 8\nguidance 4", 0);
    check("32x32", "32x40", 0);
    check("steps  8", "steps 8\nscheduler euler", 0);
}

#[test]
fn what_changes_no_pixel_costs_nothing() {
    check("plus  hat", "plus headgear", 8);
    check("steps  8", "  steps   8   # eight", 8);
    check("strength 4, warmup 0", "warmup 0\n  strength 4", 8);
    check("seed   7\nsteps  8", "steps  8\nseed   7", 8);
    let hat = "plus  hat   \"a hat\" { warmup 1, steps 2.. }\n";
    let moved = RECIPE.replace(hat, "") + hat;
    let keys_of = |text: &str| plan(text).map(|(plan, seed)| keys(&plan, model(), seed)).unwrap();
    assert_eq!(keys_of(RECIPE), keys_of(&moved));
}

#[test]
fn another_model_shares_nothing() {
    let (plan, seed) = plan(RECIPE).unwrap();
    let (one, other) = (keys(&plan, model(), seed), keys(&plan, Key::of(b"another"), seed));
    assert!(one.iter().all(|key| !other.contains(key)));
}

/// Keys are the same on every platform: these were computed once.
#[test]
fn keys_are_stable() {
    let solvers = ["ddim", "ddpm", "euler", "euler-ancestral", "dpmpp-2m", "pndm", "lms", "heun", "unipc", "lcm"];
    let mut lines: Vec<String> = solvers
        .iter()
        .map(|solver| {
            let karras = if matches!(*solver, "euler" | "dpmpp-2m") { "\nsigmas karras" } else { "" };
            let text = RECIPE.replace("steps  8", &format!("steps 8\nscheduler {solver}{karras}"));
            let (plan, seed) = plan(&text).unwrap();
            let keys = keys(&plan, model(), seed);
            format!("{solver}: {} keys, the last {}", keys.len(), keys.last().unwrap())
        })
        .collect();
    let (plan, seed) = plan(RECIPE).unwrap();
    lines.push(format!("the first: {}", keys(&plan, model(), seed)[0]));
    insta::assert_snapshot!("keys", lines.join("\n"));
}

/// A recipe as numbers that an edit can change.
#[derive(Debug, Clone)]
struct Sketch {
    head: [u8; 9],
    concepts: Vec<[u8; 9]>,
}

impl Sketch {
    fn text(&self) -> String {
        let of = |list: &[&'static str], number: u8| list[number as usize % list.len()];
        let [prompt, seed, size, scheduler, steps, guidance, negative, rule, eta] = self.head;
        let compat = rule % 4 == 0;
        let schedulers =
            ["ddim", "ddpm", "euler", "euler-ancestral", "dpmpp-2m", "pndm", "lms", "heun", "unipc", "lcm"];
        let scheduler = of(&schedulers, scheduler);
        let mut text = format!(
            "sega 1\nmodel \"mini\"\nprompt \"{}\"\nseed {}\nsize {}\nscheduler {scheduler}\nsteps {}\nguidance {}\n",
            of(&["a portrait", "a cat", "glasses"], prompt),
            seed % 3,
            of(&["32x32", "32x40"], size),
            3 + steps % 5,
            of(&["5", "7.5", "3"], guidance),
        );
        if negative % 3 == 0 {
            text += "negative \"blurry\"\n";
        }
        if scheduler == "ddim" && eta % 2 == 0 {
            text += "eta 0.5\n";
        }
        if compat {
            text += "compat diffusers\n";
        }
        for (number, concept) in self.concepts.iter().enumerate() {
            let [kind, words, strength, threshold, warmup, range, momentum, weight, beta] = *concept;
            let range = if compat {
                of(&["0..", "..4", "..3"], range)
            } else {
                of(&["0..", "1..", "2..4", "..3", "3..6"], range)
            };
            text += &format!(
                "{} c{number} \"{}\" {{ strength {}, threshold {}, warmup {}, steps {range}, weight {}",
                of(&["plus", "minus"], kind),
                of(&["glasses", "a hat", "smile", "beard"], words),
                of(&["5", "4", "0", "6.5"], strength),
                of(&["0.9", "0", "0.5", "1"], threshold),
                warmup % 4,
                of(&["1", "0.5", "0"], weight),
            );
            if !compat {
                text += &format!(
                    ", momentum {}, beta {}",
                    of(&["0.3", "0", "0.5"], momentum),
                    of(&["0.6", "1", "0.2"], beta)
                );
            }
            text += " }\n";
        }
        text
    }

    /// One number is another, or a concept comes or goes.
    fn edit(&mut self, (what, value): (u8, [u8; 9])) {
        match what % 8 {
            0 => self.head[value[1] as usize % 9] = value[0],
            1 if self.concepts.len() < 4 => self.concepts.push(value),
            2 if !self.concepts.is_empty() => drop(self.concepts.remove(value[0] as usize % self.concepts.len())),
            3 if self.concepts.len() > 1 => self.concepts.swap(0, 1),
            _ if !self.concepts.is_empty() => {
                let at = value[2] as usize % self.concepts.len();
                self.concepts[at][value[1] as usize % 9] = value[0];
            }
            _ => self.head[3] = value[0],
        }
    }
}

proptest! {
    #![proptest_config(crate::cases::cases(96))]

    #[test]
    fn resumed_is_fresh_to_the_bit(
        head in any::<[u8; 9]>(),
        concepts in prop::collection::vec(any::<[u8; 9]>(), 0..3),
        edits in prop::collection::vec((any::<u8>(), any::<[u8; 9]>()), 1..10),
    ) {
        let mut sketch = Sketch { head, concepts };
        let mut kept: HashMap<Key, State> = HashMap::new();
        for edit in std::iter::once(None).chain(edits.into_iter().map(Some)) {
            if let Some(edit) = edit {
                sketch.edit(edit);
            }
            let text = sketch.text();
            let Some((plan, seed)) = plan(&text) else { continue };
            let keys = keys(&plan, model(), seed);
            let fresh = run(&plan, begin(&plan, seed), &mut |_| {});
            let known = keys.iter().rev().find_map(|key| kept.get(key)).cloned();
            let resumed = run(&plan, known.unwrap_or_else(|| begin(&plan, seed)), &mut |state| {
                kept.insert(keys[state.done()], state.clone());
            });
            prop_assert_eq!(bits(&fresh), bits(&resumed), "{}", text);
            // What was kept along the way is what a fresh run goes through.
            let mut at = Vec::new();
            run(&plan, begin(&plan, seed), &mut |state| at.push(state.clone()));
            for (key, state) in keys.iter().zip(&at) {
                prop_assert_eq!(bits(&kept[key]), bits(state), "{}", text);
            }
        }
    }
}

/// Whatever takes long asks between its parts whether it is still wanted.
#[test]
fn networks_and_their_loading_can_be_ended() {
    use std::cell::Cell;

    use sega::engine::limits::{Limits, Stop};
    use sega::engine::loading::Loading;
    use sega::engine::{EngineError, Model, Precision};

    use crate::network::{card_in, folder, generated, input, load};

    let card = card_in(&folder("pair"));
    let weights = generated("pair");
    let networks = load(&card, &weights).unwrap();
    let (model, condition) = (&networks.model, networks.condition(&card));
    let latents = input("latents", (1, card.latent_channels(), 4, 4));
    let asked = Cell::new(0);
    let check = |what: &str, least: u32, work: &dyn Fn(Stop<'_>) -> Result<(), EngineError>| {
        let at_question = |end: u32| {
            asked.set(0);
            let stop = || {
                asked.set(asked.get() + 1);
                asked.get() == end
            };
            work(Stop::when(&stop))
        };
        at_question(0).unwrap();
        let questions = asked.get();
        assert!(questions >= least, "{what} asked {questions} times");
        for end in [1, 2, questions] {
            assert!(matches!(at_question(end), Err(EngineError::Interrupted)), "{what}");
            assert_eq!(asked.get(), end, "{what} went on after its end");
        }
    };
    check("the decoder", 4, &|stop| model.decoder.decode_until(stop, &latents).map(drop));
    check("the U-Net", 8, &|stop| {
        model.unet.forward_within(Limits::until(stop), &latents, 500.0, &condition, &[0, 1]).map(drop)
    });
    check("loading", 200, &|stop| Model::load(&card, &weights, &Loading::new(Precision::F32).until(stop)).map(drop));
}
