//! What is read from a checkpoint's JSON, and what is refused.

#![allow(clippy::unwrap_used)]

use std::fmt::Write;

use sega::model::card::{AutoencoderCard, Card, CardError, CardTexts, TextActivation};
use sega::model::training::{BetaSchedule, Prediction, SchedulerKind, Sigmas, Spacing};
use sega::plan::scheduler::{Evaluation, Sampling, schedule};
use sega::quantity::{Eta, Steps};
use serde_json::{Value, json};

/// The texts of the checkpoint in this folder.
fn texts(folder: &str) -> CardTexts {
    let read = |path: &str| match std::fs::read_to_string(format!("{folder}/{path}")) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        text => text.map(Some),
    };
    CardTexts::gather(read).unwrap()
}

fn mini() -> CardTexts {
    texts("models/mini")
}

fn text_of<'a>(texts: &'a mut CardTexts, part: &str) -> &'a mut Option<String> {
    match part {
        "index" => &mut texts.index,
        "unet" => &mut texts.unet,
        "text_encoder" => &mut texts.text_encoder,
        "text_encoder_2" => &mut texts.text_encoder_2,
        "vae" => &mut texts.vae,
        "scheduler" => &mut texts.scheduler,
        _ => panic!("no part {part}"),
    }
}

/// The card of `mini` with some keys of one part set (or, by `Null` in place of a value, still set: to `null`).
fn with(part: &str, changes: Value) -> Result<Card, CardError> {
    let mut texts = mini();
    let text = text_of(&mut texts, part);
    let mut object: Value = serde_json::from_str(text.as_deref().unwrap()).unwrap();
    for (key, value) in changes.as_object().unwrap() {
        object[key] = value.clone();
    }
    *text = Some(object.to_string());
    Card::new(&texts)
}

#[test]
fn mini_is_read() {
    let card = Card::new(&mini()).unwrap();
    assert_eq!(card.default_size.to_string(), "128x128");
    assert_eq!((card.latent_channels(), card.downscale(), card.max_tokens()), (4, 8, 32));
    assert_eq!((card.text.layers, card.text.activation), (3, TextActivation::QuickGelu));
    let heads: Vec<usize> = card.unet.transformers().map(|transformer| transformer.heads).collect();
    assert_eq!(heads, [4; 5]);
    assert!(matches!(card.autoencoder, AutoencoderCard::Tiny(_)));
    assert_eq!(card.scheduler.kind, Ok(SchedulerKind::Ddim));
    assert_eq!(card.scheduler.spacing, Some(Spacing::Leading));
    assert_eq!(card.scheduler.set_alpha_to_one, Some(false));
}

#[test]
fn lists_are_read() {
    let card = Card::new(&texts("tests/reference/network/lists")).unwrap();
    // Height and width of the latents, twice.
    assert_eq!((card.default_size.width(), card.default_size.height()), (40, 24));
    let levels: Vec<_> = card.unet.up.iter().map(|l| (l.channels, l.layers, l.transformer.clone())).collect();
    assert_eq!(levels.iter().map(|l| (l.0, l.1)).collect::<Vec<_>>(), [(32, 2), (24, 3), (16, 2)]);
    let middle = levels[1].2.as_ref().unwrap();
    assert_eq!((middle.heads, middle.layers, middle.only_cross_attention), (3, 2, true));
    assert!(!card.unet.mid.as_ref().unwrap().transformer.as_ref().unwrap().only_cross_attention);
    assert_eq!(card.scheduler.prediction, Prediction::Velocity);
}

#[test]
fn two_text_encoders_are_read() {
    let pair = || texts("tests/reference/network/pair");
    let card = Card::new(&pair()).unwrap();
    let second = card.text_2.as_ref().unwrap();
    assert_eq!((card.text.projection, second.projection, second.end_token), (None, Some(20), None));
    assert_eq!((card.text_layer.from_last, card.text_layer.normed, card.zero_empty_text), (2, false, true));
    let added = card.unet.added.unwrap();
    assert_eq!((added.measure_channels, added.text_width, card.unet.guidance_channels), (6, 20, Some(10)));

    let refusal = |part: &str, from: &str, to: &str| {
        let mut texts = pair();
        let text = text_of(&mut texts, part);
        let changed = text.as_deref().unwrap().replace(from, to);
        assert_ne!(text.as_deref(), Some(changed.as_str()));
        *text = Some(changed);
        Card::new(&texts).unwrap_err().to_string()
    };
    let mut refusals = vec![
        refusal("unet", "\"cross_attention_dim\": 40", "\"cross_attention_dim\": 24"),
        refusal("text_encoder_2", "\"projection_dim\": 20", "\"projection_dim\": 24"),
        refusal("text_encoder_2", "\"projection_dim\": 20", "\"projection_dim\": null"),
        refusal("text_encoder_2", "\"max_position_embeddings\": 11", "\"max_position_embeddings\": 12"),
        refusal("text_encoder", "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1"),
    ];
    refusals.push(Card::new(&CardTexts { text_encoder_2: None, ..pair() }).unwrap_err().to_string());
    refusals.push(Card::new(&CardTexts { text_encoder: None, ..pair() }).unwrap_err().to_string());
    insta::assert_snapshot!(refusals.join("\n"));
}

#[test]
fn absent_keys_have_the_defaults_of_diffusers() {
    let read = |text: &str, part: &str| {
        let mut texts = mini();
        *text_of(&mut texts, part) = Some(text.to_owned());
        Card::new(&texts)
    };
    let card = read(r#"{"_class_name": "DDIMScheduler"}"#, "scheduler").unwrap();
    assert_eq!((card.scheduler.beta_start, card.scheduler.beta_end), (0.0001, 0.02));
    assert_eq!((card.scheduler.train_timesteps, card.scheduler.beta_schedule), (1000, BetaSchedule::Linear));
    assert_eq!((card.scheduler.spacing, card.scheduler.set_alpha_to_one), (None, None));
    assert_eq!((card.scheduler.steps_offset, card.scheduler.prediction), (1, Prediction::Epsilon));
    let card = read(r#"{"_class_name": "HeunDiscreteScheduler"}"#, "scheduler").unwrap();
    assert_eq!((card.scheduler.beta_start, card.scheduler.beta_end), (0.00085, 0.012));

    // The U-Net's defaults are Stable Diffusion 1's but for the width of the text.
    let unet = json!({"sample_size": 64, "cross_attention_dim": 128}).to_string();
    let unet = read(&unet, "unet").unwrap().unet;
    assert_eq!(
        unet.down.iter().map(|l| (l.channels, l.layers)).collect::<Vec<_>>(),
        [(320, 2), (640, 2), (1280, 2), (1280, 2)]
    );
    assert_eq!(unet.transformers().map(|t| t.heads).collect::<Vec<_>>(), [8; 7]);
    assert_eq!((unet.time_channels, unet.time_width, unet.groups), (320, 1280, 32));

    // Early releases lost the sample size.
    let lost = with("unet", json!({"sample_size": 32, "_diffusers_version": "0.6.0"})).unwrap();
    assert_eq!(lost.unet.sample_size, (64, 64));
}

#[test]
fn options_of_schedulers_are_read() {
    let card = |changes| with("scheduler", changes).unwrap().scheduler;
    let karras = card(json!({
        "_class_name": "DPMSolverMultistepScheduler", "use_karras_sigmas": true, "timestep_spacing": "trailing",
        "rescale_betas_zero_snr": true, "steps_offset": 0, "solver_type": "bh1",
    }));
    assert_eq!((karras.kind, karras.sigmas), (Ok(SchedulerKind::Dpmpp2m), Sigmas::Karras));
    assert_eq!((karras.spacing, karras.rescale_betas_zero_snr), (Some(Spacing::Trailing), true));
    assert_eq!(karras.steps_offset, 1, "whatever the file says");

    // Another scheduler's leavings do not matter.
    card(json!({"algorithm_type": "sde-dpmsolver++", "solver_order": 3, "skip_prk_steps": false, "sigma_max": 10.0}));

    // Python's own spelling of infinity, and words that only look like it.
    let mut texts = mini();
    texts.scheduler = Some(
        r#"{"_class_name": "DPMSolverMultistepScheduler", "lambda_min_clipped": -Infinity, "x": "-Infinity \" NaN", "solver_order": 2}"#
            .to_owned(),
    );
    assert_eq!(Card::new(&texts).unwrap().scheduler.kind, Ok(SchedulerKind::Dpmpp2m));
}

/// The sampling of a recipe that names this scheduler, or none.
fn sampling(scheduler: Option<SchedulerKind>, sigmas: Option<Sigmas>) -> Sampling {
    Sampling { scheduler, steps: Steps::DEFAULT, eta: Eta::DEFAULT, sigmas, spacing: None }
}

#[test]
fn a_switch_that_is_null_is_off() {
    let unet = |changes| with("unet", changes).unwrap().unet;
    assert!(!unet(json!({"upcast_attention": null, "use_linear_projection": null})).upcast_attention);
    assert!(!unet(json!({"flip_sin_to_cos": null})).flip_sin_to_cos);
    let scheduler =
        with("scheduler", json!({"rescale_betas_zero_snr": null, "set_alpha_to_one": null})).unwrap().scheduler;
    assert_eq!((scheduler.rescale_betas_zero_snr, scheduler.set_alpha_to_one), (false, Some(false)));
    // Keys that the text encoder's file may hold in any form, as nothing needs them.
    with("text_encoder", json!({"bos_token_id": null, "eos_token_id": [1, 2]})).unwrap();
}

#[test]
fn a_recipe_s_scheduler_does_without_the_models_own() {
    let config = with("scheduler", json!({"_class_name": "DEISMultistepScheduler"})).unwrap().scheduler;
    let error = schedule(&config, &sampling(None, None)).unwrap_err();
    assert!(
        error.to_string().contains("DEISMultistepScheduler") && error.remedy().contains("`scheduler dpmpp-2m`"),
        "{error}"
    );
    for &kind in SchedulerKind::ALL {
        schedule(&config, &sampling(Some(kind), None)).unwrap();
    }
}

#[test]
fn consistency_models_have_defaults_of_their_own() {
    let config = with("scheduler", json!({"_class_name": "LCMScheduler"})).unwrap().scheduler;
    assert_eq!(config.kind, Ok(SchedulerKind::Lcm));
    assert_eq!((config.distilled_steps, config.timestep_scaling), (50, 10.0));
    let replaced = json!({"_class_name": "LCMScheduler", "original_inference_steps": 100, "timestep_scaling": 1.0});
    let config = with("scheduler", replaced).unwrap().scheduler;
    assert_eq!((config.distilled_steps, config.timestep_scaling), (100, 1.0));
}

#[test]
fn options_that_change_nothing_are_no_obstacle() {
    let options =
        json!({"_class_name": "DPMSolverMultistepScheduler", "lower_order_final": false, "euler_at_final": true});
    assert_eq!(with("scheduler", options).unwrap().scheduler.kind, Ok(SchedulerKind::Dpmpp2m));
}

#[test]
fn no_value_of_any_key_makes_reading_panic() {
    let values = [
        json!(null),
        json!(true),
        json!(0),
        json!(1),
        json!(-1),
        json!(u64::MAX),
        json!(1e300),
        json!(""),
        json!("x"),
        json!([]),
        json!([0, 0, 0]),
        json!([u64::MAX, 1, 1]),
        json!([[1], [2], [3]]),
        json!({"a": 1}),
    ];
    let mut read = 0;
    for folder in
        ["models/mini", "tests/reference/network/lists", "tests/reference/network/rare", "tests/reference/network/pair"]
    {
        for part in ["unet", "text_encoder", "text_encoder_2", "vae", "scheduler"] {
            let mut texts = texts(folder);
            let Some(text) = text_of(&mut texts, part).clone() else { continue };
            let object: Value = serde_json::from_str(&text).unwrap();
            for key in object.as_object().unwrap().keys() {
                for value in &values {
                    let mut changed = object.clone();
                    changed[key] = value.clone();
                    *text_of(&mut texts, part) = Some(changed.to_string());
                    let Ok(card) = Card::new(&texts) else { continue };
                    read += 1;
                    let kinds = SchedulerKind::ALL.iter().filter(|_| part == "scheduler");
                    for (kind, sigmas) in kinds.flat_map(|&kind| [(kind, Sigmas::Plain), (kind, Sigmas::Karras)]) {
                        if let Ok(schedule) = schedule(&card.scheduler, &sampling(Some(kind), Some(sigmas))) {
                            assert!(schedule.evaluations.iter().all(Evaluation::is_finite), "{key} {value} {kind}");
                        }
                    }
                }
            }
        }
    }
    assert!(read > 100, "only {read} were accepted: the test misses what lies behind the checks");
}

#[test]
fn what_is_not_supported_is_refused() {
    let two_levels = json!(["DownBlock2D", "DownBlock2D"]);
    let cases = [
        ("index", json!({"requires_aesthetics_score": true})),
        ("unet", json!({"addition_embed_type": "text_time"})),
        (
            "unet",
            json!({"addition_embed_type": "text_time", "addition_time_embed_dim": 256, "projection_class_embeddings_input_dim": 1536}),
        ),
        (
            "unet",
            json!({"addition_embed_type": "text_time", "addition_time_embed_dim": 256, "projection_class_embeddings_input_dim": 2816}),
        ),
        ("unet", json!({"addition_embed_type": "image"})),
        ("unet", json!({"down_block_types": ["DownBlock2D", "AttnDownBlock2D", "CrossAttnDownBlock2D"]})),
        ("unet", json!({"up_block_types": ["SimpleCrossAttnUpBlock2D", "UpBlock2D", "UpBlock2D"]})),
        ("unet", json!({"mid_block_type": "UNetMidBlock2DSimpleCrossAttn"})),
        ("unet", json!({"down_block_types": two_levels})),
        ("unet", json!({"attention_head_dim": [4, 4]})),
        ("unet", json!({"attention_head_dim": 5})),
        ("unet", json!({"attention_head_dim": 0})),
        ("unet", json!({"norm_num_groups": 33})),
        ("unet", json!({"norm_num_groups": null})),
        ("unet", json!({"class_embed_type": "timestep"})),
        ("unet", json!({"time_cond_proj_dim": 7})),
        ("unet", json!({"num_attention_heads": 8})),
        ("unet", json!({"dual_cross_attention": true})),
        ("unet", json!({"act_fn": "mish"})),
        ("unet", json!({"resnet_time_scale_shift": "scale_shift"})),
        ("unet", json!({"time_embedding_type": "fourier"})),
        ("unet", json!({"in_channels": 9})),
        ("unet", json!({"in_channels": 3, "out_channels": 3})),
        ("unet", json!({"cross_attention_dim": 768})),
        ("unet", json!({"sample_size": null})),
        ("unet", json!({"sample_size": 5000})),
        ("unet", json!({"block_out_channels": []})),
        ("unet", json!({"layers_per_block": "two"})),
        ("unet", json!({"block_out_channels": [64, 96, 1_000_000]})),
        ("unet", json!({"layers_per_block": 10_000_000_000u64})),
        ("unet", json!({"norm_eps": "small"})),
        ("text_encoder", json!({"num_hidden_layers": -1})),
        ("text_encoder", json!({"hidden_act": "relu"})),
        ("text_encoder", json!({"model_type": "t5"})),
        ("text_encoder", json!({"num_attention_heads": 3})),
        ("vae", json!({"_class_name": "VQModel"})),
        ("vae", json!({"act_fn": "silu"})),
        ("vae", json!({"scaling_factor": 0.0})),
        ("vae", json!({"shift_factor": 0.1})),
        ("vae", json!({"decoder_block_out_channels": [64, 64, 64, 32]})),
        ("vae", json!({"num_decoder_blocks": [3, 1]})),
        ("vae", json!({"num_decoder_blocks": [3, 3, 3, u64::MAX]})),
        ("vae", json!({"latent_channels": 0})),
        ("vae", json!({"num_decoder_blocks": vec![1; 13], "decoder_block_out_channels": vec![8; 13]})),
        ("vae", json!({"_class_name": "AutoencoderKL", "act_fn": "silu", "up_block_types": ["AttnUpDecoderBlock2D"]})),
        ("scheduler", json!({"_class_name": "DEISMultistepScheduler"})),
        ("scheduler", json!({"prediction_type": "sample"})),
        ("scheduler", json!({"beta_schedule": "sigmoid"})),
        ("scheduler", json!({"timestep_spacing": "log"})),
        ("scheduler", json!({"thresholding": true})),
        ("scheduler", json!({"num_train_timesteps": 1})),
        ("scheduler", json!({"num_train_timesteps": u64::MAX})),
        ("scheduler", json!({"trained_betas": [0.1, 0.2]})),
        ("scheduler", json!({"_class_name": "PNDMScheduler"})),
        ("scheduler", json!({"_class_name": "PNDMScheduler", "skip_prk_steps": false})),
        ("scheduler", json!({"_class_name": "DDPMScheduler", "variance_type": "learned_range"})),
        ("scheduler", json!({"_class_name": "EulerDiscreteScheduler", "interpolation_type": "log_linear"})),
        ("scheduler", json!({"_class_name": "EulerDiscreteScheduler", "sigma_max": 100.0})),
        ("scheduler", json!({"_class_name": "EulerDiscreteScheduler", "use_beta_sigmas": true})),
        ("scheduler", json!({"_class_name": "DPMSolverMultistepScheduler", "solver_order": 3})),
        ("scheduler", json!({"_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "sde-dpmsolver++"})),
        ("scheduler", json!({"_class_name": "UniPCMultistepScheduler", "disable_corrector": [0]})),
        ("scheduler", json!({"_class_name": "UniPCMultistepScheduler", "final_sigmas_type": "sigma_min"})),
    ];
    let mut report = String::new();
    for (part, changes) in cases {
        let message = match with(part, changes.clone()) {
            Ok(card) => match schedule(&card.scheduler, &sampling(None, None)) {
                Ok(_) => panic!("{part} {changes} must be refused"),
                Err(error) => error.to_string(),
            },
            Err(error) => error.to_string(),
        };
        writeln!(report, "{part} {changes}\n    {message}").unwrap();
    }
    for part in ["unet", "text_encoder", "vae", "scheduler"] {
        let mut texts = mini();
        *text_of(&mut texts, part) = None;
        writeln!(report, "no {part}\n    {}", Card::new(&texts).unwrap_err()).unwrap();
        *text_of(&mut texts, part) = Some("{\"sample_size\": 16,".to_owned());
        writeln!(report, "torn {part}\n    {}", Card::new(&texts).unwrap_err()).unwrap();
    }
    insta::assert_snapshot!(report);
}
