//! What is written from given randomness is what the vectors of the classes `writing` and `rewrap` say, byte for byte.
//!
//! There is no other way to give randomness: no function of the API takes any.

use std::{collections::BTreeMap, fs, path::Path};

use base64ct::{Base64, Encoding};

use super::*;
use crate::{
    EncryptionContext, KeyUri, WrappedDek, crypto::xaes::XaesKey, key_uri::percent, stream::PayloadSealer,
    wrap_binding,
};

#[test]
fn writers_write_the_bytes_of_the_vectors() {
    let vectors = Vector::all("writing");
    assert!(vectors.len() >= 9, "only {}", vectors.len());
    for vector in vectors {
        let kind = match vector.one("kind") {
            "envelope" => Kind::Attached,
            "detached" => Kind::Detached,
            "record" => Kind::DataKey,
            other => panic!("{other}"),
        };
        let context = vector.entries("write-stored").into_iter().fold(EncryptionContext::new(), with);
        let context = vector
            .entries("write-withheld")
            .into_iter()
            .fold(context, |context, (name, value)| context.withhold(name, value));
        let (full, dek) = (context.full().unwrap(), Dek::from_slice(&vector.random("dek")).unwrap());
        let draft = HeaderDraft {
            kind,
            envelope_id: vector.random("envelope_id").try_into().unwrap(),
            generation: 0,
            stored: context.stored(),
            withheld: context.withheld(),
            recipients: vector.recipients(&Header::parse(&vector.parts[0]).unwrap().0, &dek, &full),
            padding: vector.one("write-padding").parse().unwrap(),
        };
        let opened = seal_header(draft, dek, full).unwrap();
        let mut written = opened.header().to_bytes();
        let plaintext = hex(vector.one("payload").strip_prefix("hex ").unwrap_or_default());
        let plaintext = if vector.name == "two-chunks" { vec![0; 16_384] } else { plaintext };
        let mut binding = binding(kind, opened.header().envelope_id(), opened.context());
        if kind == Kind::DataKey {
            let record = vector.entries("record-context").into_iter().fold(EncryptionContext::new(), with);
            binding.extend(record.full().unwrap().as_bytes());
            let nonce = vector.random("record nonce").try_into().unwrap();
            let key = XaesKey::<DefaultEngine>::new(opened.content_key());
            written.extend(key.seal_with_nonce(&nonce, &plaintext, &binding));
        } else {
            let salt = vector.random("payload salt").try_into().unwrap();
            PayloadSealer::new(opened.content_key(), &binding, salt).seal_after(&plaintext, &mut written);
        }
        assert_eq!(written, vector.parts.concat(), "{}", vector.name);
    }
}

#[test]
fn rewraps_write_the_headers_of_the_vectors() {
    let vectors = Vector::all("rewrap");
    let mut count = 0;
    for vector in vectors.iter().filter(|vector| vector.one("expect") == "success") {
        let header = Header::parse_exact(&vector.parts[0]).unwrap();
        let given = ["context", "withheld-value"].map(|key| vector.entries(key)).into_iter().flatten();
        let given = given.fold(EncryptionContext::new(), with);
        let full = given.complete(header.stored_context(), header.withheld()).unwrap();
        let old = &header.recipients()[0];
        let binding = wrap_binding(old.key_uri(), old.key_version(), &full).unwrap();
        let dek = vector.kek(old.key_uri().as_str(), old.key_version()).open(old.ciphertext(), &binding);
        let Ok(opened) = verify(header, Dek::from_slice(&dek.unwrap()).unwrap(), full) else {
            panic!("{}", vector.name)
        };
        let new = Header::parse_exact(&vector.parts[1]).unwrap();
        let draft = HeaderDraft {
            generation: opened.header().generation() + 1,
            recipients: vector.recipients(&new, opened.dek(), opened.context()),
            padding: vector.one("write-padding").parse().unwrap(),
            ..opened.header().draft().clone()
        };
        let (dek, context) = opened.into_parts();
        let written = seal_header(draft, dek, context).unwrap().into_header();
        assert_eq!(written.to_bytes(), vector.parts[1], "{}", vector.name);
        count += 1;
    }
    assert!(count >= 9, "only {count}");
}

fn with(context: EncryptionContext, (name, value): (String, String)) -> EncryptionContext {
    context.with(name, value)
}

/// A file of one of these classes: `vectors/README.md`.
struct Vector {
    name: String,
    fields: BTreeMap<String, Vec<String>>,
    parts: Vec<Vec<u8>>,
}

impl Vector {
    fn all(class: &str) -> Vec<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors").join(class);
        fs::read_dir(folder).unwrap().map(|entry| Self::read(&entry.unwrap().path())).collect()
    }

    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        let (head, body) = text.split_once("\n\n").unwrap();
        let mut fields: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for line in head.lines() {
            let (key, value) = line.split_once(": ").unwrap();
            fields.entry(key.into()).or_default().push(value.into());
        }
        let decode = |part: &str| Base64::decode_vec(&part.replace('\n', "")).unwrap();
        let parts = body.trim_end().split("\n\n").map(decode).collect();
        Self { name: path.file_stem().unwrap().to_str().unwrap().into(), fields, parts }
    }

    fn one(&self, key: &str) -> &str {
        &self.fields[key][0]
    }

    fn lines(&self, key: &str) -> impl Iterator<Item = &str> {
        self.fields.get(key).into_iter().flatten().map(String::as_str)
    }

    fn entries(&self, key: &str) -> Vec<(String, String)> {
        let decode = |text: &str| String::from_utf8(percent::decode(text).unwrap()).unwrap();
        let pairs = self.lines(key).map(|line| line.split_once('=').unwrap());
        pairs.map(|(name, value)| (decode(name), decode(value))).collect()
    }

    fn random(&self, purpose: &str) -> Vec<u8> {
        let of = |line: &str| Some(hex(line.strip_prefix(purpose)?.strip_prefix(' ')?));
        self.lines("random").find_map(of).unwrap_or_else(|| panic!("{}: no {purpose}", self.name))
    }

    fn kek(&self, uri: &str, version: &str) -> XaesKey<DefaultEngine> {
        let version = if version.is_empty() { "-" } else { version };
        let of = |line: &str| Some(hex(line.strip_prefix(&format!("{uri} {version} "))?));
        let key = self.lines("kek").find_map(of).unwrap();
        XaesKey::new(&Key256::copy_from(key.as_slice().try_into().unwrap()))
    }

    /// Wraps for the recipients that are to be written. A passphrase is the local backend's: its wrap is taken as it
    /// stands in `header`.
    fn recipients(&self, header: &Header, dek: &Dek, full: &FullContext) -> Vec<WrappedDek> {
        let wrap = |(number, line): (usize, &str)| {
            let (uri, version) = line.split_once(' ').unwrap();
            if uri == "passphrase:" {
                return header.recipients()[number].clone();
            }
            let (uri, version) = (KeyUri::parse(uri).unwrap(), if version == "-" { "" } else { version });
            let nonce = self.random(&format!("wrap {number} nonce")).try_into().unwrap();
            let binding = wrap_binding(&uri, version, full).unwrap();
            let sealed = self.kek(uri.as_str(), version).seal_with_nonce(&nonce, dek.expose(), &binding);
            WrappedDek::new(uri, version, "XAES-256-GCM", sealed).unwrap()
        };
        self.lines("write-recipient").enumerate().map(wrap).collect()
    }
}

fn hex(digits: &str) -> Vec<u8> {
    let pairs = (0..digits.len()).step_by(2).map(|at| &digits[at..at + 2]);
    pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}
