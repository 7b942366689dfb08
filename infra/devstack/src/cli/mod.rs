//! The `devstack` command. Everything that prints or reads arguments is below this folder.

mod args;
mod chaos;
mod demo;
mod follow;
mod migrate;
mod output;
mod pay;
mod signals;
mod start;
mod state_file;
mod summary;
mod tell;
mod up;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use args::{Args, Command};
use signals::unless_stopped;

/// What a command has to say about its end.
pub(crate) enum End {
    /// All went well.
    Well,
    /// It worked, but what it showed is not well; it has said why.
    Badly,
    /// Stopped by a signal, of this number.
    Signal(u8),
}

/// Runs the command of our arguments.
pub(crate) async fn run() -> ExitCode {
    let args = Args::parse();
    let ended = Box::pin(execute(args.command)).await;
    match ended {
        Ok(End::Well) => ExitCode::SUCCESS,
        Ok(End::Badly) => ExitCode::FAILURE,
        Ok(End::Signal(number)) => ExitCode::from(128_u8.saturating_add(number)),
        Err(error) => {
            output::error(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn execute(command: Command) -> Result<End> {
    match command {
        Command::Demo(args) => demo::run(args).await,
        Command::Up(args) => up::run(args).await,
        Command::Pay(args) => unless_stopped(pay::run(args)).await,
        Command::Tell(args) => unless_stopped(tell::run(args)).await,
        Command::Chaos(args) => chaos::run(args).await,
        Command::Migrate => unless_stopped(migrate::run()).await,
    }
}
