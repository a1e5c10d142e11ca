//! `sega fmt`.

use serde_json::json;

use super::Failure;
use super::cli::FmtArgs;
use super::input::{for_each, is_stdin};
use super::report::Report;
use crate::artifact::{Existing, write_atomically};
use crate::diagnostic::Code;
use crate::recipe;
use crate::source::Source;
use crate::syntax::{self, Entry, File, format::format};

/// Rewrites the files that differ from their canonical form; a broken one is refused and left as it is.
pub(super) fn fmt(args: &FmtArgs, report: &mut Report) -> Result<(), Failure> {
    let mut refused = false;
    let mut differ = false;
    for_each(&args.files, report, |path, source, report| {
        let file = syntax::parse(source);
        let formatted = format(&file, source).ok().filter(|_| is_of_this_edition(&file, source));
        let Some(formatted) = formatted else {
            if let Some(diagnostics) = &recipe::parse(source).diagnostics {
                report.diagnostics(source, diagnostics);
            }
            report.remark(&format!("{}: left as it is: it cannot be formatted before it can be read", source.name));
            report.item("files", || json!({ "name": source.name, "refused": true }));
            refused = true;
            return Ok(());
        };
        let changed = formatted != source.text;
        differ |= changed;
        report.item("files", || json!({ "name": source.name, "changed": changed }));
        if args.check {
            if changed {
                report.remark(&format!(
                    "{}: not in the canonical form; `sega fmt {}` repairs it",
                    source.name,
                    path.display()
                ));
            }
        } else if is_stdin(path) {
            report.output(&formatted);
            report.field("text", || json!(formatted));
        } else if changed {
            write_atomically(path, Existing::Replace, |file| file.write_all(formatted.as_bytes()))?;
            report.remark(&format!("{}: formatted", source.name));
        }
        Ok(())
    })?;
    if refused || (args.check && differ) { Err(Failure::Recipe) } else { Ok(()) }
}

/// Whether a file says that it is a recipe of an edition known here: others (and letters) are laid out by other rules.
/// A file without a word is any edition's.
fn is_of_this_edition(file: &File, source: &Source) -> bool {
    let says_nothing = file.entries.iter().all(|entry| matches!(entry, Entry::Comment(_) | Entry::Blank));
    let checked = recipe::parse(source);
    let mut codes = checked.diagnostics.iter().flatten().map(|diagnostic| diagnostic.code);
    says_nothing || !codes.any(|code| matches!(code, Code::MissingEdition | Code::UnknownEdition))
}
