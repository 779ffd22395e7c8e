//! `envctl inspect`: no key, no secret, nothing verified.

use std::fmt::Write as _;

use envelope_files::read_settled;
use envelope_sdk::{
    Header, Kind, WrappedDek,
    crypto::cobblestone,
    stream::{self, StreamError},
};
use serde_json::{Value, json};

use crate::{
    cli::{Global, Inspect},
    error::Result,
    in_place,
    input::Input,
    providers::check_inspect,
    report::{self, safe},
};

pub(crate) fn run(global: &Global, args: &Inspect) -> Result<()> {
    let input = Input::open(&args.file)?;
    let name = input.name().clone();
    let path = input.path().map(ToOwned::to_owned);
    let mut envelope = input.into_envelope()?;
    let read = match envelope.file().zip(path.as_deref()) {
        // A rewrap in place may be at it.
        Some((file, path)) => {
            let may_be_half = |error: &StreamError| matches!(error, StreamError::Decrypt(_));
            read_settled(file, path, || stream::read_header_at(file), may_be_half)?
        }
        None => envelope.read_header(),
    };
    let header =
        read.map_err(|error| in_place::explain(error.into(), envelope.file(), path.as_deref()).about(&name))?;
    let keys: Vec<_> = header.recipients().iter().map(WrappedDek::key_uri).collect();
    check_inspect(global, &keys)?;
    let payload = envelope
        .file_len()
        .filter(|_| header.kind() == Kind::Attached)
        .map(|len| len.saturating_sub(header.len() as u64));

    let mut value = report::header_json(&header, false);
    value["file"] = json!(name.to_string());
    value["armored"] = json!(envelope.is_armored());
    value["payload_bytes"] = json!(payload);
    value["plaintext_bytes"] = json!(payload.and_then(cobblestone::opened_len));
    report::print(global.json, &value, &text(&header, &value, payload))
}

fn text(header: &Header, value: &Value, payload: Option<u64>) -> String {
    let mut text = format!(
        "{} (not verified: anyone can write such a header)\n",
        value["file"].as_str().unwrap_or_default()
    );
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:<14}{value}");
    };
    line("format", "envelope v1, suite 0x0001 (Cobblestone-256)");
    line("kind", header.kind().name());
    line("envelope id", &report::hex(header.envelope_id()));
    line("generation", &header.generation().to_string());
    for (name, value) in header.stored_context() {
        line("context", &format!("{}={}", safe(name), safe(value)));
    }
    for name in header.withheld() {
        line("context", &format!("{} (withheld)", safe(name)));
    }
    for recipient in header.recipients() {
        let version = match recipient.key_version() {
            "" => String::new(),
            version => format!(", version {}", safe(version)),
        };
        let quantum = match recipient.is_post_quantum_safe() {
            Some(false) => ", not post-quantum safe",
            _ => "",
        };
        line(
            "recipient",
            &format!(
                "{}{version}, {}{quantum}",
                safe(recipient.key_uri().as_str()),
                recipient.wrap_algorithm()
            ),
        );
    }
    line("header", &format!("{} bytes, {} of them padding", header.len(), header.padding()));
    if let Some(payload) = payload {
        match cobblestone::opened_len(payload) {
            Some(plaintext) => line("payload", &format!("{payload} bytes, {plaintext} of plaintext")),
            None => line("payload", &format!("{payload} bytes: truncated, no message has this length")),
        }
    }
    text
}
