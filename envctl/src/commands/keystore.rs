//! `envctl keystore …`

use envelope_audit::{Entry, Outcome};
use envelope_local::Keystore as LocalKeystore;
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
            let create = || Ok(LocalKeystore::create(&path, &passphrase)?);
            let keystore = providers.recorder().change(&entry(CREATE), create)?;
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
            let change = || Ok(keystore.change_passphrase(&replacement)?);
            providers.recorder().change(&entry(CHANGE_PASSPHRASE), change)?;
            let value = json!({ "keystore": path.to_string_lossy(), "id": keystore.id() });
            report::print(global.json, &value, &format!("{}: passphrase changed\n", printable::path(&path)))
        }
    }
}

fn entry(operation: &'static str) -> Entry {
    let mut entry = Entry::new(operation, Outcome::Begun);
    entry.provider = Some("local".into());
    entry
}

const CREATE: &str = "create_keystore";
const CHANGE_PASSPHRASE: &str = "change_passphrase";
