//! `sega explain`.

use clap::CommandFactory;
use serde_json::json;

use super::Failure;
use super::cli::{Cli, ExplainArgs};
use super::report::Report;
use crate::recipe::explain::{Explanation, explain as meanings};

/// Explains a word; without one, everything there is to explain.
pub(super) fn explain(args: &ExplainArgs, report: &mut Report) -> Result<(), Failure> {
    let commands = commands();
    let commands: Vec<(&str, &str)> = commands.iter().map(|(name, about)| (name.as_str(), about.as_str())).collect();
    let words = args.word.as_deref().map_or_else(|| vec!["settings", "commands", "codes"], |word| vec![word]);
    let mut explanations: Vec<Explanation> = Vec::new();
    for word in words {
        match meanings(word, &commands) {
            Ok(found) => explanations.extend(found),
            Err(unexplained) => {
                report.failure(&unexplained);
                return Err(Failure::Recipe);
            }
        }
    }
    let text: Vec<String> = explanations.iter().map(Explanation::to_text).collect();
    report.text(&text.join("\n"));
    report.field("explanations", || json!(explanations.iter().map(Explanation::to_json).collect::<Vec<_>>()));
    Ok(())
}

/// The commands and what they do, as the command line defines them.
fn commands() -> Vec<(String, String)> {
    let about = |command: &clap::Command| command.get_about().map(ToString::to_string).unwrap_or_default();
    Cli::command().get_subcommands().map(|command| (command.get_name().to_owned(), about(command))).collect()
}
