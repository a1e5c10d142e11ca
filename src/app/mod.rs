//! The commands. Only here are the clock, the environment and the command line read.

mod cli;
#[cfg(feature = "engine")]
mod device;
#[cfg(feature = "engine")]
mod dispatch;
mod explain;
mod fmt;
mod hub;
mod input;
#[cfg(any(feature = "engine", feature = "hub"))]
mod interruption;
#[cfg(feature = "hub")]
mod models;
mod plan;
mod report;
#[cfg(feature = "engine")]
mod run;
mod session;
#[cfg(feature = "watch")]
mod watch;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};
use report::Report;

/// How a command ended, when not well.
#[derive(Debug)]
enum Failure {
    /// A recipe has errors, which are reported, or `fmt --check` found differences.
    Recipe,
    /// The run failed.
    Run(Box<dyn std::error::Error + Send + Sync>),
    /// The user ended it.
    #[cfg_attr(
        not(any(feature = "engine", feature = "hub")),
        expect(dead_code, reason = "only renders and downloads take long enough to be interrupted")
    )]
    Interrupted,
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        #[cfg(feature = "engine")]
        if let Some(crate::engine::EngineError::Interrupted) = (&error as &dyn std::any::Any).downcast_ref() {
            return Self::Interrupted;
        }
        Self::Run(Box::new(error))
    }
}

impl Failure {
    /// The exit code of a command line that cannot be understood.
    const USAGE: u8 = 2;

    fn exit_code(&self) -> u8 {
        match self {
            Self::Recipe => 1,
            Self::Run(_) => 2,
            Self::Interrupted => 130,
        }
    }
}

/// Runs the program with the process' arguments; returns its exit code. To be called before any thread is begun.
pub fn main() -> ExitCode {
    #[cfg(feature = "cudnn")]
    device::forbid_tf32();
    let Cli { command, json } = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return misused(&error),
    };
    let mut report = Report::new(command.name(), json);
    let result = match &command {
        #[cfg(feature = "engine")]
        Command::Run(args) => run::run(args, &mut report),
        #[cfg(feature = "watch")]
        Command::Watch(args) => watch::watch(args, &mut report),
        Command::Check(args) => input::check(args, &mut report),
        Command::Fmt(args) => fmt::fmt(args, &mut report),
        Command::Plan(args) => plan::plan(args, &mut report),
        #[cfg(feature = "hub")]
        Command::Models(args) => models::models(args, &mut report),
        Command::Explain(args) => explain::explain(args, &mut report),
    };
    let code = match result {
        Ok(()) => 0,
        Err(failure) => {
            match &failure {
                Failure::Recipe => {}
                Failure::Run(error) => report.failure(error.as_ref()),
                Failure::Interrupted => interrupted(&mut report),
            }
            failure.exit_code()
        }
    };
    ExitCode::from(report.finish(code))
}

/// Tells that the user ended the program.
fn interrupted(report: &mut Report) {
    report.field("error", || serde_json::json!("interrupted"));
    report.remark("interrupted: every file is whole, or as it was before");
}

/// Tells that the command line is wrong, or shows the help that was asked for.
fn misused(error: &clap::Error) -> ExitCode {
    if error.use_stderr() && std::env::args_os().any(|argument| argument == "--json") {
        let mut report = Report::new("", true);
        report.failure(error);
        return ExitCode::from(report.finish(Failure::USAGE));
    }
    // Nobody can be told that this cannot be printed.
    let _ = error.print();
    ExitCode::from(if error.use_stderr() { Failure::USAGE } else { 0 })
}
