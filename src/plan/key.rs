//! Keys of a plan: what the state of a render before each of its evaluations depends on, as a digest.
//!
//! The keys are chained, so that a key covers everything up to its place and nothing behind it: two renders whose keys are
//! equal at some place are in the same state there, to the bit, and the later may go on from the earlier one's. What
//! changes no pixel is in no key: the names of concepts, their order in the file, settings that the plan has dissolved. There
//! is nothing to invalidate: another plan has other keys.
//!
//! A key is the same on every platform: the plan's numbers are (they are computed with operations that round exactly or by
//! `libm`), and they are digested byte for byte in little-endian order.

use std::fmt;

use super::scheduler::{Combination, Estimate, Operand, Update};
use super::{Guidance, MomentumStep, Plan, Step, Term};
use crate::model::emphasis::Reading;

/// A digest.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key([u8; 32]);

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

impl Key {
    /// The digest of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(blake3::hash(bytes).into())
    }

    /// The digest itself.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The keys of a render: for each evaluation that of the state before it, then that of the final latents.
///
/// `model` stands for everything that the network computes with: its weights with what is merged into them, its
/// card, its tokenizers, its precision.
pub fn keys(plan: &Plan, model: Key, seed: u64) -> Vec<Key> {
    // Every field is named here, so that a new one cannot be forgotten.
    let Plan {
        texts,
        reading,
        text_layer,
        guidance,
        concepts: _,
        size,
        latents,
        scheduler: _,
        initial_scale,
        steps,
        reference_rows: _,
    } = plan;
    let mut digest = Digest::begin("sega render 1");
    digest.bytes(&model.0).number(seed).numbers(latents).real(*initial_scale);
    // How texts are read, and what some networks are told beside them.
    let reading = match reading {
        Reading::Weighted => 0,
        Reading::Literal => 1,
    };
    digest.number(reading).index(usize::from(text_layer.is_some())).index(text_layer.unwrap_or(0));
    digest.numbers(&[size.width(), size.height()]).real(*guidance);
    let mut keys = vec![digest.end()];
    let acting = plan.acting();
    for step in steps {
        let mut digest = Digest::begin("sega step 1");
        digest.bytes(&keys[keys.len() - 1].0);
        digest.step(step, texts, &acting);
        keys.push(digest.end());
    }
    keys
}

/// A digest in the making. Everything of variable length goes in with its length, so that no two plans read alike.
struct Digest(blake3::Hasher);

impl Digest {
    fn begin(purpose: &str) -> Self {
        Self(blake3::Hasher::new_derive_key(purpose))
    }

    fn end(&self) -> Key {
        Key(self.0.finalize().into())
    }

    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.update(bytes);
        self
    }

    fn number(&mut self, number: u64) -> &mut Self {
        self.bytes(&number.to_le_bytes())
    }

    fn index(&mut self, index: usize) -> &mut Self {
        self.number(index as u64)
    }

    fn numbers(&mut self, numbers: &[usize]) -> &mut Self {
        self.index(numbers.len());
        numbers.iter().fold(self, |digest, number| digest.index(*number))
    }

    fn real(&mut self, real: f64) -> &mut Self {
        self.number(real.to_bits())
    }

    fn text(&mut self, text: &str) -> &mut Self {
        self.index(text.len()).bytes(text.as_bytes())
    }

    fn step(&mut self, step: &Step, texts: &[String], acting: &[usize]) {
        let Step { step: _, timestep, input_scale, rows, row_estimate, guidance, guided_estimate, original: _, update } =
            step;
        self.real(*timestep).real(*input_scale).index(rows.len());
        for row in rows {
            self.text(&texts[*row]);
        }
        // A row's number depends on texts that only later steps use; its place among this step's rows does not.
        let place = |row: usize| rows.iter().position(|known| *known == row).unwrap_or(usize::MAX);
        self.estimate(*row_estimate);
        let Guidance { base, prompt, terms, momenta } = guidance;
        self.index(place(*base)).index(usize::from(prompt.is_some()));
        if let Some((row, scale)) = prompt {
            self.index(place(*row)).real(*scale);
        }
        self.index(terms.len());
        for term in terms {
            let Term { concept, row, strength, rank, role, direct, feeds } = term;
            let number = acting.iter().position(|acting| acting == concept).unwrap_or(usize::MAX);
            self.index(number).index(place(*row)).real(*strength).index(*rank).index(*role as usize).real(*direct);
            self.index(usize::from(feeds.is_some()));
            if let Some((momentum, share)) = feeds {
                self.index(*momentum).real(*share);
            }
        }
        self.index(momenta.len());
        for MomentumStep { momentum, scale, decay, added, kept } in momenta {
            self.index(*momentum).real(*scale).real(*decay).real(*added).index(usize::from(*kept));
        }
        self.estimate(*guided_estimate);
        self.update(update);
    }

    fn estimate(&mut self, Estimate { output, sample }: Estimate) {
        self.real(output).real(sample);
    }

    fn update(&mut self, Update { next }: &Update) {
        self.index(next.len());
        for Combination(parts) in next {
            self.index(parts.len());
            for (operand, factor) in parts {
                match operand {
                    Operand::State(index) => self.number(0).index(*index),
                    Operand::Estimate => self.number(1),
                    Operand::Noise => self.number(2),
                };
                self.real(*factor);
            }
        }
    }
}
