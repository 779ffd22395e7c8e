//! `envctl completions` and `envctl man`

use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;

use crate::{
    cli::Cli,
    error::{CliError, Result},
    report::print_bytes,
};

pub(crate) fn completions(shell: Shell) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "envctl", &mut script);
    print_bytes(&script)
}

pub(crate) fn man(dir: Option<&Path>) -> Result<()> {
    match dir {
        Some(dir) => clap_mangen::generate_to(Cli::command(), dir)
            .map_err(|error| CliError::io("write into", dir, &error)),
        None => {
            let mut page = Vec::new();
            Man::new(Cli::command())
                .render(&mut page)
                .map_err(|error| CliError::other(format!("cannot make the page: {error}")))?;
            print_bytes(&page)
        }
    }
}
