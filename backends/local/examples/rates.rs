//! What `scripts/bench-python` compares the Python package with: seconds of one round of each, for each line of standard input.
//!
//! - `DataKey::seal` and `open` of 64 MiB of records of 1 KiB under a data key, on one thread, to memory that is there.
//! - `Envelope::encrypt` and `decrypt` of a message of 64 MiB, on one thread, to memory that they take.
//! - the same by `Parallel::seal_slice` and `open_slice`, on all cores, to memory that is there.

use std::{
    error::Error,
    io::{BufRead, Write, stdin, stdout},
    sync::Arc,
    time::Instant,
};

use envelope_local::{Keystore, Passphrase};
use envelope_sdk::{
    EncryptionContext, Envelope, KeyAdmin, Keyring, NewKey, PayloadKind, crypto::cobblestone,
    stream::Parallel,
};
use futures_executor::block_on;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let passphrase = Passphrase::new("rates".into())?;
    let keystore = Arc::new(Keystore::create(folder.path().join("keys.json"), &passphrase)?);
    let key = block_on(keystore.create_key(&NewKey::named("main")))?.uri;
    let envelope = Envelope::new(Keyring::new().both(keystore, key));
    let context = EncryptionContext::new().with("column", "mail");

    let data_key = block_on(envelope.create_data_key(&EncryptionContext::new()))?;
    let values = vec![7; LEN];
    let record = RECORD + envelope_sdk::RECORD_OVERHEAD;
    let (mut records, mut opened) = (vec![0; LEN / RECORD * record], vec![0; LEN]);
    let sealed = block_on(envelope.encrypt(&values, &context))?;
    let header = Envelope::inspect(&sealed)?;
    let at = header.len();
    let mut payload = vec![0; cobblestone::sealed_len(LEN)];
    for line in stdin().lock().lines() {
        line?;
        let begun = Instant::now();
        for (value, out) in values.chunks(RECORD).zip(records.chunks_mut(record)) {
            out.copy_from_slice(&data_key.seal(value, &context)?);
        }
        let seal = begun.elapsed();
        let begun = Instant::now();
        for (record, out) in records.chunks(record).zip(opened.chunks_mut(RECORD)) {
            out.copy_from_slice(&data_key.open(record, &context)?);
        }
        let open = begun.elapsed();
        let begun = Instant::now();
        let started = block_on(envelope.start(PayloadKind::Attached, &context))?;
        Parallel::new().seal_slice(started.payload, &values, &mut payload)?;
        let encrypt = begun.elapsed();
        let begun = Instant::now();
        let unlocked = block_on(envelope.unlock(header.clone(), &context))?;
        Parallel::new().open_slice(&unlocked, &sealed[at..], &mut opened)?;
        let decrypt = begun.elapsed();
        let begun = Instant::now();
        drop(block_on(envelope.encrypt(&values, &context))?);
        let encrypt_anew = begun.elapsed();
        let begun = Instant::now();
        drop(block_on(envelope.decrypt(&sealed, &context))?);
        let decrypt_anew = begun.elapsed();
        let seconds = [seal, open, encrypt_anew, decrypt_anew, encrypt, decrypt]
            .map(|took| took.as_secs_f64().to_string());
        writeln!(stdout(), "{}", seconds.join(" "))?;
    }
    Ok(())
}

const LEN: usize = 64 << 20;
const RECORD: usize = 1024;
