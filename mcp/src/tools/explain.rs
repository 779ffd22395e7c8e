//! `explain_error`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Tool;
use crate::{Failure, Kind, Look, call::Call};

pub(super) struct ExplainError;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    /// The exit code of envctl, 0 to 255.
    #[serde(default)]
    exit_code: Option<u8>,
    /// Or the `kind` of an error in JSON: `not-authentic`, `key-refused`, …
    #[serde(default)]
    kind: Option<String>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Output {
    exit_code: u8,
    /// Null where there is none: success, and signals.
    kind: Option<String>,
    meaning: String,
    /// Most likely first.
    causes: Vec<String>,
    what_to_do: Vec<String>,
}

impl Tool for ExplainError {
    const NAME: &'static str = "explain_error";
    const TITLE: &'static str = "Explain an error";
    const DESCRIPTION: &'static str =
        "Explains an exit code or an error kind of envctl: what it means, what causes it, and what to do.";
    const ASKS: Option<Look> = Some(Look::Survey);
    type Input = Input;
    type Output = Output;

    async fn call(_: Call, input: Input) -> Result<Output, Failure> {
        let kind = match (input.exit_code, input.kind) {
            (Some(code), None) => match Kind::ALL.into_iter().find(|kind| kind.exit_code() == code) {
                Some(kind) => kind,
                None => return of_code(code),
            },
            (None, Some(name)) => {
                Kind::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| {
                    let known: Vec<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
                    Failure::usage(format!("a kind is one of {}", known.join(", ")))
                })?
            }
            _ => return Err(Failure::usage("name either `exit_code` or `kind`")),
        };
        let (meaning, causes, what_to_do) = of_kind(kind);
        Ok(output(kind.exit_code(), Some(kind.name()), meaning, causes, what_to_do))
    }
}

fn of_code(code: u8) -> Result<Output, Failure> {
    let signal = |meaning| Ok(output(code, None, meaning, &[], &[PARTLY]));
    match code {
        0 => Ok(output(0, None, "Everything was done.", &[], &[])),
        129 => signal("The terminal or session was closed (SIGHUP)."),
        130 => signal("It was interrupted by Ctrl-C (SIGINT)."),
        137 => signal("It was killed (SIGKILL), by a person or for want of memory."),
        143 => signal("It was told to end (SIGTERM)."),
        128..=192 => signal("It was ended by the signal whose number is this less 128."),
        _ => Err(Failure::usage("envctl has no such exit code: it has 0 to 7, and 128 and more for signals")),
    }
}

fn output(code: u8, kind: Option<&str>, meaning: &str, causes: &[&str], what_to_do: &[&str]) -> Output {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    Output {
        exit_code: code,
        kind: kind.map(Into::into),
        meaning: meaning.into(),
        causes: owned(causes),
        what_to_do: owned(what_to_do),
    }
}

type Explained = (&'static str, &'static [&'static str], &'static [&'static str]);

fn of_kind(kind: Kind) -> Explained {
    match kind {
        Kind::Other => (
            "Something failed that no other code is for.",
            &[
                "too few threads, descriptors or memory",
                "a key store answered what it should not",
                "an error in envctl",
            ],
            &[
                "read the message and its hint",
                "run it again with --trace, which says how far each call to a key store came",
            ],
        ),
        Kind::Usage => (
            "The words of the call, or the configuration, do not fit together. Nothing was done.",
            &[
                "an option that does not go with another",
                "a key or alias that is spelled otherwise",
                "a mistake in the configuration or policy",
                "a key store that cannot do what was asked",
            ],
            &["read the hint", "`envctl COMMAND --help`", "`envctl policy check FILE` for a policy"],
        ),
        Kind::InputOutput => (
            "A file, folder, pipe or disk failed or is not trusted. The output is whole or not there.",
            &[
                "no such file, no permission, no room",
                "a secret, keystore or configuration that others may read or write",
                "another process works on the file",
                "an audit log that cannot be written",
            ],
            &[
                "see owner and mode of the file that is named, and of its folders",
                "`envctl rotate` finishes what was cut off",
            ],
        ),
        Kind::NotAuthentic => (
            "What was to be opened did not open: wrong key, passphrase or context, or it was changed. No plaintext was let out.",
            &[
                "another key, profile or passphrase than it was encrypted for",
                "an entry of the context that is expected and has another value",
                "the file is damaged or was changed",
                "a file that is no envelope",
            ],
            &[
                "inspect_envelope shows which keys open it and which context it has",
                "compare with another copy of the file",
                "do not guess passphrases: each try costs Argon2id",
            ],
        ),
        Kind::KeyRefused => (
            "A key was refused: no permission, its state, the policy, or it is not there.",
            &[
                "the key is suspended, destroyed or pre-active, or wraps no more",
                "the policy denies the actor",
                "the credentials lack a right at the key store",
                "the key was deleted",
            ],
            &[
                "describe_key shows its state",
                "policy_explain says which rule decides",
                "audit_search with outcome `denied` or `failed`",
            ],
        ),
        Kind::Unreachable => (
            "A key store did not answer in time, or too many calls were made.",
            &[
                "the network, a proxy, the region or the address",
                "throttling by the key store",
                "a token that is not plugged in",
            ],
            &[
                "try again later: nothing was changed",
                "`--rate` for jobs with many calls",
                "another recipient whose key store answers opens the file too",
            ],
        ),
        Kind::LogInvalid => (
            "An audit log is not what was written: a line was changed, removed or added, or the key file is gone.",
            &[
                "somebody changed it",
                "it was restored from an older copy",
                "the disk lost what it had acknowledged",
            ],
            &[
                "keep it as it is: it is evidence",
                "audit_verify names the first bad line",
                "`envctl audit verify` with the key of the log and with anchors, by a person",
            ],
        ),
    }
}

const PARTLY: &str =
    "Outputs are whole or not there; the same call again does the rest. A job with --resume goes on.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_exit_code_and_signal_has_a_meaning() {
        for kind in Kind::ALL {
            assert!(!of_kind(kind).0.is_empty() && !of_kind(kind).2.is_empty(), "{}", kind.name());
        }
        for code in [0, 128, 129, 130, 143, 192] {
            assert!(of_code(code).is_ok(), "{code}");
        }
        assert!(of_code(8).is_err() && of_code(200).is_err());
    }
}
