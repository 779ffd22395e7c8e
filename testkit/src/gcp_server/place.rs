//! The names of resources, taken apart.

use super::{
    call::Call,
    reply::{Code, Refusal},
};

/// What a path names. Each name is that of the resource, or of the parent of what
/// is listed or made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Locations { project: String },
    Location(String),
    Rings { location: String },
    Ring(String),
    Keys { ring: String },
    Key(String),
    Versions { key: String },
    Version(String),
    Jobs { ring: String },
    Job(String),
}

impl Place {
    pub(super) fn of(path: &str) -> Option<Self> {
        let parts: Vec<&str> = path.split('/').collect();
        if parts.iter().any(|part| part.is_empty()) {
            return None;
        }
        let all = || path.to_owned();
        let parent = || parts[..parts.len() - 1].join("/");
        Some(match parts.as_slice() {
            ["projects", _, "locations"] => Self::Locations { project: parent() },
            ["projects", _, "locations", _] => Self::Location(all()),
            ["projects", _, "locations", _, "keyRings", rest @ ..] => match rest {
                [] => Self::Rings { location: parent() },
                [_] => Self::Ring(all()),
                [_, "cryptoKeys"] => Self::Keys { ring: parent() },
                [_, "cryptoKeys", _] => Self::Key(all()),
                [_, "cryptoKeys", _, "cryptoKeyVersions"] => Self::Versions { key: parent() },
                [_, "cryptoKeys", _, "cryptoKeyVersions", _] => Self::Version(all()),
                [_, "importJobs"] => Self::Jobs { ring: parent() },
                [_, "importJobs", _] => Self::Job(all()),
                _ => return None,
            },
            _ => return None,
        })
    }
}

/// The first `count` pairs of `COLLECTION/ID` of a name.
pub(super) fn ancestor(name: &str, count: usize) -> &str {
    name.match_indices('/').nth(2 * count - 1).map_or(name, |(end, _)| &name[..end])
}

/// The last part of a name.
pub(super) fn last(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or_default()
}

/// The name of what `call` makes in `collection`, by the parameter that has its
/// identifier.
pub(super) fn new_name(call: &Call, parameter: &str) -> Result<String, Refusal> {
    let id = call.parameter(parameter).unwrap_or_default();
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if !(1..=MAX_ID_LEN).contains(&id.len()) || !id.bytes().all(fits) {
        return Err(Refusal::invalid(format!(
            "The {parameter} '{id}' does not match the regular expression [a-zA-Z0-9_-]{{1,63}}."
        )));
    }
    Ok(format!("{}/{id}", call.path))
}

pub(super) fn not_found(kind: &str, name: &str) -> Refusal {
    Refusal::new(Code::NotFound, format!("{kind} {name} not found."))
}

pub(super) fn already_exists(kind: &str, name: &str) -> Refusal {
    Refusal::new(Code::AlreadyExists, format!("{kind} {name} already exists."))
}

const MAX_ID_LEN: usize = 63;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_their_parts() {
        let ring = "projects/p/locations/l/keyRings/r";
        let key = format!("{ring}/cryptoKeys/k");
        assert_eq!(Place::of(ring), Some(Place::Ring(ring.to_owned())));
        assert_eq!(Place::of(&format!("{ring}/cryptoKeys")), Some(Place::Keys { ring: ring.to_owned() }));
        let version = format!("{key}/cryptoKeyVersions/1");
        assert_eq!(Place::of(&version), Some(Place::Version(version.clone())));
        assert_eq!((ancestor(&version, 3), ancestor(&version, 4), last(&version)), (ring, key.as_str(), "1"));
        assert_eq!(ancestor(&key, 4), key);
        for wrong in
            ["", "projects/p", "projects//locations", "projects/p/locations/l/keyRings/r/x", "a/b/c/d"]
        {
            assert_eq!(Place::of(wrong), None, "{wrong}");
        }
    }
}
