//! Guidance of all concepts at once.

use candle_core::cuda_backend::cudarc::driver::DeviceRepr;
use candle_core::{DType, Result, Shape, Tensor};

use super::{Placed, THREADS, a_thread_each, blocks, launch, pointer, room, tensor};
use crate::engine::guidance::Memory;
use crate::engine::guidance::packed::{Arguments, Packed};

// SAFETY: a `repr(C)` value of numbers, which is what the kernels take.
unsafe impl DeviceRepr for Arguments {}

/// Does what `guide` does.
pub(in crate::engine) fn guide(mut packed: Packed, estimates: &Tensor, mut memory: Memory) -> Result<(Tensor, Memory)> {
    let (_, channels, height, width) = estimates.dims4()?;
    let all = memory.momenta.iter().flatten().chain(&memory.effects).chain([estimates]);
    if all.into_iter().any(|tensor| tensor.dtype() != DType::F32) {
        candle_core::bail!("guidance needs numbers in f32")
    }
    let (momenta, effects) =
        (placed(memory.momenta.iter().map(Option::as_ref))?, placed(memory.effects.iter().map(Some))?);
    packed.begin_from(|number| momenta.get(number).copied().flatten(), |place| effects.get(place).copied().flatten());
    let Packed { arguments, kept, momenta, effects, .. } = packed;

    let estimates = estimates.contiguous()?;
    let from = Placed::of(&estimates)?;
    let device = from.device()?;
    let shape = |count: usize| Shape::from((count.max(1), channels, height, width));
    // One of each at least: nothing is not a size that can be asked for.
    let thresholds = Shape::from(arguments.thresholds().max(1));
    let least = room(device, &thresholds, DType::U32)?;
    let (guided, next) = (room(device, &shape(1), DType::F32)?, room(device, &shape(kept.len()), DType::F32)?);
    let maps_shape = Shape::from((effects.len().max(1), height, width));
    let maps = room(device, &maps_shape, DType::F32)?;
    let estimates = from.pointer()?;
    let to_least = pointer(&least, 0)?;
    if arguments.thresholds() > 0 {
        let blocks = blocks(arguments.thresholds(), THREADS)?;
        launch!(device, "guide", "thresholds", blocks, &estimates, &arguments, &to_least);
    }
    let (to_guided, to_next, to_maps) = (pointer(&guided, 0)?, pointer(&next, 0)?, pointer(&maps, 0)?);
    let threads = a_thread_each(height * width)?;
    launch!(device, "guide", "guide", threads, &estimates, &arguments, &to_least, &to_guided, &to_next, &to_maps);

    let next = tensor(next, shape(kept.len()));
    for number in &momenta {
        if memory.momenta.len() <= *number {
            memory.momenta.resize(number + 1, None);
        }
        memory.momenta[*number] = None;
    }
    for (at, place) in kept.iter().enumerate() {
        memory.momenta[momenta[*place]] = Some(next.narrow(0, at, 1)?);
    }
    let maps = tensor(maps, maps_shape);
    for (at, place) in effects.iter().enumerate() {
        let map = maps.get(at)?;
        match memory.effects.get_mut(*place) {
            Some(effect) => *effect = map,
            None => memory.effects.push(map),
        }
    }
    Ok((tensor(guided, shape(1)), memory))
}

/// Where tensors lie.
fn placed<'a>(tensors: impl Iterator<Item = Option<&'a Tensor>>) -> Result<Vec<Option<u64>>> {
    tensors.map(|tensor| tensor.map(|tensor| Placed::of(tensor)?.pointer()).transpose()).collect()
}
