//! Recipes from files and the standard input, and their check.

use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::Failure;
use super::cli::Recipes;
use super::report::Report;
use crate::recipe::{self, Checked, Recipe};
use crate::source::Source;

/// A recipe that cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum InputError {
    /// The system refuses.
    #[error("cannot read the recipe `{}`: {cause}", path.display())]
    Unreadable { path: PathBuf, cause: std::io::Error },
    /// The bytes are not text.
    #[error("`{}` is not a recipe: it is not UTF-8 text (byte {at}); give a `.sega` file", path.display())]
    NotText { path: PathBuf, at: usize },
}

/// Whether a path stands for the standard input.
pub(super) fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// The folder that relative paths in a recipe start from.
pub(super) fn folder_of(path: &Path) -> &Path {
    if is_stdin(path) { Path::new(".") } else { path.parent().unwrap_or(Path::new(".")) }
}

/// Reads a recipe's text.
pub(super) fn read(path: &Path) -> Result<Source, InputError> {
    let (name, bytes) = if is_stdin(path) {
        let mut bytes = Vec::new();
        ("<stdin>".to_owned(), std::io::stdin().read_to_end(&mut bytes).map(|_| bytes))
    } else {
        (path.display().to_string(), std::fs::read(path))
    };
    let bytes = bytes.map_err(|cause| InputError::Unreadable { path: path.to_owned(), cause })?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        InputError::NotText { path: path.to_owned(), at }
    })?;
    Ok(Source::new(name, text))
}

/// Reads and checks a recipe, and reports what is wrong with it.
pub(super) fn load(path: &Path, report: &mut Report) -> Result<(Source, Recipe, Checked), Failure> {
    let source = read(path)?;
    let checked = recipe::parse(&source);
    if let Some(diagnostics) = &checked.diagnostics {
        report.diagnostics(&source, diagnostics);
    }
    let recipe = checked.recipe.clone().ok_or(Failure::Recipe)?;
    Ok((source, recipe, checked))
}

/// Does something with each recipe. One that cannot be read keeps nobody from hearing about the others.
pub(super) fn for_each(
    recipes: &Recipes,
    report: &mut Report,
    mut deed: impl FnMut(&Path, &Source, &mut Report) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut unreadable: Option<InputError> = None;
    for path in &recipes.recipes {
        match read(path) {
            Ok(source) => deed(path, &source, report)?,
            Err(error) => {
                if let Some(earlier) = unreadable.replace(error) {
                    report.failure(&earlier);
                }
            }
        }
    }
    unreadable.map_or(Ok(()), |error| Err(error.into()))
}

/// `sega check`.
pub(super) fn check(args: &Recipes, report: &mut Report) -> Result<(), Failure> {
    let mut broken = false;
    for_each(args, report, |_, source, report| {
        let checked = recipe::parse(source);
        let (mut errors, mut warnings) = (0, 0);
        let mut verdict = "no mistakes".to_owned();
        if let Some(diagnostics) = &checked.diagnostics {
            report.diagnostics(source, diagnostics);
            (errors, warnings) = (diagnostics.errors(), diagnostics.warnings());
            verdict = diagnostics.to_string();
        }
        report.item("files", || json!({ "name": source.name, "errors": errors, "warnings": warnings }));
        report.remark(&format!("{}: {verdict}", source.name));
        broken |= errors > 0;
        Ok(())
    })?;
    if broken { Err(Failure::Recipe) } else { Ok(()) }
}
