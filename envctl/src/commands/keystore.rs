//! `envctl keystore …`

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
            providers.check(Operation::Create)?;
            if path.symlink_metadata().is_ok() {
                return Err(CliError::new(
                    ErrorKind::InputOutput,
                    format!("{} is there already", printable::path(&path)),
                )
                .hint("--keystore names another one; a keystore is never overwritten"));
            }
            let keystore = LocalKeystore::create(&path, &providers.passphrases().of_new_keystore(&path)?)?;
            let value = json!({ "keystore": path.to_string_lossy(), "id": keystore.id() });
            let text = format!("{}: created\nnext: `envctl keys create NAME`\n", printable::path(&path));
            report::print(global.json, &value, &text)
        }
        Keystore::Passwd => {
            providers.check(Operation::ChangePassphrase)?;
            let keystore = LocalKeystore::open(&path, &providers.passphrases().of_keystore(&path)?)?;
            keystore.change_passphrase(&providers.passphrases().replacement()?)?;
            let value = json!({ "keystore": path.to_string_lossy(), "id": keystore.id() });
            report::print(global.json, &value, &format!("{}: passphrase changed\n", printable::path(&path)))
        }
    }
}
