//! Cursors: where the next page begins. Sealed: the place is often the path of a file, perhaps of one that its client is not shown.

use std::sync::LazyLock;

use base64ct::{Base64UrlUnpadded, Encoding};
use envelope_sdk::crypto::{DefaultEngine, Key256, RandomError, xaes::XaesKey};
use serde::{Serialize, de::DeserializeOwned};

use crate::{Failure, Kind};

/// Most bytes of a cursor: a path of 4096 bytes, and what is around it, in base64.
const MAX_LEN: usize = 12 * 1024;

/// Of this process, so that nobody keeps it: a cursor is good until the server ends.
static KEY: LazyLock<Result<XaesKey<DefaultEngine>, RandomError>> =
    LazyLock::new(|| Key256::generate::<DefaultEngine>().map(|key| XaesKey::new(&key)));

/// The text of a cursor of this tool.
pub(crate) fn write<T: Serialize>(tool: &str, position: &T) -> Result<String, Failure> {
    let failed = || Failure::new(Kind::Other, "the next page cannot be named");
    let json = serde_json::to_vec(position).map_err(|_| failed())?;
    let sealed = KEY.as_ref().map_err(|_| failed())?.seal(&json, tool.as_bytes()).map_err(|_| failed())?;
    let text = Base64UrlUnpadded::encode_string(&sealed);
    if text.len() > MAX_LEN { Err(failed()) } else { Ok(text) }
}

/// The position in a cursor of this tool; `None` where there is no cursor.
pub(crate) fn read<T: DeserializeOwned>(tool: &str, cursor: Option<&str>) -> Result<Option<T>, Failure> {
    let Some(text) = cursor else { return Ok(None) };
    if text.len() > MAX_LEN {
        return Err(wrong());
    }
    let sealed = Base64UrlUnpadded::decode_vec(text).map_err(|_| wrong())?;
    let key = KEY.as_ref().map_err(|_| wrong())?;
    let json = key.open(&sealed, tool.as_bytes()).map_err(|_| wrong())?;
    serde_json::from_slice(&json).map(Some).map_err(|_| wrong())
}

fn wrong() -> Failure {
    Failure::usage("`cursor` is none of this tool")
        .hint("pass on `next_cursor` of the answer before, with the same arguments; one from before the server began anew is good no more")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_of_another_tool_or_of_nobody_is_refused() {
        let cursor = write("a", &7_u32).unwrap();
        assert_eq!(read("a", Some(&cursor)), Ok(Some(7_u32)));
        assert_eq!(read::<u32>("a", None), Ok(None));
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
            assert_eq!(read::<u32>(tool, Some(cursor)), Err(wrong()));
        }
    }

    #[test]
    fn a_cursor_does_not_tell_its_place() {
        let path = "/srv/archive/of-somebody-else.envelope";
        let cursor = write("a", &path).unwrap();
        let bytes = Base64UrlUnpadded::decode_vec(&cursor).unwrap();
        assert!(!bytes.windows(7).any(|window| window == b"archive"), "{cursor}");
        assert_ne!(cursor, write("a", &path).unwrap());
    }
}
