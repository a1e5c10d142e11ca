//! The `lora` blocks of a recipe.

use super::Lora;
use super::concepts::{check_closed, read_body};
use super::fields::Level;
use super::heads::read_head;
use super::scope::Known;
use super::values::Reader;
use crate::diagnostic::{Code, Diagnostic};
use crate::quantity::LoraStrength;
use crate::source::{Span, Spanned};
use crate::syntax::Block;

/// The word that such a block begins with.
pub(super) const LORA: &str = "lora";

/// A LoRA whose parts may still be wrong.
pub(super) struct LoraDraft {
    pub(super) name: Option<Spanned<String>>,
    source: Option<Spanned<String>>,
    strength: Known<LoraStrength>,
}

impl LoraDraft {
    /// Reads a block, whose head goes on to the end of `line`.
    pub(super) fn read(reader: &mut Reader<'_>, block: &Block, line: Span) -> Self {
        let (name, source) = read_head(reader, block, line);
        reader.level = Level::Lora;
        let scope = read_body(reader, block);
        check_closed(reader, block);
        let strength = scope.read(reader, "strength", LoraStrength::DEFAULT, |reader, field, value| {
            LoraStrength::new(reader.real(field, value)?).ok()
        });
        reader.level = Level::Recipe;
        if let (true, Some(span), Some(name)) = (strength.value.get() == 0.0, strength.span, &name) {
            let message = format!("the LoRA `{}` does nothing with `strength 0`", name.value);
            let help = "take it away, or write `#` before its lines to keep it for later";
            reader.report(Diagnostic::new(Code::NoEffect, message).at(span, "adds nothing to the weights").help(help));
        }
        Self { name, source, strength }
    }

    /// The LoRA, if its head was right.
    pub(super) fn finish(self) -> Option<Lora> {
        Some(Lora { name: self.name?, source: self.source?, strength: self.strength.value })
    }
}
