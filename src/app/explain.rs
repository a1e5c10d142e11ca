//! `sega explain`.

use clap::CommandFactory;
use serde_json::json;

use super::Failure;
use super::cli::{Cli, ExplainArgs};
use super::report::Report;
use crate::recipe::explain::{Command, explain as meanings, overview, suggestion};

/// A word that means nothing here.
#[derive(Debug, thiserror::Error)]
#[error("nothing here is called `{word}`{hint}; `sega explain` lists what there is")]
struct UnknownWord {
    word: String,
    hint: String,
}

/// Explains a word, or lists all.
pub(super) fn explain(args: &ExplainArgs, report: &mut Report) -> Result<(), Failure> {
    let commands = commands();
    let Some(word) = &args.word else {
        report.text(&overview(&commands));
        report.field("overview", || json!(overview(&commands)));
        return Ok(());
    };
    let explanations = meanings(word, &commands);
    if explanations.is_empty() {
        let hint = suggestion(word, &commands).map_or(String::new(), |meant| format!(", did you mean `{meant}`?"));
        report.failure(&UnknownWord { word: word.clone(), hint });
        return Err(Failure::Recipe);
    }
    let text: Vec<String> = explanations.iter().map(|explanation| explanation.text()).collect();
    report.text(&text.join("\n"));
    report.field("explanations", || explanations.iter().map(|explanation| explanation.json()).collect());
    Ok(())
}

/// The commands and what they do, as the command line defines them.
fn commands() -> Vec<Command> {
    // The names live as long as the program: they are leaked once, by one command that then ends.
    let leaked = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
    let about = |command: &clap::Command| command.get_about().map(|about| about.to_string()).unwrap_or_default();
    Cli::command()
        .get_subcommands()
        .map(|command| (leaked(command.get_name().to_owned()), leaked(about(command))))
        .collect()
}
