//! `inspect_envelope`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Tool;
use crate::{
    Failure, Kind, Look,
    call::Call,
    header::{self, NoHeader},
    times, words,
};

pub(super) struct InspectEnvelope;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    /// The file, as an absolute path in a folder that is served.
    path: String,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Output {
    path: String,
    /// `attached`, `detached` or `data-key`.
    kind: String,
    /// 32 hexadecimal digits.
    envelope_id: String,
    /// How often the header was written anew.
    generation: u32,
    armored: bool,
    modified: Option<String>,
    header_bytes: u64,
    payload_bytes: Option<u64>,
    plaintext_bytes: Option<u64>,
    /// Keys that open it: any one of them is enough.
    recipients: Vec<Recipient>,
    /// Entries of the context that stand in the header, each as NAME=VALUE.
    context: Vec<String>,
    /// Names of entries whose values are kept elsewhere.
    withheld: Vec<String>,
    /// Entries and names that did not fit here.
    left_out: u64,
    unverified: String,
}

/// One key that opens an envelope.
#[derive(Serialize, JsonSchema)]
pub(super) struct Recipient {
    key: String,
    version: String,
    wrap_algorithm: String,
    /// Null where that is not known.
    post_quantum_safe: Option<bool>,
}

impl Tool for InspectEnvelope {
    const NAME: &'static str = "inspect_envelope";
    const TITLE: &'static str = "Inspect an envelope";
    const DESCRIPTION: &'static str = "Reads the header of one encrypted file: who can open it (keys and versions), its context, its generation and \
        lengths. No key is used and nothing is decrypted or verified: anybody who can write the file can have written such a header.";
    const ASKS: Option<Look> = None;
    type Input = Input;
    type Output = Output;

    async fn call(call: Call, input: Input) -> Result<Output, Failure> {
        // To whoever may look at no envelope, not even whether there is such a file.
        call.facade.policy.may(&call.caller, Look::Inspect)?;
        let roots = std::sync::Arc::clone(&call.facade.roots);
        let opened = call.blocking(move || {
            let (path, file) = roots.file(&input.path)?;
            let modified = file.metadata().ok().and_then(|metadata| metadata.modified().ok());
            match header::read(&file) {
                Ok(read) => Ok((path, read, modified)),
                Err(NoHeader::Failed(failure)) => Err(failure),
                Err(NoHeader::NotAnEnvelope) => {
                    Err(Failure::new(Kind::NotAuthentic, "the file is no envelope"))
                }
            }
        });
        let (path, read, modified) = opened.await??;
        let header = &read.header;
        for recipient in header.recipients() {
            let checked = call.facade.policy.check(&call.caller, Look::Inspect, Some(recipient.key_uri()));
            checked.map_err(hidden)?;
        }
        let recipients = header.recipients().iter().map(|of| Recipient {
            key: words::shown(of.key_uri().as_str(), MAX_KEY),
            version: words::shown(of.key_version(), MAX_WORD),
            wrap_algorithm: of.wrap_algorithm().to_string(),
            post_quantum_safe: of.is_post_quantum_safe(),
        });
        let entry = |(name, value): (&String, &String)| {
            format!("{}={}", words::shown(name, MAX_WORD), words::shown(value, MAX_WORD))
        };
        let context: Vec<_> = header.stored_context().iter().take(MAX_ENTRIES).map(entry).collect();
        let withheld: Vec<_> =
            header.withheld().iter().take(MAX_ENTRIES).map(|name| words::shown(name, MAX_WORD)).collect();
        let entries = header.stored_context().len() + header.withheld().len();
        Ok(Output {
            path: words::path(&path),
            kind: header.kind().name().into(),
            envelope_id: words::hex(header.envelope_id()),
            generation: header.generation(),
            armored: read.is_armored,
            modified: times::of_file(modified),
            header_bytes: header.len() as u64,
            payload_bytes: read.payload,
            plaintext_bytes: read.plaintext(),
            recipients: recipients.collect(),
            left_out: (entries - context.len() - withheld.len()) as u64,
            context,
            withheld,
            unverified: words::UNVERIFIED.into(),
        })
    }
}

/// The rule that hides an envelope may say by its name whose key opens it: the log is told, and the client is not.
fn hidden(failure: Failure) -> Failure {
    match &failure.denial {
        Some(denial) if denial.why.is_none() => {
            Failure { message: "the policy does not show this envelope".into(), ..failure }
        }
        _ => failure,
    }
}

// 16 recipients, and as many entries and names: in JSON, backslashes doubled, less than an answer may have.
const MAX_KEY: usize = 300;
const MAX_WORD: usize = 100;
const MAX_ENTRIES: usize = 16;
