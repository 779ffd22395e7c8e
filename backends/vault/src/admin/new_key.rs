//! Making keys.

use envelope_sdk::{
    KeyDescription, KeyState, KeyUri, NewKey, ProviderError,
    ProviderErrorKind::{Invalid, NotFound, Other, Unsupported},
    admin::cannot,
    key_uri::vault::is_transit_key_name,
    printable,
};
use serde::Serialize;

use super::{key::TransitKey, path};
use crate::{
    HashiVault,
    call::Call,
    error::{refusal, unsure},
    failure::{NAME, failure},
    scheme::name_of,
};

/// What is asked of Transit.
#[derive(Debug, Serialize, PartialEq, Eq)]
struct Asked {
    #[serde(rename = "type")]
    kind: &'static str,
    derived: bool,
    exportable: bool,
    allow_plaintext_backup: bool,
}

impl Asked {
    fn is(&self, made: &TransitKey) -> bool {
        made.kind == self.kind
            && made.derived == self.derived
            && !(made.exportable || made.plaintext_backup || made.convergent || made.imported)
            && made.latest_version == 1
    }
}

/// A key that may be made, as far as is known.
pub(super) struct Checked {
    uri: KeyUri,
    asked: Asked,
}

impl HashiVault {
    /// Refuses what the creation would, and says what it makes.
    pub(super) async fn check_new(&self, new: &NewKey) -> Result<Checked, ProviderError> {
        if !is_transit_key_name(&new.name) || new.name.len() > MAX_NAME_LEN {
            let message = "the name of a key has 1 to 128 characters of A–Z a–z 0–9 _ - . and neither begins nor ends with - or .";
            return Err(failure(Invalid, None, message));
        }
        let asked = asked(new)?;
        let uri = self.uri_of(&new.name)?;
        // Transit answers to the creation of a key that is there as if it had made it.
        match self.describe(&uri).await {
            Ok(_) => {
                let message = format!("there is a key {} already: rotate it, or take another name", new.name);
                Err(failure(Invalid, None, message))
            }
            Err(error) if error.kind() == NotFound => Ok(Checked { uri, asked }),
            Err(error) => Err(error),
        }
    }

    /// Makes a key, in one attempt.
    pub(super) async fn make_key(&self, new: &NewKey) -> Result<KeyDescription, ProviderError> {
        let Checked { uri, asked } = self.check_new(new).await?;
        let call = Call::write(path(name_of(&uri)?, "")).json(&asked);
        self.reach().call(&call).await.map_err(|failed| {
            let refused = refusal(&call, None, &failed);
            if failed.may_be_done() { unsure(&refused, LOOK) } else { refused }
        })?;
        let made = self.describe_changed(&uri, |_| true).await?;
        if asked.is(&made) { Ok(made.describe()) } else { Err(failure(Other, &uri, ANOTHER)) }
    }
}

fn asked(new: &NewKey) -> Result<Asked, ProviderError> {
    let no_place = [
        (new.description.is_some(), "keep descriptions of keys"),
        (!new.tags.is_empty(), "keep tags of keys"),
        (new.not_after.is_some(), "keep the end of a cryptoperiod"),
        (new.state != KeyState::Active, "make keys that are not active"),
    ];
    if let Some((_, what)) = no_place.iter().find(|(is_asked, _)| *is_asked) {
        return Err(cannot(NAME, None, what));
    }
    let refuse = |message: String| Err(failure(Unsupported, None, message));
    let kind = match new.algorithm.as_deref() {
        None => MADE[0],
        Some(name) => match MADE.iter().find(|kind| **kind == name) {
            Some(kind) => kind,
            None => {
                return refuse(format!(
                    "{} is no type of key that is made here: there are {}",
                    printable::cut(name, SHOWN),
                    MADE.join(" and ")
                ));
            }
        },
    };
    let mut derived = false;
    for (name, value) in &new.options {
        match name.as_str() {
            "derived" => match value.as_str() {
                "true" => derived = true,
                "false" => derived = false,
                _ => return Err(failure(Invalid, None, "the option derived is true or false")),
            },
            "exportable" | "allow-plaintext-backup" | "allow_plaintext_backup" => {
                return refuse(EXPORTABLE.to_owned());
            }
            other => {
                return refuse(format!(
                    "a key of Transit has no option {} here: there is derived",
                    printable::cut(other, SHOWN)
                ));
            }
        }
    }
    Ok(Asked { kind, derived, exportable: false, allow_plaintext_backup: false })
}

/// The first one is made unless another one is asked for.
const MADE: [&str; 2] = ["aes256-gcm96", "chacha20-poly1305"];
const MAX_NAME_LEN: usize = 128;
const LOOK: &str = "describe the key, before another is made";
const ANOTHER: &str = "a key of that name is there, and is not the one that was asked for: somebody else made it at the same \
                       moment, or has changed it; describe it";
const EXPORTABLE: &str = "keys that can be exported, or backed up in plain text, are not made: a key that leaves its key store is \
                          guarded by nobody";
/// Characters that are shown of a word of the caller.
const SHOWN: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_of_256_bits_and_never_leaves_the_server() {
        let new = || NewKey::named("k");
        let of =
            |new: NewKey| asked(&new).map(|asked| (asked.kind, asked.derived)).map_err(|error| error.kind());
        assert_eq!(of(new()), Ok(("aes256-gcm96", false)));
        assert_eq!(
            of(new().algorithm("chacha20-poly1305").option("derived", "true")),
            Ok(("chacha20-poly1305", true))
        );
        assert_eq!(of(new().option("derived", "false")), Ok(("aes256-gcm96", false)));
        assert_eq!(of(new().option("derived", "yes")), Err(Invalid));
        for kind in ["aes128-gcm96", "rsa-4096", "ed25519", "hmac", ""] {
            assert_eq!(of(new().algorithm(kind)), Err(Unsupported), "{kind}");
        }
        for option in ["exportable", "allow-plaintext-backup", "convergent-encryption", "x"] {
            assert_eq!(of(new().option(option, "true")), Err(Unsupported), "{option}");
        }
        for new in [new().description("d"), new().tag("a", "b"), new().not_after(1), new().pre_active()] {
            let error = asked(&new).unwrap_err();
            assert!(
                error.kind() == Unsupported && error.message().starts_with("this key store cannot"),
                "{error}"
            );
        }
    }

    #[test]
    fn another_key_than_was_asked_for_is_told_from_it() {
        let asked = asked(&NewKey::named("k")).unwrap();
        let made = super::super::key::of_numbers(1, 0, 1, 0).unwrap();
        assert!(asked.is(&made));
        for other in [
            TransitKey { kind: "aes128-gcm96".into(), ..made.clone() },
            TransitKey { derived: true, ..made.clone() },
            TransitKey { convergent: true, ..made.clone() },
            TransitKey { exportable: true, ..made.clone() },
            TransitKey { plaintext_backup: true, ..made.clone() },
            TransitKey { imported: true, ..made.clone() },
            TransitKey { latest_version: 2, ..made },
        ] {
            assert!(!asked.is(&other), "{other:?}");
        }
    }
}
