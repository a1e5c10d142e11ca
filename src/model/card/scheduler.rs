//! `scheduler/scheduler_config.json`: the training noise and the model's own scheduler.
//!
//! Loading a checkpoint, diffusers' `StableDiffusionPipeline.__init__` sets two keys to what it takes for their only
//! sound value, whatever the file says ("the configuration file of this scheduler is outdated"): `steps_offset` to 1
//! and `clip_sample` to false. So neither is read here. (The reference's own pipeline does not do so; it is made from the
//! parts of a loaded `StableDiffusionPipeline`.)
//!
//! What cannot be followed of the noise that the model was trained with is an error. A scheduler that is not known, or
//! has an option that is not, is an error only for recipes that name no scheduler.

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::{CardError, SCHEDULER, one_of, parse, switch, unsupported};
use crate::model::training::{
    BetaSchedule, Prediction, SchedulerConfig, SchedulerKind, Sigmas, Spacing, UnsupportedScheduler,
};

/// diffusers' class of each scheduler.
const CLASSES: [(&str, SchedulerKind); 10] = [
    ("DDIMScheduler", SchedulerKind::Ddim),
    ("DDPMScheduler", SchedulerKind::Ddpm),
    ("EulerDiscreteScheduler", SchedulerKind::Euler),
    ("EulerAncestralDiscreteScheduler", SchedulerKind::EulerAncestral),
    ("DPMSolverMultistepScheduler", SchedulerKind::Dpmpp2m),
    ("PNDMScheduler", SchedulerKind::Pndm),
    ("LMSDiscreteScheduler", SchedulerKind::Lms),
    ("HeunDiscreteScheduler", SchedulerKind::Heun),
    ("UniPCMultistepScheduler", SchedulerKind::UniPc),
    ("LCMScheduler", SchedulerKind::Lcm),
];

/// More training timesteps than any model has.
const MOST_TIMESTEPS: usize = 1 << 16;

#[derive(Deserialize)]
struct Raw {
    #[serde(rename = "_class_name")]
    class: Option<String>,
    num_train_timesteps: Option<usize>,
    beta_start: Option<f64>,
    beta_end: Option<f64>,
    beta_schedule: Option<String>,
    trained_betas: Option<Vec<f64>>,
    prediction_type: Option<String>,
    #[serde(default, deserialize_with = "switch")]
    rescale_betas_zero_snr: bool,
    timestep_spacing: Option<String>,
    #[serde(default, deserialize_with = "given_switch")]
    set_alpha_to_one: Option<bool>,
    use_karras_sigmas: Option<bool>,
    original_inference_steps: Option<usize>,
    timestep_scaling: Option<f64>,
    #[serde(flatten)]
    options: Map<String, Value>,
}

/// A switch whose absence is not the same as `null`.
fn given_switch<'de, D: Deserializer<'de>>(value: D) -> Result<Option<bool>, D::Error> {
    switch(value).map(Some)
}

pub(super) fn read(text: &str) -> Result<SchedulerConfig, CardError> {
    let raw: Raw = parse(text, SCHEDULER)?;
    let kind = kind(raw.class.as_deref()).and_then(|kind| check_options(kind, &raw.options).map(|()| kind));

    // Two schedulers' defaults differ from those of all others.
    let others = matches!(raw.class.as_deref(), Some("HeunDiscreteScheduler" | "LCMScheduler"));
    let (beta_start, beta_end) = if others { (0.00085, 0.012) } else { (0.0001, 0.02) };
    let is_lcm = raw.class.as_deref() == Some("LCMScheduler");
    let beta_schedule = if is_lcm { BetaSchedule::ScaledLinear } else { BetaSchedule::Linear };
    let train_timesteps = raw.num_train_timesteps.unwrap_or(1000);
    if !(2..=MOST_TIMESTEPS).contains(&train_timesteps) {
        let supported = format!("numbers from 2 to {MOST_TIMESTEPS}");
        return Err(unsupported(SCHEDULER, "num_train_timesteps", train_timesteps, supported));
    }
    Ok(SchedulerConfig {
        kind,
        train_timesteps,
        beta_start: raw.beta_start.unwrap_or(beta_start),
        beta_end: raw.beta_end.unwrap_or(beta_end),
        beta_schedule: word(raw.beta_schedule, "beta_schedule", BetaSchedule::from_name, BetaSchedule::WORDS)?
            .unwrap_or(beta_schedule),
        trained_betas: raw.trained_betas,
        prediction: word(raw.prediction_type, "prediction_type", Prediction::from_name, Prediction::WORDS)?
            .unwrap_or(Prediction::Epsilon),
        rescale_betas_zero_snr: raw.rescale_betas_zero_snr,
        spacing: word(raw.timestep_spacing, "timestep_spacing", Spacing::from_name, Spacing::WORDS)?,
        steps_offset: 1,
        set_alpha_to_one: raw.set_alpha_to_one,
        sigmas: if raw.use_karras_sigmas == Some(true) { Sigmas::Karras } else { Sigmas::Plain },
        distilled_steps: raw.original_inference_steps.unwrap_or(50).max(1),
        timestep_scaling: raw.timestep_scaling.unwrap_or(10.0),
    })
}

/// The scheduler of diffusers' class.
fn kind(class: Option<&str>) -> Result<SchedulerKind, UnsupportedScheduler> {
    let known = CLASSES.iter().find(|(name, _)| Some(*name) == class);
    known.map(|(_, kind)| *kind).ok_or_else(|| UnsupportedScheduler {
        key: "_class_name",
        value: class.unwrap_or("absent").to_owned(),
        supported: one_of(&CLASSES.map(|(class, _)| class)),
    })
}

fn word<T>(
    word: Option<String>,
    key: &'static str,
    from_name: fn(&str) -> Option<T>,
    words: &[&str],
) -> Result<Option<T>, CardError> {
    word.map(|word| from_name(&word).ok_or_else(|| unsupported(SCHEDULER, key, &word, one_of(words)))).transpose()
}

/// What an option may be.
enum Allowed {
    /// One of these words. The first is what the scheduler does; diffusers turns the others into it.
    Words(&'static [&'static str]),
    /// This switch.
    Switch(bool),
    /// This number.
    Number(f64),
    /// Nothing: `null`, or an empty list.
    Nothing,
}

impl Allowed {
    fn admits(&self, value: &Value) -> bool {
        match self {
            Self::Words(words) => value.as_str().is_some_and(|word| words.contains(&word)),
            Self::Switch(switch) => value.as_bool() == Some(*switch),
            Self::Number(number) => value.as_f64() == Some(*number),
            Self::Nothing => value.as_array().is_some_and(Vec::is_empty),
        }
    }

    fn describe(&self) -> String {
        match self {
            Self::Words(words) => one_of(&words[..1]),
            Self::Switch(switch) => format!("`{switch}`"),
            Self::Number(number) => format!("`{number}`"),
            Self::Nothing => "`null`".to_owned(),
        }
    }
}

/// Refuses an option that this scheduler obeys in diffusers and that is set to something unknown here. Options that
/// the scheduler does not have are ignored, as diffusers ignores them: files are full of other schedulers' leavings.
/// Those that change nothing are not looked at: a second-order `dpmpp-2m` that ends at no noise takes its last step in
/// first order whatever `lower_order_final` and `euler_at_final` say.
fn check_options(kind: SchedulerKind, options: &Map<String, Value>) -> Result<(), UnsupportedScheduler> {
    use Allowed::{Nothing, Number, Switch, Words};
    use SchedulerKind::{Ddim, Ddpm, Dpmpp2m, Euler, Heun, Lcm, Lms, Pndm, UniPc};
    let rules: [(&'static str, &[SchedulerKind], Allowed); 24] = [
        ("thresholding", &[Ddim, Ddpm, Dpmpp2m, UniPc, Lcm], Switch(false)),
        ("variance_type", &[Ddpm], Words(&["fixed_small"])),
        ("variance_type", &[Dpmpp2m], Nothing),
        ("skip_prk_steps", &[Pndm], Switch(true)),
        ("interpolation_type", &[Euler], Words(&["linear"])),
        ("timestep_type", &[Euler], Words(&["discrete"])),
        ("sigma_min", &[Euler, UniPc], Nothing),
        ("sigma_max", &[Euler, UniPc], Nothing),
        ("use_exponential_sigmas", &[Euler, Dpmpp2m, Lms, Heun, UniPc], Switch(false)),
        ("use_beta_sigmas", &[Euler, Dpmpp2m, Lms, Heun, UniPc], Switch(false)),
        ("use_flow_sigmas", &[Dpmpp2m, UniPc], Switch(false)),
        ("use_lu_lambdas", &[Dpmpp2m], Switch(false)),
        ("use_dynamic_shifting", &[Dpmpp2m, UniPc], Switch(false)),
        ("final_sigmas_type", &[Euler, Dpmpp2m, UniPc], Words(&["zero"])),
        ("algorithm_type", &[Dpmpp2m], Words(&["dpmsolver++", "deis"])),
        ("solver_type", &[Dpmpp2m], Words(&["midpoint", "logrho", "bh1", "bh2"])),
        ("solver_type", &[UniPc], Words(&["bh2", "midpoint", "heun", "logrho"])),
        ("solver_order", &[Dpmpp2m, UniPc], Number(2.0)),
        ("lower_order_final", &[UniPc], Switch(true)),
        ("lambda_min_clipped", &[Dpmpp2m], Nothing),
        ("predict_x0", &[UniPc], Switch(true)),
        ("disable_corrector", &[UniPc], Nothing),
        ("solver_p", &[UniPc], Nothing),
        ("shift_terminal", &[UniPc], Nothing),
    ];
    for (key, kinds, allowed) in rules {
        // `null` is the default of the options that may be nothing, and of switches that are off.
        let value = options.get(key).filter(|value| !value.is_null());
        if let Some(value) = value.filter(|value| kinds.contains(&kind) && !allowed.admits(value)) {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            return Err(UnsupportedScheduler { key, value, supported: allowed.describe() });
        }
    }
    // The one option whose default is what is not supported: Runge-Kutta steps first.
    if kind == SchedulerKind::Pndm && options.get("skip_prk_steps").is_none_or(Value::is_null) {
        let (value, supported) = ("absent".to_owned(), "`true`".to_owned());
        return Err(UnsupportedScheduler { key: "skip_prk_steps", value, supported });
    }
    Ok(())
}
