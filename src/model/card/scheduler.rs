//! `scheduler/scheduler_config.json`: the training noise and the model's own scheduler.
//!
//! Loading a checkpoint, diffusers' `StableDiffusionPipeline.__init__` sets two keys to what it takes for their only
//! sound value, whatever the file says ("the configuration file of this scheduler is outdated"): `steps_offset` to 1
//! and `clip_sample` to false. So neither is read here.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{CardError, SCHEDULER, one_of, parse, unsupported};
use crate::model::training::{BetaSchedule, Prediction, SchedulerConfig, SchedulerKind, Sigmas, Spacing};

/// diffusers' class of each scheduler.
const CLASSES: [(&str, SchedulerKind); 9] = [
    ("DDIMScheduler", SchedulerKind::Ddim),
    ("DDPMScheduler", SchedulerKind::Ddpm),
    ("EulerDiscreteScheduler", SchedulerKind::Euler),
    ("EulerAncestralDiscreteScheduler", SchedulerKind::EulerAncestral),
    ("DPMSolverMultistepScheduler", SchedulerKind::Dpmpp2m),
    ("PNDMScheduler", SchedulerKind::Pndm),
    ("LMSDiscreteScheduler", SchedulerKind::Lms),
    ("HeunDiscreteScheduler", SchedulerKind::Heun),
    ("UniPCMultistepScheduler", SchedulerKind::UniPc),
];

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
    #[serde(default)]
    rescale_betas_zero_snr: bool,
    timestep_spacing: Option<String>,
    set_alpha_to_one: Option<bool>,
    use_karras_sigmas: Option<bool>,
    #[serde(flatten)]
    options: Map<String, Value>,
}

pub(super) fn read(text: &str) -> Result<SchedulerConfig, CardError> {
    let raw: Raw = parse(text, SCHEDULER)?;
    let classes = CLASSES.map(|(class, _)| class);
    let kind = CLASSES
        .into_iter()
        .find_map(|(class, kind)| (Some(class) == raw.class.as_deref()).then_some(kind))
        .ok_or_else(|| {
            unsupported(SCHEDULER, "_class_name", raw.class.as_deref().unwrap_or("absent"), one_of(&classes))
        })?;
    check_options(kind, &raw.options)?;

    // Heun's defaults differ from those of all others.
    let (beta_start, beta_end) = if kind == SchedulerKind::Heun { (0.00085, 0.012) } else { (0.0001, 0.02) };
    let train_timesteps = raw.num_train_timesteps.unwrap_or(1000);
    if train_timesteps == 0 {
        return Err(unsupported(SCHEDULER, "num_train_timesteps", 0, "numbers from 1 up"));
    }
    if let Some(betas) = raw.trained_betas.as_ref().filter(|betas| betas.len() != train_timesteps) {
        let supported = format!("{train_timesteps} betas, as many as `num_train_timesteps`");
        return Err(unsupported(SCHEDULER, "trained_betas", format!("a list of {}", betas.len()), supported));
    }
    Ok(SchedulerConfig {
        kind,
        train_timesteps,
        beta_start: raw.beta_start.unwrap_or(beta_start),
        beta_end: raw.beta_end.unwrap_or(beta_end),
        beta_schedule: word(raw.beta_schedule, "beta_schedule", BetaSchedule::from_name, BetaSchedule::WORDS)?
            .unwrap_or(BetaSchedule::Linear),
        trained_betas: raw.trained_betas,
        prediction: word(raw.prediction_type, "prediction_type", Prediction::from_name, Prediction::WORDS)?
            .unwrap_or(Prediction::Epsilon),
        rescale_betas_zero_snr: raw.rescale_betas_zero_snr,
        spacing: word(raw.timestep_spacing, "timestep_spacing", Spacing::from_name, Spacing::WORDS)?,
        steps_offset: 1,
        set_alpha_to_one: raw.set_alpha_to_one,
        sigmas: if raw.use_karras_sigmas == Some(true) { Sigmas::Karras } else { Sigmas::Plain },
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
fn check_options(kind: SchedulerKind, options: &Map<String, Value>) -> Result<(), CardError> {
    use Allowed::{Nothing, Number, Switch, Words};
    use SchedulerKind::{Ddim, Ddpm, Dpmpp2m, Euler, Heun, Lms, Pndm, UniPc};
    let rules: [(&'static str, &[SchedulerKind], Allowed); 25] = [
        ("thresholding", &[Ddim, Ddpm, Dpmpp2m, UniPc], Switch(false)),
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
        ("lower_order_final", &[Dpmpp2m, UniPc], Switch(true)),
        ("euler_at_final", &[Dpmpp2m], Switch(false)),
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
            return Err(unsupported(SCHEDULER, key, value, allowed.describe()));
        }
    }
    // The one option whose default is what is not supported: Runge-Kutta steps first.
    if kind == SchedulerKind::Pndm && options.get("skip_prk_steps").is_none_or(Value::is_null) {
        return Err(unsupported(SCHEDULER, "skip_prk_steps", "absent", "`true`"));
    }
    Ok(())
}
