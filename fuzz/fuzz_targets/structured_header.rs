//! A header says what was asked for, and opens for a reader whose context holds.
#![no_main]

use std::{collections::BTreeMap, sync::Arc};

use arbitrary::Arbitrary;
use envelope_fuzz::{
    fixtures::{Kek, key_uri},
    now,
};
use envelope_sdk::{
    DecryptError, EncryptError, EncryptionContext, Envelope, Header, KeyProvider, Keyring, Kind,
    stream::read_header,
};
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    kind: u8,
    keys: Vec<u8>,
    padding: Option<u16>,
    written: Vec<(&'a str, &'a str, bool)>,
    /// Which of the entries the reader leaves out.
    forgotten: u64,
    read: Vec<(&'a str, &'a str)>,
    plaintext: &'a [u8],
}

fuzz_target!(|input: Input<'_>| {
    let kek: Arc<dyn KeyProvider> = Arc::new(Kek::new());
    let keyring =
        input.keys.iter().fold(Keyring::new(), |ring, key| ring.both(Arc::clone(&kek), key_uri(*key)));
    let envelope = Envelope::new(keyring).pad_headers_to(input.padding.map_or(0, usize::from));
    let context = input.written.iter().fold(EncryptionContext::new(), |context, (name, value, withheld)| {
        if *withheld { context.withhold(*name, *value) } else { context.with(*name, *value) }
    });

    let sealed = match input.kind % 3 {
        0 => now(envelope.encrypt(input.plaintext, &context)).map(|sealed| (sealed, Kind::Attached)),
        1 => now(envelope.encrypt_detached(input.plaintext, &context)).map(|(mut header, payload)| {
            header.extend(payload);
            (header, Kind::Detached)
        }),
        _ => now(envelope.create_data_key(&context)).map(|key| (key.header().to_bytes(), Kind::DataKey)),
    };
    let distinct: BTreeMap<_, _> = input.keys.iter().map(|key| (key, ())).collect();
    let fits = context.full().is_ok();
    let (sealed, kind) = match sealed {
        Ok(sealed) => sealed,
        Err(EncryptError::Context(_)) => return assert!(!fits),
        Err(EncryptError::NoKey) => return assert!(input.keys.is_empty()),
        Err(EncryptError::TooManyKeys(count)) => return assert_eq!(count, input.keys.len()),
        Err(EncryptError::Format(_)) => return assert!(distinct.len() < input.keys.len()),
        Err(error) => panic!("{error}"),
    };
    assert!(fits && distinct.len() == input.keys.len());

    let (header, len) = Header::parse(&sealed).expect("what was written can be read");
    // Nothing may follow a header whose payload is elsewhere.
    let alone = if kind == Kind::Attached { &sealed[..] } else { &sealed[..len] };
    assert_eq!(read_header(&mut &*alone).ok().as_ref(), Some(&header));
    assert_eq!(header.to_bytes(), sealed[..len]);
    assert_eq!((header.kind(), header.generation()), (kind, 0));
    assert_eq!(header.recipients().len(), input.keys.len());
    if let Some(padding) = input.padding.filter(|padding| *padding > 1) {
        assert_eq!(len % usize::from(padding), 0);
        assert!(header.padding() < usize::from(padding));
    }
    let stored = context.iter().filter(|(_, _, withheld)| !withheld).map(|(name, value, _)| (name, value));
    assert!(header.stored_context().iter().map(|(name, value)| (&**name, &**value)).eq(stored));
    let withheld = context.iter().filter(|(_, _, withheld)| *withheld).map(|(name, _, _)| name);
    assert!(header.withheld().iter().map(|name| &**name).eq(withheld));

    read_with_another_context(&envelope, &context, header, &input);
    if kind == Kind::Attached {
        assert_eq!(now(envelope.decrypt(&sealed, &context)).ok().as_deref(), Some(input.plaintext));
        let rewrapped = now(envelope.rewrap(&sealed, &context)).expect("rewrapped");
        assert_eq!(now(envelope.decrypt(&rewrapped, &context)).ok().as_deref(), Some(input.plaintext));
        assert!(rewrapped.ends_with(&sealed[len..]), "the payload stays as it is");
    }
});

/// Opens exactly when every entry given holds and every withheld one is given.
fn read_with_another_context(
    envelope: &Envelope,
    written: &EncryptionContext,
    header: Header,
    input: &Input<'_>,
) {
    let remembered = written.iter().zip(0..).filter(|(_, position)| input.forgotten >> position & 1 == 0);
    let remembered =
        remembered.fold(EncryptionContext::new(), |context, ((name, value, _), _)| context.with(name, value));
    let demands =
        input.read.iter().fold(remembered, |context, (name, value)| context.withhold(*name, *value));
    let holds = demands.iter().all(|(name, value, _)| written.get(name) == Some(value));
    let complete = written.iter().all(|(name, _, withheld)| !withheld || demands.get(name).is_some());
    match now(envelope.unlock(header, &demands)) {
        Ok(_) => assert!(holds && complete),
        Err(DecryptError::NotAuthentic) => assert!(!(holds && complete)),
        Err(error) => panic!("{error}"),
    }
}
