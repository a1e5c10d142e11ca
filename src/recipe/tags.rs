//! `<lora:name:0.8>` in a text: a LoRA for other tools, words without sense here.

use super::heads::name_from;
use super::values::Reader;
use crate::diagnostic::{Code, Diagnostic};
use crate::quantity::LoraStrength;
use crate::source::Span;

/// What such tags begin with.
const TAGS: [&str; 2] = ["<lora:", "<lyco:"];

/// Reports the tags in what a text is written as.
pub(super) fn check_tags(reader: &mut Reader<'_>, text: Span) {
    let source = reader.source;
    let written = source.slice(text);
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(start) = TAGS.iter().filter_map(|tag| written[from..].find(tag)).min().map(|at| at + from) {
        let Some(length) = written[start..].find('>') else { break };
        from = start + length + 1;
        found.push((Span::new(text.start + start, text.start + from), &written[start..from]));
    }
    for (span, tag) in found {
        let message = "a LoRA does not stand in a text: this tag is read as words";
        let help = format!("take it out, and give the LoRA a block of its own: `{}`", block(tag));
        reader.report(Diagnostic::new(Code::LoraInText, message).at(span, "has no effect on the weights").help(help));
    }
}

/// The block that does what a tag is meant to do.
fn block(tag: &str) -> String {
    let mut parts = tag.trim_end_matches('>').split(':').skip(1);
    let plain = |name: &&str| name.chars().all(|char| char.is_alphanumeric() || "-_. ".contains(char));
    let name = parts.next().map(str::trim).filter(|name| !name.is_empty()).filter(plain).unwrap_or("detail");
    let strength = parts.next().and_then(|part| LoraStrength::new(part.trim().parse().ok()?).ok());
    let strength = strength.unwrap_or(LoraStrength::DEFAULT).get();
    format!("lora {} \"{name}.safetensors\" {{ strength {strength} }}", name_from(name))
}
