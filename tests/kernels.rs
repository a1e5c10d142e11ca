//! The kernels for CUDA devices without one: compiled as C++ (`tests/kernels/`), a block's threads taking turns in several
//! orders, on random numbers of odd sizes, with outputs full of NaN and a page that cannot be touched behind every buffer;
//! against what the same functions make of the same numbers by candle's operations.

#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use candle_core::{DType, Device, Tensor};
use half::{bf16, f16};
use sega::engine::combine::{self, combine};
use sega::engine::fused::{self, Finish};
use sega::engine::guidance::packed::Packed;
use sega::engine::guidance::{Memory, guide, keep_largest};
use sega::engine::noise::NoiseStream;
use sega::plan::{Guidance, MomentumStep, Role, Term};

/// In ascending order, in descending order, and by chance.
const ORDERS: [u32; 3] = [0, 1, 2];

/// The kernels as a program.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("kernels-{}", std::process::id()));
        let compiler = std::env::var_os("CXX").unwrap_or_else(|| "c++".into());
        let compiled = Command::new(&compiler)
            .args(["-std=c++17", "-O1", "-ffp-contract=off", "-o"])
            .arg(&program)
            .arg("-I")
            .arg(root.join("tests/kernels"))
            .arg("-I")
            .arg(root.join("src/engine/cuda"))
            .arg(root.join("tests/kernels/main.cpp"))
            .output();
        let output =
            compiled.unwrap_or_else(|error| panic!("{compiler:?}: {error}; a C++ compiler is needed: set CXX"));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        program
    })
}

/// What a kernel is given.
#[derive(Default)]
struct Input(Vec<u8>);

impl Input {
    /// A value as it lies in memory.
    fn value<T: Copy>(mut self, value: &T) -> Self {
        // SAFETY: the values here are numbers, and structures of numbers without room between them.
        let bytes = unsafe { std::slice::from_raw_parts(std::ptr::from_ref(value).cast::<u8>(), size_of::<T>()) };
        self.0.extend(bytes);
        self
    }

    fn count(self, count: usize) -> Self {
        self.value(&u32::try_from(count).unwrap())
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend((bytes.len() as u64).to_le_bytes());
        self.0.extend(bytes);
        self
    }

    /// A tensor's numbers; none where there is no tensor.
    fn tensor(self, tensor: Option<&Tensor>) -> Self {
        let bytes = tensor.map_or_else(Vec::new, bytes_of);
        self.bytes(&bytes)
    }

    /// Room for so many numbers of a type, full of NaN.
    fn room(self, count: usize, dtype: DType) -> Self {
        self.bytes(&vec![0xff; count * dtype.size_in_bytes()])
    }

    /// What the kernel makes of it, which must be the same in every order.
    fn run(&self, kernel: &str, threads: u32) -> Vec<u8> {
        let mut outputs = ORDERS.map(|order| {
            let mut child = Command::new(program())
                .args([kernel, &order.to_string(), &threads.to_string()])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let mut stdin = child.stdin.take().unwrap();
            // All of it is read before anything is written.
            stdin.write_all(&self.0).unwrap();
            drop(stdin);
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{kernel}: {} {}", output.status, String::from_utf8_lossy(&output.stderr));
            output.stdout
        });
        assert!(outputs[1] == outputs[0] && outputs[2] == outputs[0], "{kernel}: the order of the threads matters");
        std::mem::take(&mut outputs[0])
    }
}

fn bytes_of(tensor: &Tensor) -> Vec<u8> {
    let flat = tensor.flatten_all().unwrap();
    match tensor.dtype() {
        DType::F16 => flat.to_vec1::<f16>().unwrap().iter().flat_map(|x| x.to_le_bytes()).collect(),
        DType::BF16 => flat.to_vec1::<bf16>().unwrap().iter().flat_map(|x| x.to_le_bytes()).collect(),
        _ => flat.to_vec1::<f32>().unwrap().iter().flat_map(|x| x.to_le_bytes()).collect(),
    }
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect()
}

fn numbers(bytes: &[u8], dtype: DType) -> Vec<f32> {
    let halves = || bytes.chunks_exact(2).map(|bytes| bytes.try_into().unwrap());
    match dtype {
        DType::F16 => halves().map(|bytes| f16::from_le_bytes(bytes).to_f32()).collect(),
        DType::BF16 => halves().map(|bytes| bf16::from_le_bytes(bytes).to_f32()).collect(),
        _ => floats(bytes),
    }
}

fn values(tensor: &Tensor) -> Vec<f32> {
    wide(tensor).flatten_all().unwrap().to_vec1().unwrap()
}

/// Numbers by chance.
struct Chance(NoiseStream);

impl Chance {
    fn of(seed: u64) -> Self {
        Self(NoiseStream::new(seed))
    }

    fn below(&mut self, end: u32) -> usize {
        (self.0.bits() % end) as usize
    }

    fn coin(&mut self) -> bool {
        self.below(2) == 0
    }

    fn factor(&mut self) -> f64 {
        self.below(2001) as f64 / 100.0 - 10.0
    }

    fn tensor(&mut self, shape: &[usize]) -> Tensor {
        let count: usize = shape.iter().product();
        let mut numbers = self.0.normals(count.max(16));
        numbers.truncate(count);
        Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap()
    }

    fn of_type(&mut self, shape: &[usize], dtype: DType) -> Tensor {
        self.tensor(shape).to_dtype(dtype).unwrap()
    }
}

/// The root of the squared differences as a share of that of the squares.
fn distance(ours: &[f32], theirs: &[f32]) -> f64 {
    assert_eq!(ours.len(), theirs.len());
    let square = |x: f64| x * x;
    let apart: f64 = ours.iter().zip(theirs).map(|(a, b)| square(f64::from(*a) - f64::from(*b))).sum();
    let all: f64 = theirs.iter().map(|b| square(f64::from(*b))).sum();
    (apart / all.max(f64::MIN_POSITIVE)).sqrt()
}

/// The types that layers compute in, and how far a kernel's outputs may be from what its twin makes of the same numbers in f32:
/// little more than what they are rounded by at the end.
const TYPES: [(DType, &str, f64); 3] =
    [(DType::F32, "f32", 1e-5), (DType::F16, "f16", 6e-4), (DType::BF16, "bf16", 5e-3)];

/// The same numbers in f32.
fn wide(tensor: &Tensor) -> Tensor {
    tensor.to_dtype(DType::F32).unwrap()
}

const SIZES: [(usize, usize); 7] = [(1, 1), (1, 7), (3, 5), (16, 16), (31, 33), (8, 65), (40, 24)];

/// Edits with ties, zeros of both signs and the smallest numbers.
fn edit(chance: &mut Chance, height: usize, width: usize) -> Tensor {
    let mut numbers = values(&chance.tensor(&[4 * height * width]));
    for at in (0..numbers.len()).step_by(5) {
        numbers[at] = [0.0, -0.0, 1.0, -1.0, f32::MIN_POSITIVE / 4.0][at / 5 % 5];
    }
    Tensor::from_vec(numbers, (1, 4, height, width), &Device::Cpu).unwrap()
}

#[test]
fn thresholds_are_the_cpus_to_the_bit() {
    for (seed, (height, width)) in (0u64..).zip(SIZES) {
        let places = height * width;
        let edit = edit(&mut Chance::of(seed), height, width);
        for rank in [1, places / 2, places * 9 / 10, places - 1, places + 3].into_iter().filter(|rank| *rank > 0) {
            let input = Input::default().count(4).count(places).count(rank.min(places - 1));
            let made = input.tensor(Some(&edit)).room(4 * places, DType::F32).run("keep_largest", 96);
            let theirs = keep_largest(&edit, rank).unwrap();
            assert!(made == bytes_of(&theirs), "{height}x{width}, rank {rank}");
        }
    }
}

/// Operands and sums of them by chance.
fn sums(chance: &mut Chance) -> (Vec<Tensor>, Vec<combine::Sum>) {
    let shape = [1, 1 + chance.below(4), 1 + chance.below(20), 1 + chance.below(20)];
    let operands: Vec<Tensor> = (0..1 + chance.below(8)).map(|_| chance.tensor(&shape)).collect();
    let sums = (0..1 + chance.below(8)).map(|_| {
        let parts = (0..operands.len()).filter(|_| chance.coin()).collect::<Vec<_>>();
        parts.into_iter().map(|operand| (operand, chance.factor())).collect()
    });
    let sums = sums.collect();
    (operands, sums)
}

#[test]
fn sums_are_the_cpus() {
    for seed in 0..12 {
        let (operands, sums) = sums(&mut Chance::of(seed));
        let references: Vec<&combine::Sum> = sums.iter().collect();
        let arguments = combine::Arguments::new(operands.len(), &references).unwrap();
        let count = operands[0].elem_count();
        let mut input = Input::default().value(&arguments).count(count);
        for operand in &operands {
            input = input.tensor(Some(operand));
        }
        let made = floats(&input.room(sums.len() * count, DType::F32).run("combine", 64));
        let theirs = combine(&operands.iter().collect::<Vec<_>>(), &sums).unwrap();
        let theirs: Vec<f32> = theirs.iter().flat_map(values).collect();
        // Zeros may differ in their sign, which is no difference.
        assert!(made == theirs, "{sums:?}");
    }
}

/// Guidance by chance: concepts with momenta of their own or a joint one, begun or not.
fn guidance(chance: &mut Chance, rows: usize, places: usize) -> Guidance {
    let momenta: Vec<MomentumStep> = (0..chance.below(4))
        .map(|momentum| MomentumStep {
            momentum: 2 * momentum,
            scale: chance.factor().abs() / 10.0,
            decay: chance.factor().abs() / 10.0,
            added: if chance.coin() { 1.0 } else { 0.0 },
            kept: chance.coin(),
        })
        .collect();
    let terms = (0..chance.below(7))
        .map(|concept| Term {
            concept,
            row: chance.below(rows as u32),
            strength: chance.factor(),
            rank: [0, 1, places / 2, places * 9 / 10, places + 2][chance.below(5)],
            role: if chance.coin() { Role::Active } else { Role::WarmingUp },
            direct: if chance.coin() { chance.factor() } else { 0.0 },
            feeds: (!momenta.is_empty() && chance.coin())
                .then(|| (2 * chance.below(momenta.len() as u32), chance.factor())),
        })
        .collect();
    let prompt = chance.coin().then(|| (chance.below(rows as u32), chance.factor()));
    Guidance { base: chance.below(rows as u32), prompt, terms, momenta }
}

/// An evaluation's guidance by chance.
struct Case {
    guidance: Guidance,
    estimates: Tensor,
    memory: Memory,
    /// For each concept the place of its effect.
    effects: Vec<Option<usize>>,
}

impl Case {
    fn new(chance: &mut Chance) -> Self {
        let (height, width) = SIZES[chance.below(7)];
        let (rows, channels) = (1 + chance.below(6), 1 + chance.below(5));
        let guidance = guidance(chance, rows, height * width);
        let estimates = chance.tensor(&[rows, channels, height, width]);
        let momenta = (0..chance.below(8)).map(|_| chance.coin().then(|| chance.tensor(&[1, channels, height, width])));
        let momenta = momenta.collect();
        let before: Vec<Tensor> = (0..chance.below(3)).map(|_| chance.tensor(&[height, width])).collect();
        // New effects come one behind the other.
        let mut known = before.len();
        let mut effects = Vec::new();
        for term in &guidance.terms {
            let place = if known > 0 && chance.coin() { chance.below(known as u32) } else { known };
            let place = (term.role == Role::Active).then_some(place);
            known = known.max(place.map_or(0, |place| place + 1));
            effects.push(place);
        }
        Self { guidance, estimates, memory: Memory { momenta, effects: before }, effects }
    }

    fn effect_of(&self, term: &Term) -> Option<usize> {
        self.effects[term.concept]
    }

    /// What the twin makes of it.
    fn twin(&self) -> (Tensor, Memory) {
        let effect_of = |term: &Term| self.effect_of(term);
        guide(&self.guidance, &self.estimates, Some, self.memory.clone(), effect_of).unwrap()
    }
}

#[test]
fn guidance_is_the_cpus() {
    let (mut with_terms, mut with_momenta) = (0, 0);
    for seed in 0..60 {
        let case = Case::new(&mut Chance::of(seed));
        let Case { guidance, estimates, memory, .. } = &case;
        let (rows, channels, height, width) = estimates.dims4().unwrap();
        let places = height * width;
        let effect_of = |term: &Term| case.effect_of(term);
        let packed = Packed::new(guidance, (rows, channels, height, width), Some, memory, effect_of).unwrap();
        let mut input = Input::default().value(&packed.arguments);
        for number in &packed.momenta {
            input = input.tensor(memory.momenta.get(*number).and_then(Option::as_ref));
        }
        for place in &packed.effects {
            input = input.tensor(memory.effects.get(*place));
        }
        let made = input
            .tensor(Some(estimates))
            .room(packed.arguments.thresholds(), DType::F32)
            .room(channels * places, DType::F32)
            .room(packed.kept.len() * channels * places, DType::F32)
            .room(packed.effects.len() * places, DType::F32)
            .run("guide", 48);
        let made = floats(&made);
        let (guided, rest) = made.split_at(channels * places);
        let (next, maps) = rest.split_at(packed.kept.len() * channels * places);

        let (theirs, after) = case.twin();
        assert!(guided == values(&theirs), "{guidance:?}: {:.1e}", distance(guided, &values(&theirs)));
        let mut kept = vec![false; after.momenta.len()];
        for (made, place) in next.chunks(channels * places).zip(&packed.kept) {
            let number = packed.momenta[*place];
            kept[number] = true;
            assert!(made == values(after.momenta[number].as_ref().unwrap()), "momentum {number} of {guidance:?}");
        }
        for number in &packed.momenta {
            assert_eq!(after.momenta.get(*number).is_some_and(Option::is_some), kept.get(*number) == Some(&true));
        }
        for (made, place) in maps.chunks(places).zip(&packed.effects) {
            assert!(distance(made, &values(&after.effects[*place])) < 1e-6, "effect {place} of {guidance:?}");
        }
        with_terms += usize::from(!guidance.terms.is_empty());
        with_momenta += usize::from(!packed.kept.is_empty());
    }
    assert!(with_terms > 30 && with_momenta > 15, "{with_terms} {with_momenta}");
}

#[test]
fn more_concepts_than_the_kernels_take_are_left_to_the_twin() {
    let term = |concept| Term { concept, row: 0, strength: 1.0, rank: 0, role: Role::Active, direct: 1.0, feeds: None };
    let of = |count| Guidance { base: 0, prompt: None, terms: (0..count).map(term).collect(), momenta: Vec::new() };
    let packed = |count| Packed::new(&of(count), (1, 4, 2, 2), Some, &Memory::default(), |_| None);
    assert!(packed(32).is_some());
    assert!(packed(33).is_none());
}

/// Rows, channels, groups, height and width.
const NORMS: [(usize, usize, usize, usize, usize); 5] =
    [(1, 32, 32, 1, 1), (2, 32, 8, 5, 7), (3, 12, 4, 17, 3), (1, 6, 1, 9, 31), (2, 64, 32, 2, 2)];

/// Mean and spread of what is normalised: far from 0, where sums of squares would cancel; and so large that in 16 bits two numbers
/// have no sum, and none has a square.
const MOMENTS: [(f64, f64); 2] = [(30.0, 1.0), (40000.0, 5000.0)];

/// A picture, a scale and a shift.
fn normed(chance: &mut Chance, shape: [usize; 4], dtype: DType, (mean, spread): (f64, f64)) -> [Tensor; 3] {
    let x = chance.tensor(&shape).affine(spread, mean).unwrap().to_dtype(dtype).unwrap();
    [x, chance.of_type(&[shape[1]], dtype), chance.of_type(&[shape[1]], dtype)]
}

#[test]
fn group_norms_are_the_cpus() {
    for (seed, (rows, channels, groups, height, width)) in (0u64..).zip(NORMS) {
        for ((dtype, name, bound), activated) in TYPES.into_iter().flat_map(|of| [(of, false), (of, true)]) {
            let shape = [rows, channels, height, width];
            let [x, scale, shift] = normed(&mut Chance::of(seed), shape, dtype, MOMENTS[usize::from(activated)]);
            let epsilon = 1e-5f32;
            let input = Input::default().count(rows).count(channels).count(height * width).count(groups);
            let input = input.value(&epsilon).value(&i32::from(activated));
            let input = input.tensor(Some(&x)).tensor(Some(&scale)).tensor(Some(&shift)).room(x.elem_count(), dtype);
            let made = numbers(&input.run(&format!("group_norm_{name}"), 512), dtype);
            let (x, scale, shift) = (wide(&x), wide(&scale), wide(&shift));
            let theirs = fused::group_norm(&x, groups, f64::from(epsilon), &scale, &shift, activated).unwrap();
            let distance = distance(&made, &values(&theirs));
            assert!(distance < bound, "{name} {rows}x{channels}x{height}x{width}: {distance:.1e}");
        }
    }
}

/// Positions and width.
const GATES: [(usize, usize); 4] = [(1, 37), (7, 3), (33, 20), (5, 129)];

/// What is gated, and a bias.
fn gated(chance: &mut Chance, positions: usize, width: usize, dtype: DType) -> [Tensor; 2] {
    let x = (chance.tensor(&[positions, 2 * width]) * 3.0).unwrap().to_dtype(dtype).unwrap();
    [x, chance.of_type(&[2 * width], dtype)]
}

#[test]
fn gates_are_the_cpus() {
    for (seed, (positions, width)) in (0u64..).zip(GATES) {
        for (dtype, name, bound) in TYPES {
            let [x, bias] = gated(&mut Chance::of(seed), positions, width, dtype);
            let input = Input::default().count(width).count(positions * width).tensor(Some(&x)).tensor(Some(&bias));
            let made = input.room(positions * width, dtype).run(&format!("gate_{name}"), 64);
            let theirs = fused::gated(&wide(&x), &wide(&bias)).unwrap();
            let distance = distance(&numbers(&made, dtype), &values(&theirs));
            assert!(distance < bound, "{name} {positions}x{width}: {distance:.1e}");
        }
    }
}

/// What follows a product, by chance.
struct Following {
    x: Tensor,
    bias: Option<Tensor>,
    shift: Option<Tensor>,
    residual: Option<Tensor>,
    relu: bool,
}

impl Following {
    fn new(chance: &mut Chance, dtype: DType) -> Self {
        let shape = [1 + chance.below(4), 1 + chance.below(9), 1 + chance.below(9), 1 + chance.below(9)];
        let [rows, channels, height, width] = shape;
        let mut part = |shape: &[usize]| chance.coin().then(|| chance.of_type(shape, dtype));
        let (bias, shift, shift_of_all) = (part(&[channels]), part(&[rows, channels]), part(&[1, channels]));
        let (residual, residual_of_all) = (part(&shape), part(&[1, channels, height, width]));
        let x = chance.of_type(&shape, dtype);
        Self { x, bias, shift: shift.or(shift_of_all), residual: residual.or(residual_of_all), relu: chance.coin() }
    }

    /// The same on another device, or of another type.
    fn moved(&self, to: impl Fn(&Tensor) -> Tensor) -> Self {
        let part = |part: &Option<Tensor>| part.as_ref().map(&to);
        let (bias, shift, residual) = (part(&self.bias), part(&self.shift), part(&self.residual));
        Self { x: to(&self.x), bias, shift, residual, relu: self.relu }
    }

    fn finish(&self) -> Finish<'_> {
        let Self { bias, shift, residual, relu, .. } = self;
        Finish { bias: bias.as_ref(), shift: shift.as_ref(), residual: residual.as_ref(), relu: *relu }
    }
}

#[test]
fn what_follows_a_product_is_the_cpus() {
    for seed in 0..16 {
        for (dtype, name, bound) in TYPES {
            let case = Following::new(&mut Chance::of(seed), dtype);
            let (_, channels, height, width) = case.x.dims4().unwrap();
            let length = |tensor: &Option<Tensor>| tensor.as_ref().map_or(1, Tensor::elem_count);
            let input = Input::default().count(channels).count(height * width).count(length(&case.shift));
            let input = input.count(length(&case.residual)).value(&i32::from(case.relu)).count(case.x.elem_count());
            let input = input.tensor(Some(&case.x)).tensor(case.bias.as_ref()).tensor(case.shift.as_ref());
            let input = input.tensor(case.residual.as_ref()).room(case.x.elem_count(), dtype);
            let made = numbers(&input.run(&format!("finish_{name}"), 64), dtype);
            let wide = case.moved(wide);
            let distance = distance(&made, &values(&fused::finished(&wide.x, wide.finish()).unwrap()));
            assert!(distance < bound, "{name} {:?}: {distance:.1e}", case.x.shape());
        }
    }
}

#[cfg(feature = "cuda")]
mod on_a_card;
