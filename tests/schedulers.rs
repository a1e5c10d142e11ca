//! Schedules, against diffusers in double precision, and by their laws.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use sega::model::training::{BetaSchedule, Prediction, SchedulerConfig, SchedulerKind, Sigmas, Spacing};
use sega::plan::scheduler::{Combination, Evaluation, Operand, Sampling, Schedule, ScheduleError, schedule};
use sega::quantity::{Eta, Steps};
use serde::Deserialize;

/// What `tools/reference/schedulers.py` writes.
#[derive(Debug, Deserialize)]
struct Case {
    beta_start: f64,
    beta_end: f64,
    beta_schedule: String,
    prediction: String,
    spacing: Option<String>,
    offset: usize,
    alpha_to_one: Option<bool>,
    karras: bool,
    #[serde(default)]
    zero_snr: bool,
    #[serde(default = "distilled_steps")]
    distilled: usize,
    #[serde(default = "timestep_scaling")]
    scaling: f64,
    eta: f64,
    steps: u32,
    timesteps: [f64; 3],
    evaluations: usize,
    draws: usize,
    sample: [f64; 3],
}

fn distilled_steps() -> usize {
    50
}

fn timestep_scaling() -> f64 {
    10.0
}

/// Both sides run in double precision.
const BOUND: f64 = 1e-9;

fn config(kind: SchedulerKind) -> SchedulerConfig {
    SchedulerConfig {
        kind: Ok(kind),
        train_timesteps: 1000,
        beta_start: 0.00085,
        beta_end: 0.012,
        beta_schedule: BetaSchedule::ScaledLinear,
        trained_betas: None,
        prediction: Prediction::Epsilon,
        rescale_betas_zero_snr: false,
        spacing: None,
        steps_offset: 1,
        set_alpha_to_one: None,
        sigmas: Sigmas::Plain,
        distilled_steps: distilled_steps(),
        timestep_scaling: timestep_scaling(),
    }
}

fn sampling(steps: u32) -> Sampling {
    Sampling { scheduler: None, steps: Steps::new(steps).unwrap(), eta: Eta::DEFAULT, sigmas: None, spacing: None }
}

/// Runs a schedule on three numbers; `network` is given the scaled latents and the timestep, `noise` the count of draws.
fn run(
    schedule: &Schedule,
    start: [f64; 3],
    network: impl Fn(f64, f64) -> f64,
    noise: impl Fn(usize) -> [f64; 3],
) -> ([f64; 3], usize) {
    let mut state = vec![start.map(|value| value * schedule.initial_scale)];
    let mut draws = 0;
    for Evaluation { timestep, input_scale, estimate, update, .. } in &schedule.evaluations {
        let guided = state[0].map(|z| estimate.output * network(z * input_scale, *timestep) + estimate.sample * z);
        let fresh = if update.draws_noise() {
            draws += 1;
            noise(draws)
        } else {
            [f64::NAN; 3]
        };
        let combine = |Combination(parts): &Combination| {
            let mut sum = [0.0; 3];
            for (operand, factor) in parts {
                let operand = match operand {
                    Operand::State(index) => &state[*index],
                    Operand::Estimate => &guided,
                    Operand::Noise => &fresh,
                };
                sum.iter_mut().zip(operand).for_each(|(sum, value)| *sum += factor * value);
            }
            sum
        };
        state = update.next.iter().map(combine).collect();
    }
    (state[0], draws)
}

fn check(kind: SchedulerKind, case: &Case) -> f64 {
    let config = SchedulerConfig {
        beta_start: case.beta_start,
        beta_end: case.beta_end,
        beta_schedule: BetaSchedule::from_name(&case.beta_schedule).unwrap(),
        prediction: Prediction::from_name(&case.prediction).unwrap(),
        rescale_betas_zero_snr: case.zero_snr,
        spacing: case.spacing.as_deref().map(|spacing| Spacing::from_name(spacing).unwrap()),
        steps_offset: case.offset,
        set_alpha_to_one: case.alpha_to_one,
        sigmas: if case.karras { Sigmas::Karras } else { Sigmas::Plain },
        distilled_steps: case.distilled,
        timestep_scaling: case.scaling,
        ..config(kind)
    };
    let sampling = Sampling { eta: Eta::new(case.eta).unwrap(), ..sampling(case.steps) };
    let schedule = schedule(&config, &sampling).unwrap_or_else(|error| panic!("{case:?}: {error}"));
    assert_eq!(schedule.evaluations.len(), case.evaluations, "{case:?}");
    let timesteps: Vec<f64> = schedule.evaluations.iter().map(|evaluation| evaluation.timestep).collect();
    let seen = [timesteps[0], timesteps[timesteps.len() - 1], timesteps.iter().sum()];
    for (ours, theirs) in seen.iter().zip(&case.timesteps) {
        assert!((ours - theirs).abs() <= 1e-6 * (1.0 + theirs.abs()), "{kind} {case:?}: timesteps {seen:?}");
    }
    let noise = |draw: usize| [1.0, 2.0, 3.0].map(|i| (10.0 * draw as f64 + i).cos());
    let network = |x: f64, t: f64| (0.8 * x + (t / 200.0).sin()).tanh();
    let (sample, draws) = run(&schedule, [0.5, -1.25, 2.0], network, noise);
    assert_eq!(draws, case.draws, "{case:?}");
    let largest = case.sample.iter().fold(1.0f64, |most, value| most.max(value.abs()));
    let error = sample.iter().zip(&case.sample).fold(0.0f64, |most, (a, b)| most.max((a - b).abs())) / largest;
    assert!(error <= BOUND, "{kind} {case:?}: {sample:?} differs by {error:.1e}");
    error
}

#[test]
fn schedules_are_diffusers() {
    let mut count = 0;
    for &kind in SchedulerKind::ALL {
        for part in ["", "-more"] {
            let path = format!("{}/tests/reference/schedulers/{kind}{part}.jsonl", env!("CARGO_MANIFEST_DIR"));
            for line in std::fs::read_to_string(path).unwrap().lines() {
                check(kind, &serde_json::from_str(line).unwrap());
                count += 1;
            }
        }
    }
    assert!(count >= 500, "{count} cases");
}

fn kinds() -> impl Strategy<Value = SchedulerKind> {
    (0..SchedulerKind::ALL.len()).prop_map(|index| SchedulerKind::ALL[index])
}

/// Those without fresh noise.
fn solvers() -> impl Strategy<Value = SchedulerKind> {
    use SchedulerKind::{Ddpm, EulerAncestral, Lcm};
    let noisy = |kind: &SchedulerKind| matches!(kind, Ddpm | EulerAncestral | Lcm);
    prop::sample::select(SchedulerKind::ALL.iter().copied().filter(|kind| !noisy(kind)).collect::<Vec<_>>())
}

fn spacings() -> impl Strategy<Value = Option<Spacing>> {
    (0..=Spacing::ALL.len()).prop_map(|index| Spacing::ALL.get(index).copied())
}

proptest! {
    #![proptest_config(crate::cases::cases(256))]

    /// Any number of steps gives finite numbers or a named reason why not.
    #[test]
    fn no_schedule_holds_anything_but_numbers(
        kind in kinds(),
        spacing in spacings(),
        steps in 1u32..=1000,
        karras in any::<bool>(),
        velocity in any::<bool>(),
        zero_snr in any::<bool>(),
    ) {
        let prediction = if velocity { Prediction::Velocity } else { Prediction::Epsilon };
        let config = SchedulerConfig { prediction, spacing, rescale_betas_zero_snr: zero_snr, ..config(kind) };
        let sigmas = karras.then_some(Sigmas::Karras);
        match schedule(&config, &Sampling { sigmas, ..sampling(steps) }) {
            Err(error) => prop_assert!(!error.remedy().is_empty() && !error.settings().is_empty()),
            Ok(schedule) => {
                prop_assert!(schedule.evaluations.windows(2).all(|pair| pair[0].step <= pair[1].step));
                prop_assert!(schedule.initial_scale.is_finite());
                prop_assert_eq!(schedule.evaluations.last().unwrap().step + 1, steps as usize);
                for evaluation in &schedule.evaluations {
                    prop_assert!(evaluation.is_finite());
                }
            }
        }
    }

    /// From latents that are a picture plus noise, a network that knows that noise leads every solver without fresh
    /// noise to the picture, where the last step goes to no noise at all.
    #[test]
    fn a_network_that_knows_the_noise_finds_the_picture(
        kind in solvers(),
        steps in 2u32..60,
        velocity in any::<bool>(),
        picture in -2.0..2.0f64,
        noise in -2.0..2.0f64,
    ) {
        // pndm averages velocities of different noise levels, as the reference does: then it is not exact.
        let prediction = if velocity && kind != SchedulerKind::Pndm { Prediction::Velocity } else { Prediction::Epsilon };
        let config = SchedulerConfig { prediction, set_alpha_to_one: Some(true), ..config(kind) };
        let schedule = schedule(&config, &sampling(steps)).unwrap();
        let mut state = vec![start(kind, &schedule, picture, noise)];
        for evaluation in &schedule.evaluations {
            let value = |operand: &Operand| match operand {
                Operand::State(index) => state[*index],
                Operand::Estimate => noise,
                Operand::Noise => 0.0,
            };
            let combine = |Combination(parts): &Combination| parts.iter().map(|(operand, factor)| factor * value(operand)).sum();
            state = evaluation.update.next.iter().map(combine).collect();
        }
        prop_assert!((state[0] - picture).abs() <= 1e-6 * (1.0 + picture.abs() + noise.abs()), "{} instead of {picture}", state[0]);
    }
}

/// Latents of a picture and its noise at the first noise level of a schedule.
fn start(kind: SchedulerKind, schedule: &Schedule, picture: f64, noise: f64) -> f64 {
    let first = &schedule.evaluations[0];
    if matches!(kind, SchedulerKind::Euler | SchedulerKind::Lms | SchedulerKind::Heun) {
        let sigma = (1.0 / (first.input_scale * first.input_scale) - 1.0).sqrt();
        return picture + sigma * noise;
    }
    // alpha_bar of the scaled-linear betas at the first timestep.
    let beta = |i: usize| {
        let (a, b) = (0.00085f64.sqrt(), 0.012f64.sqrt());
        (a + (b - a) * i as f64 / 999.0).powi(2)
    };
    let signal_at = |timestep: usize| (0..=timestep).map(|i| 1.0 - beta(i)).product::<f64>();
    let signal = signal_at(first.timestep as usize);
    signal.sqrt() * picture + (1.0 - signal).sqrt() * noise
}

#[test]
fn what_cannot_be_is_said() {
    let of = |kind, change: &dyn Fn(&mut Sampling)| {
        let mut sampling = sampling(20);
        change(&mut sampling);
        schedule(&config(kind), &sampling)
    };
    let eta = Eta::new(0.5).unwrap();
    assert!(matches!(of(SchedulerKind::Euler, &|s| s.eta = eta), Err(ScheduleError::EtaWithoutDdim { .. })));
    assert!(matches!(
        of(SchedulerKind::Ddim, &|s| s.sigmas = Some(Sigmas::Karras)),
        Err(ScheduleError::NoKarras { .. })
    ));
    assert!(matches!(
        of(SchedulerKind::Lcm, &|s| s.spacing = Some(Spacing::Trailing)),
        Err(ScheduleError::NoSpacing { .. })
    ));
    let distilled = |s: &mut Sampling| s.steps = Steps::new(51).unwrap();
    assert!(matches!(of(SchedulerKind::Lcm, &distilled), Err(ScheduleError::MoreThanDistilled { distilled: 50, .. })));
    let all = |s: &mut Sampling| s.steps = Steps::new(1000).unwrap();
    assert!(matches!(of(SchedulerKind::Ddim, &all), Err(ScheduleError::BeyondTraining { timestep: 1000.0, .. })));
    let few = SchedulerConfig { train_timesteps: 10, ..config(SchedulerKind::Ddim) };
    assert!(matches!(schedule(&few, &sampling(20)), Err(ScheduleError::TooManySteps { .. })));
    let listed = SchedulerConfig { trained_betas: Some(vec![0.1; 3]), ..config(SchedulerKind::Ddim) };
    assert!(matches!(schedule(&listed, &sampling(20)), Err(ScheduleError::TrainedBetas { given: 3, .. })));
    let broken = SchedulerConfig { beta_end: 2.0, ..config(SchedulerKind::Ddim) };
    assert!(matches!(schedule(&broken, &sampling(20)), Err(ScheduleError::Betas { .. })));
}
