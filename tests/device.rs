//! What a device other than the CPU computes, against the CPU.

#![allow(clippy::unwrap_used)]

#[cfg(feature = "cuda")]
use candle_core::{Device, Tensor};
use sega::engine::device::DeviceChoice;

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

/// Odd sizes, ties, zeros of both signs and every kind of rank.
#[test]
#[cfg(feature = "cuda")]
#[ignore = "needs a CUDA device"]
fn thresholds_on_cuda_are_the_cpus_to_the_bit() {
    use sega::engine::guidance::keep_largest;
    use sega::engine::noise::NoiseStream;
    let cuda = DeviceChoice::Cuda(0).open().unwrap();
    for (seed, (height, width)) in (0u64..).zip([(1, 1), (1, 7), (16, 16), (31, 33), (64, 64), (128, 96), (255, 257)]) {
        let count = 4 * height * width;
        let mut values = NoiseStream::new(seed).normals(count.max(16));
        values.truncate(count);
        for at in (0..count).step_by(5) {
            values[at] = [0.0, -0.0, 1.0, -1.0, f32::MIN_POSITIVE][at % 5];
        }
        let edit = Tensor::from_vec(values, (1, 4, height, width), &Device::Cpu).unwrap();
        let places = height * width;
        for rank in [1, places / 2, places * 9 / 10, places - 1, places + 3] {
            let bits = |tensor: Tensor| {
                let values: Vec<f32> = tensor.flatten_all().unwrap().to_vec1().unwrap();
                values.into_iter().map(f32::to_bits).collect::<Vec<_>>()
            };
            let ours = keep_largest(&edit.to_device(&cuda).unwrap(), rank).unwrap();
            assert!(bits(ours) == bits(keep_largest(&edit, rank).unwrap()), "{height}x{width}, rank {rank}");
        }
    }
}
