//! A plan as people and programs read it.

use serde_json::{Value, json};

use super::scheduler::{Combination, Estimate, Operand, Update};
use super::{Plan, Role, Step, Term};

/// The plan as a table: a line for each evaluation of the network with its step, timestep, rows and what each concept
/// does, then the totals.
pub fn table(plan: &Plan) -> String {
    let mut head = vec!["step".to_owned(), "timestep".to_owned(), "rows".to_owned()];
    head.extend(plan.concepts.iter().map(|concept| format!("{} {}", concept.direction.name(), concept.name)));
    let mut lines = vec![head];
    for step in &plan.steps {
        let mut line = vec![step.step.to_string(), timestep(step.timestep), row_names(plan, step)];
        line.extend((0..plan.concepts.len()).map(|concept| deed(plan, step, concept)));
        lines.push(line);
    }
    let widths: Vec<usize> = (0..lines[0].len())
        .map(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0))
        .collect();
    let mut out = String::new();
    for line in &lines {
        let mut text = String::new();
        for (column, (cell, &width)) in line.iter().zip(&widths).enumerate() {
            // The two numbers stand to the right, the words to the left.
            let cell = if column < 2 { format!("{cell:>width$}") } else { format!("{cell:<width$}") };
            text.push_str(&cell);
            text.push_str("  ");
        }
        out.push_str(text.trim_end());
        out.push('\n');
    }
    out.push('\n');
    out.push_str(&totals(plan));
    out.push('\n');
    out
}

/// One line that says how much the network computes, and how much the reference would.
pub fn totals(plan: &Plan) -> String {
    let rows = plan.rows();
    let batches = plan.steps.len();
    let saved = 100.0 * (1.0 - rows as f64 / plan.reference_rows as f64);
    let comparison = if rows == plan.reference_rows {
        "as many as the reference".to_owned()
    } else {
        format!("the reference would do {}: {saved:.0}% saved", plan.reference_rows)
    };
    format!("{rows} network evaluations in {batches} batches; {comparison}")
}

/// The plan as JSON: every number that the engine uses.
pub fn json(plan: &Plan) -> Value {
    json!({
        "size": [plan.size.width(), plan.size.height()],
        "latents": plan.latents,
        "initial_scale": plan.initial_scale,
        "texts": plan.texts,
        "concepts": plan.concepts.iter().map(|concept| json!({
            "name": concept.name,
            "direction": concept.direction.name(),
            "row": concept.row,
        })).collect::<Vec<_>>(),
        "steps": plan.steps.iter().map(|step| step_json(plan, step)).collect::<Vec<_>>(),
        "network_evaluations": plan.rows(),
        "reference_evaluations": plan.reference_rows,
    })
}

fn timestep(timestep: f64) -> String {
    if timestep.fract() == 0.0 { format!("{timestep}") } else { format!("{timestep:.2}") }
}

/// The rows of a step by what they are: a row that serves twice (a concept with the prompt's text) has its first name.
fn row_names(plan: &Plan, step: &Step) -> String {
    let name = |row: usize| {
        if step.guidance.prompt.is_some_and(|(prompt, _)| prompt == row) {
            return "prompt";
        }
        if step.guidance.base == row {
            return if step.guidance.prompt.is_some() { "unconditional" } else { "prompt" };
        }
        plan.concepts.iter().find(|concept| concept.row == Some(row)).map_or("?", |concept| &concept.name)
    };
    step.rows.iter().map(|&row| name(row)).collect::<Vec<_>>().join(" ")
}

/// What a concept does at a step.
fn deed(plan: &Plan, step: &Step, concept: usize) -> String {
    let elements = (plan.latents[1] * plan.latents[2]) as f64;
    let kept = |term: &Term| format!("{:.0}%", 100.0 * (elements - term.rank as f64) / elements);
    match step.guidance.terms.iter().find(|term| term.concept == concept) {
        Some(term) if term.role == Role::WarmingUp => "warm-up".to_owned(),
        Some(term) => format!("{:+} on {}", term.strength, kept(term)),
        None => "-".to_owned(),
    }
}

fn step_json(plan: &Plan, step: &Step) -> Value {
    let estimate = |estimate: Estimate| json!({ "output": estimate.output, "sample": estimate.sample });
    json!({
        "step": step.step,
        "timestep": step.timestep,
        "input_scale": step.input_scale,
        "rows": step.rows,
        "row_estimate": estimate(step.row_estimate),
        "guidance": {
            "base": step.guidance.base,
            "prompt": step.guidance.prompt.map(|(row, scale)| json!({ "row": row, "scale": scale })),
            "terms": step.guidance.terms.iter().map(|term| json!({
                "concept": plan.concepts[term.concept].name,
                "row": term.row,
                "strength": term.strength,
                "rank": term.rank,
                "role": match term.role { Role::WarmingUp => "warming-up", Role::Active => "active" },
                "direct": term.direct,
                "feeds": term.feeds.map(|(momentum, share)| json!({ "momentum": momentum, "share": share })),
            })).collect::<Vec<_>>(),
            "momenta": step.guidance.momenta.iter().map(|momentum| json!({
                "momentum": momentum.momentum,
                "scale": momentum.scale,
                "decay": momentum.decay,
                "added": momentum.added,
                "kept": momentum.kept,
            })).collect::<Vec<_>>(),
        },
        "guided_estimate": estimate(step.guided_estimate),
        "update": update_json(&step.update),
    })
}

fn update_json(update: &Update) -> Value {
    let combination = |Combination(parts): &Combination| {
        let parts = parts.iter().map(|(operand, factor)| {
            let name = match operand {
                Operand::State(index) => format!("state {index}"),
                Operand::Estimate => "estimate".to_owned(),
                Operand::Noise => "noise".to_owned(),
            };
            (name, json!(factor))
        });
        Value::Object(parts.collect())
    };
    update.next.iter().map(combination).collect()
}
