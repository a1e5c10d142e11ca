//! The same numbers on a card, in memory that was full of NaN.

use sega::engine::device::DeviceChoice;

use super::*;

/// As in `TYPES`, except that a card's own functions and another order of sums may cost something in f32.
const ON_CARD: [(DType, f64); 3] = [(DType::F32, 1e-4), (DType::F16, 6e-4), (DType::BF16, 5e-3)];

fn card() -> Device {
    DeviceChoice::Cuda(0).open().unwrap()
}

/// Fills the memory that the next tensors come from.
fn poison(card: &Device) {
    let dirty: Vec<Tensor> =
        (0..24).map(|size| Tensor::full(f32::NAN, 1usize << size.min(20), card).unwrap()).collect();
    card.synchronize().unwrap();
    drop(dirty);
}

/// As a part of a larger tensor, behind an odd number of others.
fn on(card: &Device, tensor: &Tensor) -> Tensor {
    let (count, around) = (tensor.elem_count(), Tensor::full(f32::NAN, 3, &Device::Cpu).unwrap());
    let around = around.to_dtype(tensor.dtype()).unwrap();
    let larger = Tensor::cat(&[&around, &tensor.flatten_all().unwrap(), &around], 0).unwrap();
    larger.to_device(card).unwrap().narrow(0, 3, count).unwrap().reshape(tensor.shape()).unwrap()
}

/// The same numbers with the last two dimensions the other way round in memory.
fn turned(tensor: &Tensor) -> Tensor {
    let (last, before) = (tensor.rank() - 1, tensor.rank() - 2);
    tensor.transpose(before, last).unwrap().contiguous().unwrap().transpose(before, last).unwrap()
}

fn bits(tensor: &Tensor) -> Vec<u32> {
    values(tensor).into_iter().map(f32::to_bits).collect()
}

#[test]
#[ignore = "needs a CUDA device"]
fn thresholds_on_cuda_are_the_cpus_to_the_bit() {
    let card = card();
    for (seed, (height, width)) in (0u64..).zip(SIZES.into_iter().chain([(64, 64), (128, 96), (255, 257)])) {
        let (edit, places) = (edit(&mut Chance::of(seed), height, width), height * width);
        for rank in [1, places / 2, places * 9 / 10, places - 1, places + 3] {
            poison(&card);
            let ours = keep_largest(&on(&card, &edit), rank).unwrap();
            assert!(bits(&ours) == bits(&keep_largest(&edit, rank).unwrap()), "{height}x{width}, rank {rank}");
        }
    }
}

#[test]
#[ignore = "needs a CUDA device"]
fn sums_on_cuda_are_the_cpus() {
    let card = card();
    for seed in 0..40 {
        let (operands, sums) = sums(&mut Chance::of(seed));
        let placed: Vec<Tensor> = operands.iter().map(|operand| on(&card, operand)).collect();
        poison(&card);
        let ours = combine(&placed.iter().collect::<Vec<_>>(), &sums).unwrap();
        let theirs = combine(&operands.iter().collect::<Vec<_>>(), &sums).unwrap();
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert!(distance(&values(ours), &values(theirs)) < 1e-6, "{sums:?}");
        }
    }
}

#[test]
#[ignore = "needs a CUDA device"]
fn guidance_on_cuda_is_the_cpus() {
    let card = card();
    for seed in 0..200 {
        let case = Case::new(&mut Chance::of(seed));
        let place = |tensor: &Tensor| on(&card, tensor);
        let memory = Memory {
            momenta: case.memory.momenta.iter().map(|momentum| momentum.as_ref().map(place)).collect(),
            effects: case.memory.effects.iter().map(place).collect(),
        };
        let placed = Case {
            guidance: case.guidance.clone(),
            estimates: place(&case.estimates),
            memory,
            effects: case.effects.clone(),
        };
        poison(&card);
        let ((ours, our_memory), (theirs, their_memory)) = (placed.twin(), case.twin());
        let near = |a: &Tensor, b: &Tensor| distance(&values(a), &values(b)) < 1e-6;
        assert!(near(&ours, &theirs), "{:?}", case.guidance);
        assert_eq!(our_memory.momenta.len(), their_memory.momenta.len());
        for (ours, theirs) in our_memory.momenta.iter().zip(&their_memory.momenta) {
            assert_eq!(ours.is_some(), theirs.is_some(), "{:?}", case.guidance);
            assert!(ours.iter().zip(theirs).all(|(ours, theirs)| near(ours, theirs)), "{:?}", case.guidance);
        }
        assert_eq!(our_memory.effects.len(), their_memory.effects.len());
        assert!(our_memory.effects.iter().zip(&their_memory.effects).all(|(ours, theirs)| near(ours, theirs)));
    }
}

#[test]
#[ignore = "needs a CUDA device"]
fn layers_on_cuda_are_the_cpus() {
    let card = card();
    let near = |ours: Tensor, theirs: Tensor, bound: f64, what: &str| {
        let distance = distance(&values(&ours), &values(&theirs));
        assert!(distance < bound, "{what}: {distance:.1e}");
    };
    for (dtype, bound) in ON_CARD {
        let larger = [(5, 320, 32, 64, 64), (1, 1280, 32, 8, 8), (2, 128, 32, 96, 160)];
        for (seed, (rows, channels, groups, height, width)) in (0u64..).zip(NORMS.into_iter().chain(larger)) {
            for activated in [false, true] {
                let shape = [rows, channels, height, width];
                let [x, scale, shift] = normed(&mut Chance::of(seed), shape, dtype, MOMENTS[usize::from(activated)]);
                let (placed, to, by) = (on(&card, &x), on(&card, &scale), on(&card, &shift));
                poison(&card);
                let (x, scale, shift) = (wide(&x), wide(&scale), wide(&shift));
                let theirs = fused::group_norm(&x, groups, 1e-5, &scale, &shift, activated).unwrap();
                for placed in [&placed, &turned(&placed)] {
                    let ours = fused::group_norm(placed, groups, 1e-5, &to, &by, activated).unwrap();
                    near(ours, theirs.clone(), bound, "group norm");
                }
            }
        }
        for (seed, (positions, width)) in (0u64..).zip(GATES.into_iter().chain([(4096, 1280)])) {
            let [x, bias] = gated(&mut Chance::of(seed), positions, width, dtype);
            let (placed, to) = (on(&card, &x), on(&card, &bias));
            poison(&card);
            let theirs = fused::gated(&wide(&x), &wide(&bias)).unwrap();
            near(fused::gated(&placed, &to).unwrap(), theirs, bound, "gate");
        }
        for seed in 0..60 {
            let case = Following::new(&mut Chance::of(seed), dtype);
            let (placed, wide) = (case.moved(|tensor| on(&card, tensor)), case.moved(wide));
            poison(&card);
            let theirs = fused::finished(&wide.x, wide.finish()).unwrap();
            let ours = fused::finished(&placed.x, placed.finish()).unwrap();
            near(ours, theirs.clone(), bound, "what follows a product");
            let ours = fused::finished(&turned(&placed.x), placed.finish()).unwrap();
            near(ours, theirs, bound, "what follows a product that lies otherwise");
            // Channels last, and a single row for all.
            let width = wide.x.dim(3).unwrap();
            let bias = Chance::of(seed).of_type(&[width], dtype);
            let row = wide.x.narrow(0, 0, 1).unwrap();
            let theirs = fused::finished_last(&wide.x, Some(&self::wide(&bias)), Some(&row)).unwrap();
            let row = placed.x.narrow(0, 0, 1).unwrap();
            let ours = fused::finished_last(&placed.x, Some(&on(&card, &bias)), Some(&row)).unwrap();
            near(ours, theirs, bound, "channels last");
        }
    }
}
