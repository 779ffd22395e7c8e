//! `envctl`: envelope encryption at the command line.
//!
//! The way of a call: [`cli`] says what may be asked, [`config`] adds what the
//! file says, [`keys`] makes a keyring of both with [`providers`], a module of [`commands`] does
//! the work over [`input`] and [`output`] ([`transfer`] moves the bytes between
//! them), [`error`] turns what failed into
//! words and an exit code.

mod cli;
mod commands;
mod config;
mod descriptor;
mod error;
mod harden;
mod in_place;
mod input;
mod interrupt;
mod keys;
mod output;
mod passphrase;
mod progress;
mod providers;
mod report;
mod runtime;
mod transfer;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let json = cli.global.json;
    let result = harden::disable_core_dumps()
        .and_then(|()| interrupt::clean_up_when_interrupted())
        .and_then(|()| commands::run(cli));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error.report(json);
            ExitCode::from(error.exit_code())
        }
    }
}
