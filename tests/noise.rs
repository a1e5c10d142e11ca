//! The noise of a seed, against PyTorch's CPU generator.

#![allow(clippy::unwrap_used)]

use sega::engine::noise::NoiseStream;
use serde::Deserialize;

/// What `tools/reference/noise.py` writes.
#[derive(Deserialize)]
struct Reference {
    seed: u64,
    raw: Vec<u32>,
    sequences: Vec<Vec<Draw>>,
}

#[derive(Deserialize)]
struct Draw {
    count: usize,
    first: Vec<u32>,
    last: Vec<u32>,
    checksum: u32,
}

fn check(seed: u64) {
    let path = format!("{}/tests/reference/noise/{seed}.json", env!("CARGO_MANIFEST_DIR"));
    let reference: Reference = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(reference.seed, seed);
    let mut stream = NoiseStream::new(seed);
    let raw: Vec<u32> = (0..=reference.raw.len()).map(|_| stream.bits()).skip(1).collect();
    assert_eq!(raw, reference.raw);
    for draws in &reference.sequences {
        let mut stream = NoiseStream::new(seed);
        for draw in draws {
            let bits: Vec<u32> = stream.normals(draw.count).into_iter().map(f32::to_bits).collect();
            assert_eq!(bits.len(), draw.count);
            assert_eq!(bits[..draw.first.len()], draw.first, "seed {seed}, {} elements", draw.count);
            assert_eq!(bits[draw.count - draw.last.len()..], draw.last, "seed {seed}, {} elements", draw.count);
            let checksum = bits.iter().enumerate().fold(0, |sum, (i, bits)| sum ^ bits.rotate_left(i as u32 % 32));
            assert_eq!(checksum, draw.checksum, "seed {seed}, {} elements", draw.count);
        }
    }
}

#[test]
fn noise_is_pytorchs_to_the_bit() {
    [0, 42, (1 << 32) + 7, i64::MAX as u64].into_iter().for_each(check);
}

#[test]
fn a_seed_counts_by_its_low_bits() {
    assert_eq!(NoiseStream::new((1 << 32) + 7).normals(64), NoiseStream::new(7).normals(64));
}

#[test]
fn no_noise_is_no_draw() {
    let mut stream = NoiseStream::new(3);
    assert!(stream.normals(0).is_empty());
    assert_eq!(stream.normals(16), NoiseStream::new(3).normals(16));
}
