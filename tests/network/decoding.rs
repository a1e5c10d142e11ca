//! From latents to pixels: in strips, in half precision.

use std::path::Path;
use std::time::Instant;

use candle_core::{DType, Tensor};
use sega::engine::loading::Loading;
use sega::engine::network::Decoder;
use sega::engine::texts::TextEncoders;
use sega::engine::{ModelWeights, Precision};
use sega::model::card::{AutoencoderCard, KlCard};
use sega::model::files::Weights;
use sega::model::prompt::TextTokens;

use super::{Networks, card_in, difference, folder, generated, input, listed, on_disk, serialized, weight};

#[test]
fn half_precision_is_near() {
    let mini = Path::new("models/mini");
    let models = [
        ("mini", card_in(mini), on_disk(mini)),
        ("pair", card_in(&folder("pair")), generated("pair")),
        ("rare", card_in(&folder("rare")), generated("rare")),
        ("lists", card_in(&folder("lists")), generated("lists")),
    ];
    for (name, mut card, weights) in models {
        if let AutoencoderCard::Kl(vae) = &mut card.autoencoder {
            vae.force_upcast = false;
        }
        let latents = input("latents", (1, card.latent_channels(), 8, 8));
        let [full, half, brain] = [Precision::F32, Precision::F16, Precision::BF16].map(|precision| {
            let networks = Networks::load(&card, &weights, precision).unwrap();
            let (model, condition) = (&networks.model, networks.condition(&card));
            let estimate = model.unet.forward(&latents, 500.0, &condition, &[1, 2]).unwrap();
            (estimate, model.decoder.decode(&latents).unwrap())
        });
        for (precision, ours, bound) in [("f16", half, 1e-2), ("bf16", brain, 6e-2)] {
            assert_eq!(ours.0.dtype(), DType::F32);
            let differences = (difference(&ours.0, &full.0), difference(&ours.1, &full.1));
            println!("{name} {precision}: {differences:?}");
            assert!(differences.0 < bound && differences.1 < bound, "{name} {precision}: {differences:?}");
            assert!(differences.0 > 1e-5, "the two must differ for this test to mean something");
        }
    }
}

#[test]
fn a_decoder_that_overflows_is_done_again() {
    let mut card = card_in(&folder("pair"));
    let AutoencoderCard::Kl(vae) = &mut card.autoencoder else { panic!("the case has this kind") };
    vae.force_upcast = false;
    let mut tensors: Vec<(String, Vec<usize>, Vec<f32>)> = listed("pair", "vae")
        .into_iter()
        .map(|(name, shape)| (name.clone(), shape.clone(), weight(&name, &shape)))
        .collect();
    // What the norms behind it take out again, in f32.
    let loud = tensors.iter_mut().find(|(name, ..)| name == "decoder.conv_in.weight").unwrap();
    loud.2.iter_mut().for_each(|value| *value *= 1e6);
    let weights = ModelWeights { vae: vec![Weights::Embedded(serialized(&tensors).leak())], ..generated("pair") };
    let recipe = "sega 1\nmodel \"x\"\nprompt \"a\"\nseed 1\nsize 16x16\nsteps 1\nscheduler ddim\nguidance 1\n";
    let recipe = sega::recipe::parse(&sega::source::Source::new("a.sega", recipe)).recipe.unwrap();
    let plan = sega::plan::build(&recipe, &card).unwrap();
    for (precision, overflows) in [(Precision::F16, true), (Precision::F32, false)] {
        let loading = Loading::new(precision);
        let encoders = TextEncoders::load(&card, &weights, &loading).unwrap();
        let texts = encoders.encode(&[TextTokens::default()], None).unwrap();
        let painter = sega::engine::render::Painter::load(&card, &weights, &loading).unwrap();
        let condition = painter.condition(&plan, &texts).unwrap();
        let rendered = painter.render(&plan, &condition, 1, &mut |_| std::ops::ControlFlow::Continue(())).unwrap();
        assert_eq!(rendered.overflowed, overflows, "{precision:?}");
    }
}

/// The largest and the mean difference of pixels between 0 and 1.
fn apart(ours: &Tensor, theirs: &Tensor) -> (f32, f32) {
    let apart = (ours - theirs).unwrap().abs().unwrap().flatten_all().unwrap();
    (apart.max(0).unwrap().to_scalar().unwrap(), apart.mean(0).unwrap().to_scalar().unwrap())
}

/// A strip sees its neighbours, and its norms see the whole picture: there is nothing to blend and no seam.
#[test]
fn strips_make_the_whole_picture() {
    for (case, precision, bound) in [
        ("pair", Precision::F32, 2e-6),
        ("rare", Precision::F32, 2e-6),
        ("lists", Precision::F32, 2e-6),
        ("pair", Precision::BF16, 2e-2),
    ] {
        let card = card_in(&folder(case));
        let decoder = || Networks::load(&card, &generated(case), precision).unwrap().model.decoder;
        for (height, width) in [(13, 5), (8, 8), (1, 3)] {
            let latents = input("latents", (1, card.latent_channels(), height, width));
            let whole = decoder().strips_of(usize::MAX).decode(&latents).unwrap();
            // So small that every strip has as few rows as may be.
            let strips = decoder().strips_of(1).decode(&latents).unwrap();
            let (most, mean) = apart(&strips, &whole);
            assert!(most <= bound && mean <= bound / 4.0, "{case} {precision:?} {height}x{width}: {most:e}, {mean:e}");
        }
    }
}

/// The decoder of every Stable Diffusion, of random weights.
fn full_size() -> (AutoencoderCard, Vec<(String, Vec<usize>)>) {
    let channels = vec![128, 256, 512, 512];
    let card = AutoencoderCard::Kl(KlCard {
        latent_channels: 4,
        out_channels: 3,
        channels: channels.clone(),
        layers: 2,
        groups: 32,
        scaling_factor: 0.18215,
        statistics: None,
        post_quant_conv: true,
        mid_attention: true,
        force_upcast: true,
    });
    let mut all: Vec<(String, Vec<usize>)> = Vec::new();
    let mut layer = |name: String, shape: &[usize]| {
        all.push((format!("{name}.weight"), shape.to_vec()));
        all.push((format!("{name}.bias"), vec![shape[0]]));
    };
    let resnet = |layer: &mut dyn FnMut(String, &[usize]), at: &str, from: usize, to: usize| {
        layer(format!("{at}.norm1"), &[from]);
        layer(format!("{at}.conv1"), &[to, from, 3, 3]);
        layer(format!("{at}.norm2"), &[to]);
        layer(format!("{at}.conv2"), &[to, to, 3, 3]);
        if from != to {
            layer(format!("{at}.conv_shortcut"), &[to, from, 1, 1]);
        }
    };
    layer("post_quant_conv".to_owned(), &[4, 4, 1, 1]);
    layer("decoder.conv_in".to_owned(), &[512, 4, 3, 3]);
    for index in 0..2 {
        resnet(&mut layer, &format!("decoder.mid_block.resnets.{index}"), 512, 512);
    }
    layer("decoder.mid_block.attentions.0.group_norm".to_owned(), &[512]);
    for part in ["to_q", "to_k", "to_v", "to_out.0"] {
        layer(format!("decoder.mid_block.attentions.0.{part}"), &[512, 512]);
    }
    let mut from = 512;
    for (index, &to) in channels.iter().rev().enumerate() {
        for number in 0..3 {
            resnet(&mut layer, &format!("decoder.up_blocks.{index}.resnets.{number}"), from, to);
            from = to;
        }
        if index < 3 {
            layer(format!("decoder.up_blocks.{index}.upsamplers.0.conv"), &[to, to, 3, 3]);
        }
    }
    layer("decoder.conv_norm_out".to_owned(), &[128]);
    layer("decoder.conv_out".to_owned(), &[3, 128, 3, 3]);
    (card, all)
}

#[test]
#[ignore = "a full-size decoder takes minutes: `cargo test --release --test sega full_size -- --ignored --nocapture`"]
fn strips_of_a_full_size_decoder_make_the_whole_picture() {
    let (card, shapes) = full_size();
    let tensors: Vec<_> =
        shapes.iter().map(|(name, shape)| (name.clone(), shape.clone(), weight(name, shape))).collect();
    let file = tempfile::NamedTempFile::with_suffix(".safetensors").unwrap();
    std::fs::write(file.path(), serialized(&tensors)).unwrap();
    let checkpoint = sega::engine::checkpoint::Checkpoint::open(&[Weights::File(file.path().to_owned())]).unwrap();
    let loading = Loading::new(Precision::F32);
    let tensors = checkpoint.tensors();
    let decoder = || Decoder::new(&card, &tensors.parameters("vae", &loading)).unwrap();
    for side in [512, 1024] {
        let latents = input("latents", (1, 4, side / 8, side / 8));
        let decode = |decoder: Decoder| {
            let began = Instant::now();
            (decoder.decode(&latents).unwrap(), began.elapsed())
        };
        let (strips, quick) = decode(decoder());
        let (whole, slow) = decode(decoder().strips_of(usize::MAX));
        let (most, mean) = apart(&strips, &whole);
        println!(
            "{side}x{side}: at most {most:.1e}, {mean:.1e} in the mean, of 1; {quick:.1?} in strips, {slow:.1?} whole"
        );
        assert!(most < 1e-5);
    }
}
