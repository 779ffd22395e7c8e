//! `envctl keystore …`

use std::cell::Cell;

use envelope_audit::{Entry, Outcome};
use envelope_local::{Keystore as LocalKeystore, KeystoreError};
use envelope_policy::Operation;
use envelope_sdk::printable;
use serde_json::json;

use crate::{
    cli::{Global, Keystore},
    error::{CliError, ErrorKind, Result},
    providers::Providers,
    report,
};

pub(crate) fn run(global: &Global, command: &Keystore) -> Result<()> {
    let providers = Providers::new(global)?;
    let path = providers.keystore()?;
    match command {
        Keystore::Init => {
            providers.check(Operation::Create, &[], CREATE)?;
            if path.symlink_metadata().is_ok() {
                return Err(CliError::new(
                    ErrorKind::InputOutput,
                    format!("{} is there already", printable::path(&path)),
                )
                .hint("--keystore names another one; a keystore is never overwritten"));
            }
            let passphrase = providers.passphrases().of_new_keystore(&path)?;
            let create = || LocalKeystore::create(&path, &passphrase);
            let keystore = change(&providers, CREATE, create)?;
            let value = json!({ "keystore": path.to_string_lossy(), "id": keystore.id() });
            let text = format!("{}: created\nnext: `envctl keys create NAME`\n", printable::path(&path));
            report::print(global.json, &value, &text)
        }
        Keystore::Passwd => {
            providers.check(Operation::ChangePassphrase, &[], CHANGE_PASSPHRASE)?;
            let passphrase = providers.passphrases().of_keystore(&path)?;
            // Whoever guesses passphrases is to be seen.
            let keystore = LocalKeystore::open(&path, &passphrase)
                .map_err(|error| providers.recorder().refused(&entry(CHANGE_PASSPHRASE), error.into()))?;
            let replacement = providers.passphrases().replacement()?;
            change(&providers, CHANGE_PASSPHRASE, || keystore.change_passphrase(&replacement))?;
            let value = json!({ "keystore": path.to_string_lossy(), "id": keystore.id() });
            report::print(global.json, &value, &format!("{}: passphrase changed\n", printable::path(&path)))
        }
    }
}

/// Makes a change, and records it before and after. One that was made and may not last is not recorded as failed.
fn change<T>(
    providers: &Providers,
    operation: &'static str,
    change: impl FnOnce() -> std::result::Result<T, KeystoreError>,
) -> Result<T> {
    let came_of = Cell::new(Outcome::Failed);
    let change = || {
        change().map_err(|error| {
            if matches!(error, KeystoreError::Unsynced { .. }) {
                came_of.set(Outcome::Dropped);
            }
            CliError::from(error)
        })
    };
    providers.recorder().change_or(&entry(operation), change, |_| came_of.get())
}

fn entry(operation: &'static str) -> Entry {
    let mut entry = Entry::new(operation, Outcome::Begun);
    entry.provider = Some("local".into());
    entry
}

const CREATE: &str = "create_keystore";
const CHANGE_PASSPHRASE: &str = "change_passphrase";
