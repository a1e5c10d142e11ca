//! Semantic guidance as pure functions on tensors: noise estimates, momenta and maps of effects in, the guided estimate, momenta
//! and maps out.
//!
//! Source: arXiv 2301.12247, section 3; which numbers go in is decided by the plan ([`crate::plan::Guidance`]).

pub mod packed;

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

#[cfg(feature = "cuda")]
use super::cuda;
use crate::plan::{Guidance, Term};

/// The momenta between two evaluations, by number. One that has not begun, or that is over, is not there: it is 0.
pub type Momenta = Vec<Option<Tensor>>;

/// What guidance leaves behind for the next evaluation. A clone shares its tensors, which nothing changes.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    /// The momenta.
    pub momenta: Momenta,
    /// Where concepts acted so far: the absolute values of their edits, summed over channels and evaluations, `[height,
    /// width]` each.
    pub effects: Vec<Tensor>,
}

/// Combines the rows of one evaluation into the guided estimate.
///
/// `estimates` has the shape `[rows, channels, height, width]`; `row_of(r)` is the place in it of the plan's row `r`; that a
/// row is not there is an error. `effect_of(t)` is the place among the memory's effects that a term's edit is added to, if
/// any; new ones come in the order in which they begin.
/// Returns the estimate, shape `[1, channels, height, width]`, and the memory for the next evaluation. On a CUDA device all
/// of it is done by two kernels, and nothing waits for them.
pub fn guide(
    guidance: &Guidance,
    estimates: &Tensor,
    row_of: impl Fn(usize) -> Option<usize>,
    memory: Memory,
    effect_of: impl Fn(&Term) -> Option<usize>,
) -> Result<(Tensor, Memory)> {
    #[cfg(feature = "cuda")]
    if estimates.device().is_cuda()
        && let Some(packed) = packed::Packed::new(guidance, estimates.dims4()?, &row_of, &memory, &effect_of)
    {
        return cuda::guide(packed, estimates, memory);
    }
    guide_plainly(guidance, estimates, row_of, memory, effect_of)
}

/// By candle's operations, on any device.
fn guide_plainly(
    guidance: &Guidance,
    estimates: &Tensor,
    row_of: impl Fn(usize) -> Option<usize>,
    Memory { mut momenta, mut effects }: Memory,
    effect_of: impl Fn(&Term) -> Option<usize>,
) -> Result<(Tensor, Memory)> {
    let estimate = |row: usize| match row_of(row) {
        Some(place) => estimates.narrow(0, place, 1),
        None => candle_core::bail!("row {row} takes part in the guidance but was not evaluated"),
    };
    let base = estimate(guidance.base)?;
    let mut offset = match guidance.prompt {
        Some((row, scale)) => Some(((estimate(row)? - &base)? * scale)?),
        None => None,
    };
    let mut fed: Momenta = vec![None; guidance.momenta.iter().map(|step| step.momentum + 1).max().unwrap_or(0)];
    for term in &guidance.terms {
        let edit = keep_largest(&((estimate(term.row)? - &base)? * term.strength)?, term.rank)?;
        if let Some(place) = effect_of(term) {
            add_effect(&mut effects, place, &edit)?;
        }
        if term.direct != 0.0 {
            add(&mut offset, &edit, term.direct)?;
        }
        if let Some((momentum, share)) = term.feeds {
            add(&mut fed[momentum], &edit, share)?;
        }
    }
    for step in &guidance.momenta {
        if momenta.len() <= step.momentum {
            momenta.resize(step.momentum + 1, None);
        }
        let before = momenta[step.momentum].take();
        // F, which already contains s_m nu.
        let mut force = fed[step.momentum].take();
        if let Some(before) = &before {
            add(&mut force, before, step.scale)?;
        }
        let Some(force) = force else { continue };
        if step.added != 0.0 {
            add(&mut offset, &force, step.added)?;
        }
        if step.kept {
            let mut next = Some((&force * (1.0 - step.decay))?);
            if let Some(before) = &before {
                add(&mut next, before, step.decay)?;
            }
            momenta[step.momentum] = next;
        }
    }
    let guided = match offset {
        Some(offset) => (base + offset)?,
        None => base,
    };
    Ok((guided, Memory { momenta, effects }))
}

/// Adds the absolute values of an edit, summed over its channels, to an effect.
fn add_effect(effects: &mut Vec<Tensor>, place: usize, edit: &Tensor) -> Result<()> {
    let share = edit.abs()?.squeeze(0)?.sum(0)?;
    match effects.get_mut(place) {
        Some(effect) => *effect = (&*effect + share)?,
        None => effects.push(share),
    }
    Ok(())
}

/// `sum += factor * tensor`, where no sum is 0.
fn add(sum: &mut Option<Tensor>, tensor: &Tensor, factor: f64) -> Result<()> {
    let part = if factor == 1.0 { tensor.clone() } else { (tensor * factor)? };
    *sum = Some(match sum.take() {
        Some(sum) => (sum + part)?,
        None => part,
    });
    Ok(())
}

/// Of each channel's elements keeps those whose absolute value reaches the value of this `rank` (of the absolute values
/// in ascending order), and sets the others to 0. Rank 0 keeps everything.
///
/// `edit` has the shape `[1, channels, height, width]` and type f32.
pub fn keep_largest(edit: &Tensor, rank: usize) -> Result<Tensor> {
    if rank == 0 { Ok(edit.clone()) } else { edit.contiguous()?.apply_op1_no_bwd(&KeepLargest { rank }) }
}

struct KeepLargest {
    rank: usize,
}

impl CustomOp1 for KeepLargest {
    fn name(&self) -> &'static str {
        "keep-largest"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let values = storage.as_slice::<f32>()?;
        let Some((start, end)) = layout.contiguous_offsets() else {
            candle_core::bail!("keep-largest needs a contiguous tensor")
        };
        let (_, _, height, width) = layout.shape().dims4()?;
        let mut kept = values[start..end].to_vec();
        let mut magnitudes = Vec::with_capacity(height * width);
        for channel in kept.chunks_mut(height * width) {
            magnitudes.clear();
            magnitudes.extend(channel.iter().map(|value| value.abs()));
            // A selection, not a sort: one order statistic is all that is needed.
            let (_, &mut least, _) =
                magnitudes.select_nth_unstable_by(self.rank.min(channel.len() - 1), f32::total_cmp);
            for value in channel {
                if value.abs() < least {
                    *value = 0.0;
                }
            }
        }
        Ok((CpuStorage::F32(kept), layout.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        storage: &candle_core::CudaStorage,
        layout: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        cuda::keep_largest(storage, layout, self.rank)
    }

    /// On the CPU and back: a selection among so few numbers takes less than the evaluation that comes after it.
    #[cfg(feature = "metal")]
    fn metal_fwd(
        &self,
        storage: &candle_core::MetalStorage,
        layout: &Layout,
    ) -> Result<(candle_core::MetalStorage, Shape)> {
        use candle_core::backend::{BackendDevice, BackendStorage};
        let (kept, shape) = self.cpu_fwd(&storage.to_cpu_storage()?, layout)?;
        Ok((storage.device().storage_from_cpu_storage(&kept)?, shape))
    }
}
