//! `sega fmt`.

use serde_json::json;

use super::Failure;
use super::cli::FmtArgs;
use super::input::{for_each, is_stdin};
use super::report::Report;
use crate::artifact::{Existing, write_atomically};
use crate::recipe;
use crate::syntax::{self, format::format};

/// Rewrites the files that differ from their canonical form; a broken one is refused and left as it is.
pub(super) fn fmt(args: &FmtArgs, report: &mut Report) -> Result<(), Failure> {
    let mut refused = false;
    let mut differ = false;
    for_each(&args.files, report, |path, source, report| {
        let file = syntax::parse(source);
        let Ok(formatted) = format(&file, source) else {
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
            report.text(&formatted);
            report.field("text", || json!(formatted));
        } else if changed {
            write_atomically(path, Existing::Replace, |file| file.write_all(formatted.as_bytes()))?;
            report.remark(&format!("{}: formatted", source.name));
        }
        Ok(())
    })?;
    if refused || (args.check && differ) { Err(Failure::Recipe) } else { Ok(()) }
}
