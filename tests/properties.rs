//! What holds for every plaintext, context and set of recipients.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests too")]

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    sync::Arc,
};

use envelope_sdk::{
    DecryptError, EncryptionContext, Envelope, Header, KeyUri, Keyring,
    format::armor::{self, ArmorReader, ArmorWriter},
};
use envelope_testkit::MemoryProvider;
use futures_executor::block_on;
use proptest::prelude::*;

proptest! {
    #[test]
    fn every_envelope_opens_with_any_one_of_its_keys(
        plaintext in plaintext(),
        entries in entries(),
        count in 1_usize..=16,
        opener in any::<prop::sample::Index>(),
        padding in 0_usize..600,
    ) {
        let (context, keys) = (context_of(&entries), Key::make(count));
        let sealing = keys.iter().fold(Keyring::new(), |ring, key| ring.encrypt(key.provider.clone(), key.uri.clone()));
        let one = &keys[opener.index(count)];
        let opening = Envelope::new(Keyring::new().decrypt(one.provider.clone(), one.uri.clone()));
        let sealing = Envelope::new(sealing).pad_headers_to(padding);

        let sealed = block_on(sealing.encrypt(&plaintext, &context)).unwrap();
        prop_assert_eq!(block_on(opening.decrypt(&sealed, &context)).unwrap(), &plaintext[..]);
        let only_withheld = context_of(&entries.iter().filter(|(_, (_, withheld))| *withheld).map(clone).collect::<Entries>());
        prop_assert_eq!(block_on(opening.decrypt(&sealed, &only_withheld)).unwrap(), &plaintext[..]);

        let (header, payload) = block_on(sealing.encrypt_detached(&plaintext, &context)).unwrap();
        prop_assert_eq!(block_on(opening.decrypt_detached(&header, &payload, &context)).unwrap(), &plaintext[..]);

        let data_key = block_on(sealing.create_data_key(&context)).unwrap();
        let record = data_key.seal(&plaintext, &context).unwrap();
        let data_key = block_on(opening.open_data_key(&data_key.header().to_bytes(), &context)).unwrap();
        prop_assert_eq!(data_key.open(&record, &context).unwrap(), plaintext);
    }

    #[test]
    fn another_context_opens_nothing(
        plaintext in plaintext(),
        entries in prop::collection::btree_map("[a-z]{1,8}", (".{0,8}", any::<bool>()), 1..6),
        changed in any::<prop::sample::Index>(),
    ) {
        let key = &Key::make(1)[0];
        let envelope = Envelope::new(Keyring::new().both(key.provider.clone(), key.uri.clone()));
        let sealed = block_on(envelope.encrypt(&plaintext, &context_of(&entries))).unwrap();
        let mut other = entries.clone();
        other.values_mut().nth(changed.index(entries.len())).unwrap().0.push('x');
        let refused = block_on(envelope.decrypt(&sealed, &context_of(&other))).unwrap_err();
        prop_assert!(matches!(refused, DecryptError::NotAuthentic));
    }

    #[test]
    fn a_rewrapped_envelope_opens_with_the_new_keys_and_keeps_its_payload(
        plaintext in plaintext(),
        entries in entries(),
        count in 1_usize..=16,
    ) {
        let (context, keys) = (context_of(&entries), Key::make(count + 1));
        let (old, new) = (&keys[0], &keys[1..]);
        let before = Envelope::new(Keyring::new().both(old.provider.clone(), old.uri.clone()));
        let moving = Keyring::new().decrypt(old.provider.clone(), old.uri.clone());
        let moving = new.iter().fold(moving, |ring, key| ring.encrypt(key.provider.clone(), key.uri.clone()));
        let last = &new[count - 1];
        let after = Envelope::new(Keyring::new().decrypt(last.provider.clone(), last.uri.clone()));

        let sealed = block_on(before.encrypt(&plaintext, &context)).unwrap();
        let rewrapped = block_on(Envelope::new(moving).rewrap(&sealed, &context)).unwrap();
        let (old_header, old_len) = Header::parse(&sealed).unwrap();
        let (new_header, new_len) = Header::parse(&rewrapped).unwrap();
        prop_assert_eq!(&sealed[old_len..], &rewrapped[new_len..]);
        prop_assert_eq!(new_header.envelope_id(), old_header.envelope_id());
        prop_assert_eq!(new_header.generation(), 1);
        prop_assert_eq!(block_on(after.decrypt(&rewrapped, &context)).unwrap(), plaintext);
        let refused = block_on(before.decrypt(&rewrapped, &context)).unwrap_err();
        let refused_by_name = matches!(refused, DecryptError::NoConfiguredKey { .. });
        prop_assert!(refused_by_name);
    }

    #[test]
    fn a_header_is_written_as_it_was_read_and_read_as_it_was_written(
        entries in entries(),
        count in 1_usize..=16,
        padding in 0_usize..600,
        flipped in any::<prop::sample::Index>(),
        bit in 0_u8..8,
    ) {
        let keys = Key::make(count);
        let ring = keys.iter().fold(Keyring::new(), |ring, key| ring.encrypt(key.provider.clone(), key.uri.clone()));
        let envelope = Envelope::new(ring).pad_headers_to(padding);
        let context = context_of(&entries);
        let header = block_on(envelope.create_data_key(&context)).unwrap().header().clone();
        let written = header.to_bytes();
        prop_assert_eq!(Header::parse_exact(&written).unwrap(), header.clone());
        let names: Vec<_> = header.recipients().iter().map(|one| one.key_uri().clone()).collect();
        prop_assert_eq!(names, keys.iter().map(|key| key.uri.clone()).collect::<Vec<_>>());
        let stored = header.stored_context().iter().map(|(name, value)| (name.as_str(), value.as_str(), false));
        let withheld = header.withheld().iter().map(|name| (name.as_str(), context.get(name).unwrap(), true));
        let mut all: Vec<_> = stored.chain(withheld).collect();
        all.sort_unstable();
        prop_assert_eq!(all, context.iter().collect::<Vec<_>>());
        // Whatever still parses is written back as it is.
        let mut changed = written;
        let position = flipped.index(changed.len());
        changed[position] ^= 1 << bit;
        if let Ok(header) = Header::parse_exact(&changed) {
            prop_assert_eq!(header.to_bytes(), changed);
        }
    }

    #[test]
    fn the_order_in_which_a_context_is_built_does_not_matter(
        entries in entries(),
        shuffled in any::<prop::sample::Index>(),
    ) {
        let mut reordered: Vec<_> = entries.iter().map(clone).collect();
        reordered.reverse();
        if !reordered.is_empty() {
            let by = shuffled.index(reordered.len());
            reordered.rotate_left(by);
        }
        let one = context_of(&entries);
        // The other way round also in what is withheld: that is not in the encoding.
        let other = reordered.into_iter().fold(EncryptionContext::new(), |context, (name, (value, withheld))| {
            if withheld { context.with(name, value) } else { context.withhold(name, value) }
        });
        let (one, other) = (one.full().unwrap(), other.full().unwrap());
        prop_assert_eq!(one.as_bytes(), other.as_bytes());
        let listed: Vec<_> = one.entries().collect();
        let expected: Vec<_> = entries.iter().map(|(name, (value, _))| (name.as_str(), value.as_str())).collect();
        prop_assert_eq!(listed, expected);
    }

    #[test]
    fn armor_gives_back_its_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400), step in 1_usize..80) {
        let text = armor::encode(&bytes);
        prop_assert!(armor::is_armored(text.as_bytes()));
        prop_assert_eq!(&armor::decode(&text).unwrap(), &bytes);
        prop_assert_eq!(&armor::decode(&text.replace('\n', "\r\n")).unwrap(), &bytes);
        let mut writer = ArmorWriter::new(Vec::new()).unwrap();
        for part in bytes.chunks(step) {
            writer.write_all(part).unwrap();
        }
        prop_assert_eq!(writer.finish().unwrap(), text.as_bytes());
        let mut read = Vec::new();
        ArmorReader::new(std::io::BufReader::with_capacity(step, text.as_bytes())).read_to_end(&mut read).unwrap();
        prop_assert_eq!(read, bytes);
    }
}

type Entries = BTreeMap<String, (String, bool)>;

/// Names and values of any characters, some withheld.
fn entries() -> impl Strategy<Value = Entries> {
    prop::collection::btree_map(".{1,12}", (".{0,20}", any::<bool>()), 0..6)
}

/// Mostly short, sometimes around the end of a chunk.
fn plaintext() -> impl Strategy<Value = Vec<u8>> {
    let around = (1_usize..3, 0_usize..35, any::<u8>());
    prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..200),
        1 => around.prop_map(|(chunks, beside, byte)| vec![byte; chunks * 16384 + beside - 17]),
    ]
}

fn clone((name, (value, withheld)): (&String, &(String, bool))) -> (String, (String, bool)) {
    (name.clone(), (value.clone(), *withheld))
}

fn context_of(entries: &Entries) -> EncryptionContext {
    entries.iter().fold(EncryptionContext::new(), |context, (name, (value, withheld))| {
        if *withheld { context.withhold(name, value) } else { context.with(name, value) }
    })
}

/// A key with a provider of its own.
struct Key {
    provider: Arc<MemoryProvider>,
    uri: KeyUri,
}

impl Key {
    fn make(count: usize) -> Vec<Self> {
        let uris = (0..count).map(|number| MemoryProvider::key(&format!("key-{number}")));
        uris.map(|uri| Self { provider: Arc::new(MemoryProvider::new().with_key(&uri)), uri }).collect()
    }
}
