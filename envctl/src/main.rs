//! `envctl`: envelope encryption at the command line.
//!
//! The way of a call: [`environment`] takes secrets out of the environment, [`cli`] says what
//! may be asked, with what the key stores of the build add to it ([`key_stores`]), [`providers`]
//! reads the configuration and opens keys, and the audit log over them ([`recorder`]), a module of [`commands`] does
//! the work over [`input`] and [`output`] ([`transfer`] moves the bytes between
//! them), [`error`] turns what failed into
//! words and an exit code.

mod cli;
mod commands;
mod descriptor;
mod environment;
mod error;
mod harden;
mod in_place;
mod input;
mod interrupt;
mod key_stores;
mod output;
mod passphrase;
mod progress;
mod providers;
mod recorder;
mod report;
mod runtime;
mod sources;
mod trace;
mod transfer;
mod turn;
mod usage;
mod user;
mod warnings;

use std::process::ExitCode;

fn main() -> ExitCode {
    let outcome = run();
    interrupt::ask_no_more();
    recorder::finish();
    trace::finish();
    let code = match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error.report(usage::wants_json(std::env::args_os()));
            ExitCode::from(error.exit_code())
        }
    };
    interrupt::finish_calls();
    interrupt::die_as_told();
    code
}

fn run() -> error::Result<()> {
    descriptor::remember_given();
    harden::disable_core_dumps()?;
    environment::take_secrets_out()?;
    let Some(cli) = usage::parse()? else { return Ok(()) };
    warnings::begin(cli.global.json);
    descriptor::keep_from_children();
    interrupt::clean_up_when_told_to_end()?;
    if cli.command.uses_keys() {
        runtime::start()?;
    }
    commands::run(cli)
}
