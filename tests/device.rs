//! Devices: their words, too little memory, and evaluations that are looked at later than they are asked for.

#![allow(clippy::unwrap_used)]

use std::cell::RefCell;
use std::ops::ControlFlow;

use candle_core::{Device, Tensor};
use sega::engine::EngineError;
use sega::engine::device::DeviceChoice;
use sega::engine::noise::NoiseStream;
use sega::engine::room::RowLimit;
use sega::engine::sampler::{State, sample};
use sega::plan::Plan;
use sega::source::Source;

use crate::models;

#[test]
fn devices_by_their_words() {
    let choices = [
        ("auto", Some(DeviceChoice::Auto)),
        ("cpu", Some(DeviceChoice::Cpu)),
        ("cuda", Some(DeviceChoice::Cuda(0))),
        ("cuda:3", Some(DeviceChoice::Cuda(3))),
        ("metal", Some(DeviceChoice::Metal(0))),
        ("metal:1", Some(DeviceChoice::Metal(1))),
        ("cpu:0", None),
        ("auto:1", None),
        ("cuda:", None),
        ("cuda:-1", None),
        ("CUDA", None),
        ("", None),
    ];
    for (word, choice) in choices {
        assert_eq!(DeviceChoice::from_word(word), choice, "{word:?}");
    }
}

/// What candle says when a card is full.
fn full() -> EngineError {
    let error = candle_core::Error::Msg("DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")".to_owned());
    error.context("alloc").into()
}

/// Rows evaluated at once, one attempt after the other, by a device that has the memory for `fits` of them.
fn attempts(limit: &RowLimit, rows: usize, fits: usize) -> (Result<usize, EngineError>, Vec<usize>) {
    let tried = RefCell::new(Vec::new());
    let result = limit.evaluate(rows, |most| {
        tried.borrow_mut().push(most);
        if most > fits { Err(full()) } else { Ok(most) }
    });
    (result, tried.into_inner())
}

#[test]
fn too_little_memory_is_met_with_fewer_rows_at_once() {
    let limit = RowLimit::new(None);
    let (result, tried) = attempts(&limit, 9, 2);
    assert_eq!((result.unwrap(), tried), (2, vec![9, 5, 3, 2]));
    assert_eq!(limit.reduced(), Some(2));
    // From then on no attempt is wasted, ...
    let (result, tried) = attempts(&limit, 9, 2);
    assert_eq!((result.unwrap(), tried), (2, vec![2]));
    // ... unless the device has still less.
    let (result, tried) = attempts(&limit, 9, 1);
    assert_eq!((result.unwrap(), tried), (1, vec![2, 1]));
    assert_eq!(limit.reduced(), Some(1));
}

#[test]
fn where_all_rows_fit_nothing_is_reduced() {
    for told in [None, Some(4)] {
        let limit = RowLimit::new(told);
        let (result, tried) = attempts(&limit, 7, 7);
        assert_eq!((result.unwrap(), tried), (told.unwrap_or(7), vec![told.unwrap_or(7)]));
        assert_eq!(limit.reduced(), None);
    }
}

#[test]
fn where_not_one_row_fits_the_error_says_what_to_try() {
    let (result, tried) = attempts(&RowLimit::new(None), 4, 0);
    assert_eq!(tried, [4, 2, 1]);
    let message = result.unwrap_err().to_string();
    for words in ["not enough memory", "a single text", "`--precision f16`", "smaller size", "`--device cpu`"] {
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn other_faults_are_not_tried_again() {
    let mut tried = 0;
    let result: Result<(), _> = RowLimit::new(None).evaluate(4, |_| {
        tried += 1;
        Err(EngineError::NoWholeText)
    });
    assert!(matches!(result, Err(EngineError::NoWholeText)));
    assert_eq!(tried, 1);
}

fn plan() -> Plan {
    let text = r#"sega 1
model "mini"
prompt "a portrait"
seed 1
size 64x48
steps 12
scheduler dpmpp-2m
momentum 0.3
plus glasses "glasses" { strength 4, threshold 80%, warmup 2 }
minus smile "smile" { strength 3, warmup 4 }
"#;
    let recipe = sega::recipe::parse(&Source::new("plan.sega", text.to_owned())).recipe.unwrap();
    sega::plan::build(&recipe, &models::card()).unwrap()
}

/// What a smooth network says; of the evaluation `broken` one row is not finite.
fn answer(latents: &Tensor, rows: &[usize], timestep: f64, broken: bool) -> Result<Tensor, EngineError> {
    let row = |&row: &usize| (latents * 0.3)?.affine(1.0, row as f64 + timestep / 500.0)?.sin();
    let mut outputs = rows.iter().map(row).collect::<Result<Vec<_>, _>>()?;
    if broken {
        outputs[1] = (&outputs[1] * f64::NAN)?;
    }
    Ok(Tensor::cat(&outputs, 0)?)
}

fn numbers(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn a_render_with_too_little_memory_is_the_same_render() {
    let plan = plan();
    let render = |fits: usize| {
        let limit = RowLimit::new(None);
        let mut network = |latents: &Tensor, timestep: f64, rows: &[usize]| {
            limit.evaluate(rows.len(), |most| {
                if most > fits {
                    return Err(full());
                }
                let chunks = rows.chunks(most).map(|rows| answer(latents, rows, timestep, false));
                Ok(Tensor::cat(&chunks.collect::<Result<Vec<_>, _>>()?, 0)?)
            })
        };
        let begin = State::begin(&plan, NoiseStream::new(7), &Device::Cpu).unwrap();
        let end = sample(&plan, &mut network, begin, &mut |_| ControlFlow::Continue(())).unwrap();
        (numbers(end.latents()), limit.reduced())
    };
    let (whole, none) = render(usize::MAX);
    let (in_chunks, reduced) = render(1);
    assert_eq!((none, reduced), (None, Some(1)));
    assert!(whole == in_chunks);
}

/// Runs the plan, looking at evaluations so much later; what each call of `watch` is given.
fn watched(ahead: usize, broken: Option<usize>) -> (Result<State, EngineError>, Vec<State>) {
    let (plan, mut seen, mut evaluation) = (plan(), Vec::new(), 0);
    let begin = State::begin(&plan, NoiseStream::new(7), &Device::Cpu).unwrap().looking_back(ahead);
    let mut network = |latents: &Tensor, timestep: f64, rows: &[usize]| {
        evaluation += 1;
        answer(latents, rows, timestep, broken == Some(evaluation - 1))
    };
    let end = sample(&plan, &mut network, begin, &mut |state| {
        seen.push(state.clone());
        ControlFlow::Continue(())
    });
    (end, seen)
}

#[test]
fn looking_later_changes_nothing_but_when_previews_come() {
    let (at_once, seen_at_once) = watched(0, None);
    let (later, seen_later) = watched(2, None);
    let (at_once, later) = (at_once.unwrap(), later.unwrap());
    assert!(numbers(at_once.latents()) == numbers(later.latents()));
    // In the end all is known.
    assert!(numbers(at_once.original().unwrap()) == numbers(later.original().unwrap()));
    for (place, state) in seen_later.iter().enumerate() {
        assert_eq!(state.done(), place);
        let shown = state.original_numbers().map(Result::unwrap);
        let earlier = place.checked_sub(2).and_then(|place| seen_at_once[place].original_numbers().map(Result::unwrap));
        assert!(shown == earlier, "before evaluation {place}");
    }
}

#[test]
fn what_is_not_finite_is_told_as_if_it_had_been_looked_at_at_once() {
    let last = plan().steps.len() - 1;
    for broken in [0, 3, last] {
        let told = watched(0, Some(broken)).0.unwrap_err().to_string();
        assert!(told.contains(&format!("at step {broken}")), "{told}");
        let (result, seen) = watched(2, Some(broken));
        assert_eq!(result.unwrap_err().to_string(), told);
        // No more than two evaluations for nothing.
        assert!(seen.len() <= broken + 3, "{} of {broken}", seen.len());
        // Whoever goes on from what came behind it is told the same.
        let Some(behind) = seen.into_iter().find(|state| state.done() > broken) else { continue };
        let mut network = |latents: &Tensor, timestep: f64, rows: &[usize]| answer(latents, rows, timestep, false);
        let resumed = sample(&plan(), &mut network, behind, &mut |_| ControlFlow::Continue(()));
        assert_eq!(resumed.unwrap_err().to_string(), told);
    }
}
