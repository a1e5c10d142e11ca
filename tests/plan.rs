//! Plans: what is evaluated, what is not, and how it is shown.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use sega::plan::{Plan, build, table};
use sega::source::Source;

use crate::models;

fn plan(text: &str) -> Plan {
    let checked = sega::recipe::parse(&Source::new("plan.sega", text));
    let recipe = checked.recipe.unwrap_or_else(|| panic!("{:?}", checked.diagnostics));
    build(&recipe, &models::card()).unwrap()
}

/// A recipe of six steps with `more` in it.
fn six_steps(more: &str) -> Plan {
    plan(&format!("sega 1\nmodel \"mini\"\nprompt \"a portrait\"\nsteps 6\n{more}\n"))
}

/// How many rows each evaluation of the network computes.
fn check(more: &str, rows: &[usize]) {
    let plan = six_steps(more);
    let counted: Vec<usize> = plan.steps.iter().map(|step| step.rows.len()).collect();
    assert_eq!(counted, rows, "{more}\n{}", table::table(&plan));
}

#[test]
fn an_evaluation_that_cannot_matter_is_not_there() {
    check("", &[2; 6]);
    check("guidance 1", &[1; 6]);
    check("guidance 1\nnegative \"blurry\"", &[1; 6]);
    // The negative prompt is the prompt: there is nothing to guide from or to.
    check("negative \"a portrait\"", &[1; 6]);
    check("plus a \"hat\" { warmup 0 }", &[3; 6]);
    check("plus a \"hat\" { warmup 0, strength 0 }", &[2; 6]);
    check("plus a \"hat\" { warmup 0, weight 0 }", &[2; 6]);
    check("plus a \"hat\" { warmup 0, steps 2..4 }", &[2, 2, 3, 3, 2, 2]);
    // Warm-up without momentum, or with one that never moves, has nothing to build.
    check("plus a \"hat\" { warmup 2, momentum 0 }", &[2, 2, 3, 3, 3, 3]);
    check("plus a \"hat\" { warmup 2, beta 1 }", &[2, 2, 3, 3, 3, 3]);
    check("plus a \"hat\" { warmup 2, momentum 0.1 }", &[3; 6]);
    // A warm-up that outlasts the range is never used.
    check("plus a \"hat\" { warmup 9 }", &[2; 6]);
    check("plus a \"hat\" { warmup 3, steps 1..4 }", &[2; 6]);
    // Equal texts share a row.
    check("plus a \"hat\" { warmup 0 }\nminus b \"hat\" { warmup 3, momentum 0 }", &[3; 6]);
    check("plus a \"a portrait\" { warmup 0 }", &[2; 6]);
}

#[test]
fn the_reference_rule_drops_what_cannot_matter_too() {
    check("compat diffusers\nmomentum 0\nplus a \"hat\" { warmup 2 }", &[2, 2, 3, 3, 3, 3]);
    check("compat diffusers\nplus a \"hat\" { warmup 0, steps 0..3 }", &[3, 3, 3, 2, 2, 2]);
    // One concept is over while the other warms up: both are needed only for the momentum that comes in at the end.
    check("compat diffusers\nplus a \"hat\" { warmup 0 }\nplus b \"cap\" { warmup 3 }", &[4; 6]);
    check(
        "compat diffusers\nmomentum 0\nplus a \"hat\" { warmup 0 }\nplus b \"cap\" { warmup 3 }",
        &[3, 3, 3, 4, 4, 4],
    );
    check("compat diffusers\nplus a \"hat\" { warmup 0 }\nplus b \"cap\" { warmup 9 }", &[3; 6]);
}

#[test]
fn names_and_order_do_not_change_a_plan() {
    let blocks =
        ["plus N1 \"hat\" { warmup 0 }", "minus N2 \"hat\" { warmup 1 }", "plus N3 \"cap\" { warmup 2, steps 1.. }"];
    let with = |order: [usize; 3], names: [&str; 3]| {
        let lines: Vec<String> = order.iter().map(|&i| blocks[i].replace(&format!("N{}", i + 1), names[i])).collect();
        let mut plan = six_steps(&lines.join("\n"));
        plan.concepts.iter_mut().for_each(|concept| concept.name.clear());
        plan
    };
    let first = with([0, 1, 2], ["a", "b", "c"]);
    assert_eq!(first, with([2, 1, 0], ["a", "b", "c"]));
    assert_eq!(first, with([1, 2, 0], ["c", "b", "a"]));
}

#[test]
fn solvers_count_their_steps() {
    // PNDM asks twice in its first step, Heun in every step but the last.
    let of = |scheduler: &str| -> Vec<usize> {
        six_steps(&format!("scheduler {scheduler}")).steps.iter().map(|step| step.step).collect()
    };
    assert_eq!(of("ddim"), [0, 1, 2, 3, 4, 5]);
    assert_eq!(of("pndm"), [0, 0, 1, 2, 3, 4, 5]);
    assert_eq!(of("heun"), [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5]);
}

#[test]
fn the_examples_read_well() {
    for name in ["first", "minus", "several"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes").join(format!("{name}.sega"));
        insta::assert_snapshot!(name, table::table(&plan(&std::fs::read_to_string(path).unwrap())));
    }
}

#[test]
fn more_steps_than_the_model_knows_are_refused() {
    let mut card = models::card();
    card.scheduler.train_timesteps = 20;
    let text = "sega 1\nmodel \"mini\"\nprompt \"x\"\nsteps 30\n";
    let recipe = sega::recipe::parse(&Source::new("plan.sega", text)).recipe.unwrap();
    let error = build(&recipe, &card).unwrap_err();
    assert!(error.settings().contains(&"steps"), "{error}");
    assert!(!error.remedy().is_empty());
}
