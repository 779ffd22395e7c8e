//! Cursors: where the next page begins. Sealed: the place is often the path of a file, perhaps of one that its client is not shown.

use std::{collections::BTreeMap, sync::LazyLock};

use base64ct::{Base64UrlUnpadded, Encoding};
use envelope_sdk::crypto::{DefaultEngine, Key256, RandomError, xaes::XaesKey};
use rmcp::model::JsonObject;
use serde::{Serialize, de::DeserializeOwned};

use crate::{Caller, Failure, Kind};

/// Most bytes of a cursor: a path of 4096 bytes, and what is around it, in base64.
const MAX_LEN: usize = 12 * 1024;

/// Of this process, so that nobody keeps it: a cursor is good until the server ends.
static KEY: LazyLock<Result<XaesKey<DefaultEngine>, RandomError>> =
    LazyLock::new(|| Key256::generate::<DefaultEngine>().map(|key| XaesKey::new(&key)));

/// What a cursor is good for: the tool, the client and the question. Of another folder or bucket, a page would tell which of its names
/// come before the place that is sealed, and with enough of them the place itself.
pub(crate) struct Asked(String);

impl Asked {
    pub(crate) fn new(tool: &str, caller: &Caller, arguments: &JsonObject) -> Self {
        // In the order of their names, whatever order they came in. A page may be longer than the one before.
        let same: BTreeMap<_, _> = arguments
            .iter()
            .filter(|(name, value)| !["cursor", "limit"].contains(&name.as_str()) && !value.is_null())
            .collect();
        Self(serde_json::json!([tool, caller.actor(), same]).to_string())
    }
}

/// The text of a cursor.
pub(crate) fn write<T: Serialize>(asked: &Asked, position: &T) -> Result<String, Failure> {
    let failed = || Failure::new(Kind::Other, "the next page cannot be named");
    let mut json = serde_json::to_vec(position).map_err(|_| failed())?;
    // White space behind it: the length of a cursor says little of that of a path.
    json.resize(json.len().next_multiple_of(STEP), b' ');
    let key = KEY.as_ref().map_err(|_| failed())?;
    let sealed = key.seal(&json, asked.0.as_bytes()).map_err(|_| failed())?;
    let text = Base64UrlUnpadded::encode_string(&sealed);
    if text.len() > MAX_LEN { Err(failed()) } else { Ok(text) }
}

/// The position in a cursor; `None` where there is no cursor.
pub(crate) fn read<T: DeserializeOwned>(asked: &Asked, cursor: Option<&str>) -> Result<Option<T>, Failure> {
    let Some(text) = cursor else { return Ok(None) };
    if text.len() > MAX_LEN {
        return Err(wrong());
    }
    let sealed = Base64UrlUnpadded::decode_vec(text).map_err(|_| wrong())?;
    let key = KEY.as_ref().map_err(|_| wrong())?;
    let json = key.open(&sealed, asked.0.as_bytes()).map_err(|_| wrong())?;
    serde_json::from_slice(&json).map(Some).map_err(|_| wrong())
}

fn wrong() -> Failure {
    Failure::usage("`cursor` is none of this tool")
        .hint("pass on `next_cursor` of the answer before, with the same arguments; one from before the server began anew is good no more")
}

/// Bytes by which a place grows.
const STEP: usize = 128;

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn asked(tool: &str, caller: &Caller, arguments: Value) -> Asked {
        let Value::Object(arguments) = arguments else { panic!("{arguments}") };
        Asked::new(tool, caller, &arguments)
    }

    fn of(tool: &str) -> Asked {
        asked(tool, &Caller::local(), json!({}))
    }

    #[test]
    fn a_cursor_of_another_tool_or_of_nobody_is_refused() {
        let cursor = write(&of("a"), &7_u32).unwrap();
        assert_eq!(read(&of("a"), Some(&cursor)), Ok(Some(7_u32)));
        assert_eq!(read::<u32>(&of("a"), None), Ok(None));
        let forged = Base64UrlUnpadded::encode_string(br#"["a",7]"#);
        for (tool, cursor) in [
            ("b", cursor.as_str()),
            ("a", &cursor[1..]),
            ("a", "%"),
            ("a", ""),
            ("a", "AAAA"),
            ("a", &forged),
            ("a", &"A".repeat(20_000)),
        ] {
            assert_eq!(read::<u32>(&of(tool), Some(cursor)), Err(wrong()));
        }
    }

    #[test]
    fn a_cursor_does_not_tell_its_place() {
        let path = "/srv/archive/of-somebody-else.envelope";
        let cursor = write(&of("a"), &path).unwrap();
        let bytes = Base64UrlUnpadded::decode_vec(&cursor).unwrap();
        assert!(!bytes.windows(7).any(|window| window == b"archive"), "{cursor}");
        assert_ne!(cursor, write(&of("a"), &path).unwrap());
        assert_eq!(cursor.len(), write(&of("a"), &"/srv").unwrap().len(), "nor how long it is");
    }

    #[test]
    fn a_cursor_is_good_for_its_client_and_question_alone_and_for_pages_of_any_length() {
        let (one, other) = (Caller::local(), Caller::named("spiffe://acme.example/other").unwrap());
        let question = json!({ "under": "/srv", "alone": true, "limit": 1 });
        let cursor = write(&asked("a", &one, question), &7_u32).unwrap();
        let same = json!({ "cursor": cursor, "limit": 9, "alone": true, "under": "/srv", "key": null });
        assert_eq!(read(&asked("a", &one, same.clone()), Some(&cursor)), Ok(Some(7_u32)));
        for asked in [
            asked("a", &other, same),
            asked("a", &one, json!({ "under": "/srv/sub", "alone": true })),
            asked("a", &one, json!({ "under": "/srv" })),
            asked("a", &one, json!({})),
        ] {
            assert_eq!(read::<u32>(&asked, Some(&cursor)), Err(wrong()));
        }
    }
}
