//! The encryption context of a call.

use envelope_sdk::{EncryptionContext, Header};

use crate::{
    cli::Expected,
    error::{CliError, ErrorKind, Result},
    report,
};

/// The context to bind: `--context` entries, those of `--withhold` not stored.
pub(crate) fn to_bind(entries: &[String], withhold: &[String]) -> Result<EncryptionContext> {
    let mut context = EncryptionContext::new();
    for entry in entries {
        let (name, value) = split(entry)?;
        if context.get(name).is_some() {
            return Err(CliError::usage(format!("the context entry {name:?} is given twice")));
        }
        let withheld = withhold.iter().any(|withheld| withheld == name);
        context = if withheld { context.withhold(name, value) } else { context.with(name, value) };
    }
    match withhold.iter().find(|name| context.get(name).is_none()) {
        Some(name) => {
            let name = report::safe(name);
            Err(CliError::usage(format!("--withhold {name} names no entry of the context"))
                .hint(format!("add its value, such as -c {name}=VALUE --withhold {name}")))
        }
        None => Ok(context),
    }
}

/// The entries that a reader supplies or demands.
pub(crate) fn expected(args: &Expected) -> Result<EncryptionContext> {
    args.context.iter().chain(&args.expect).try_fold(EncryptionContext::new(), |context, entry| {
        let (name, value) = split(entry)?;
        match context.get(name) {
            Some(other) if other != value => {
                Err(CliError::usage(format!("the context entry {name:?} is given twice, with two values")))
            }
            _ => Ok(context.with(name, value)),
        }
    })
}

/// `--expect` names stored entries: one that is withheld, or not there at all,
/// is not what was expected.
pub(crate) fn check_expected(args: &Expected, header: &Header) -> Result<()> {
    for entry in &args.expect {
        let (name, _) = split(entry)?;
        if !header.stored_context().contains_key(name) {
            return Err(CliError::new(
                ErrorKind::NotAuthentic,
                format!("the envelope does not store the context entry {name:?}"),
            ));
        }
    }
    Ok(())
}

/// A failed authentication, with what the header asks for. The header is
/// readable by anyone, so this tells nobody more.
pub(crate) fn explain(error: CliError, header: &Header, context: &EncryptionContext) -> CliError {
    if error.kind() != ErrorKind::NotAuthentic {
        return error;
    }
    let missing: Vec<_> = header
        .withheld()
        .iter()
        .filter(|name| context.get(name).is_none())
        .map(|name| report::safe(name))
        .collect();
    if !missing.is_empty() {
        return error.hint(format!(
            "the envelope withholds values that you must give with -c: {}",
            missing.join(", ")
        ));
    }
    error
        .hint("check the passphrase or key and each -c and --expect; if they are right, the file was changed")
}

fn split(entry: &str) -> Result<(&str, &str)> {
    entry
        .split_once('=')
        .filter(|(name, _)| !name.is_empty())
        .ok_or_else(|| CliError::usage("a context entry is NAME=VALUE, and one has no `=` or no name"))
}
