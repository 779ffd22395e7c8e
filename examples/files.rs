//! A file of any length, in constant memory, under a key of a keystore:
//! `cargo run --example files -- FILE`.

use std::{
    env,
    error::Error,
    fs::File,
    io::{BufWriter, Write},
    sync::Arc,
};

use envelope_local::{Keystore, Passphrase};
use envelope_sdk::{EncryptionContext, Envelope, KeyAdmin, Keyring, NewKey, PayloadKind, stream};
use futures_executor::block_on;

fn main() -> Result<(), Box<dyn Error>> {
    let file = env::args().nth(1).unwrap_or_else(|| "README.md".into());
    let folder = env::temp_dir().join(format!("envelope-example-{}", std::process::id()));

    // Once: a keystore with a key. `envctl keystore init` and `envctl keys create` do the same.
    let passphrase = Passphrase::new("correct horse battery staple".into())?;
    let keystore = Arc::new(Keystore::create(folder.join("keystore.json"), &passphrase)?);
    let main = block_on(keystore.create_key(&NewKey::named("main")))?.uri;

    // The keys come first. This is the only part that may wait for a KMS.
    let envelope = Envelope::new(Keyring::new().both(keystore, main));
    let context = EncryptionContext::new().with("file", &file);
    let started = block_on(envelope.start(PayloadKind::Attached, &context))?;

    // Then the bytes, synchronously.
    let mut sealed = BufWriter::new(File::create(folder.join("sealed"))?);
    sealed.write_all(&started.header)?;
    let len = stream::seal(started.payload, &mut File::open(&file)?, &mut sealed)?;
    sealed.flush()?;

    // And back. What `open` wrote before an error is authentic but incomplete: a
    // program that must show all or nothing writes to a temporary file first.
    let mut sealed = File::open(folder.join("sealed"))?;
    let header = stream::read_header(&mut sealed)?;
    let opened = block_on(envelope.unlock(header, &context))?;
    let mut plaintext = Vec::new();
    stream::open(&opened, &mut sealed, &mut plaintext)?;

    assert_eq!(plaintext, std::fs::read(&file)?);
    writeln!(
        std::io::stdout(),
        "{file}: {len} bytes went through {}",
        opened.header().recipients()[0].key_uri()
    )?;
    std::fs::remove_dir_all(folder)?;
    Ok(())
}
