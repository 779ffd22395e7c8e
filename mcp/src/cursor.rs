//! Cursors: where the next page begins. Opaque to clients, and believed of nobody: what is in one is compared, never opened.

use base64ct::{Base64UrlUnpadded, Encoding};
use serde::{Serialize, de::DeserializeOwned};

use crate::Failure;

/// Most bytes of a cursor: a path of 4096 bytes, and what is around it, in base64.
const MAX_LEN: usize = 12 * 1024;

/// The text of a cursor of this tool.
pub(crate) fn write<T: Serialize>(tool: &str, position: &T) -> Result<String, Failure> {
    let json = serde_json::to_vec(&(tool, position)).map_err(|_| wrong())?;
    let text = Base64UrlUnpadded::encode_string(&json);
    if text.len() > MAX_LEN { Err(wrong()) } else { Ok(text) }
}

/// The position in a cursor of this tool; `None` where there is no cursor.
pub(crate) fn read<T: DeserializeOwned>(tool: &str, cursor: Option<&str>) -> Result<Option<T>, Failure> {
    let Some(text) = cursor else { return Ok(None) };
    if text.len() > MAX_LEN {
        return Err(wrong());
    }
    let json = Base64UrlUnpadded::decode_vec(text).map_err(|_| wrong())?;
    let (of, position): (String, T) = serde_json::from_slice(&json).map_err(|_| wrong())?;
    if of == tool { Ok(Some(position)) } else { Err(wrong()) }
}

fn wrong() -> Failure {
    Failure::usage("`cursor` is none of this tool")
        .hint("pass on `next_cursor` of the answer before, with the same arguments")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_of_another_tool_or_of_nobody_is_refused() {
        let cursor = write("a", &7_u32).unwrap();
        assert_eq!(read("a", Some(&cursor)), Ok(Some(7_u32)));
        assert_eq!(read::<u32>("a", None), Ok(None));
        for (tool, cursor) in
            [("b", cursor.as_str()), ("a", "%"), ("a", ""), ("a", "AAAA"), ("a", &"A".repeat(20_000))]
        {
            assert_eq!(read::<u32>(tool, Some(cursor)), Err(wrong()));
        }
    }
}
