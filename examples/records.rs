//! Many small values under one data key, and all of them moved to another key
//! at once: `cargo run --example records`.

use std::{error::Error, io::Write, sync::Arc};

use envelope_local::{Passphrase, PassphraseProvider};
use envelope_sdk::{EncryptionContext, Envelope, KeyUri, Keyring};
use futures_executor::block_on;

fn main() -> Result<(), Box<dyn Error>> {
    let old = Arc::new(PassphraseProvider::new(Passphrase::new("old passphrase".into())?));
    let new = Arc::new(PassphraseProvider::new(Passphrase::new("new passphrase".into())?));
    let table = EncryptionContext::new().with("table", "users");

    // One key wrap for the whole table; 40 bytes and about a microsecond a value.
    let envelope = Envelope::new(Keyring::new().both(Arc::clone(&old) as _, KeyUri::passphrase()));
    let data_key = block_on(envelope.create_data_key(&table))?;
    let row = |id: usize| EncryptionContext::new().with("row", id.to_string()).with("column", "email");
    let emails = ["jane@example.org", "joe@example.org"];
    let mut records = Vec::new();
    for (id, email) in emails.iter().enumerate() {
        records.push(data_key.seal(email.as_bytes(), &row(id))?);
    }

    // A record is bound to its row: swapped values do not open.
    assert!(data_key.open(&records[0], &row(1)).is_err());

    // Rotation: one small header is rewrapped, the records stay.
    let header = data_key.header().to_bytes();
    let both = Keyring::new()
        .decrypt(old, KeyUri::passphrase())
        .encrypt(Arc::clone(&new) as _, KeyUri::passphrase());
    let rewrapped = block_on(Envelope::new(both).rewrap(&header, &table))?;

    let envelope = Envelope::new(Keyring::new().decrypt(new, KeyUri::passphrase()));
    let data_key = block_on(envelope.open_data_key(&rewrapped, &table))?;
    for (id, record) in records.iter().enumerate() {
        let email = data_key.open(record, &row(id))?;
        writeln!(std::io::stdout(), "row {id}: {} bytes open to {} bytes", record.len(), email.len())?;
        assert_eq!(email, emails[id].as_bytes());
    }
    Ok(())
}
