//! `sega plan`.

use serde_json::json;

use super::Failure;
use super::cli::PlanArgs;
use super::input::{folder_of, load};
use super::report::Report;
use super::session::{KnownModel, plan_for};
use crate::model::hub::Wanted;
use crate::plan::table;

/// Shows what a recipe computes. Reads the model's JSON, never its weights.
pub(super) fn plan(args: &PlanArgs, report: &mut Report) -> Result<(), Failure> {
    let (source, recipe, checked) = load(&args.recipe, report)?;
    let known = KnownModel::read(&recipe, folder_of(&args.recipe), Wanted::Texts, report, &|| false)?;
    let plan = plan_for(&recipe, &known, &checked.file, &source, report)?;
    report.field("plan", || table::json(&plan));
    report.field("scheduler", || json!(plan.scheduler.name()));
    report.text(&format!(
        "{}: model `{}`, {}, {}, {} steps, guidance {}\n\n{}",
        source.name,
        recipe.model.value,
        plan.size,
        plan.scheduler,
        recipe.steps.get(),
        recipe.guidance,
        table::table(&plan)
    ));
    Ok(())
}
