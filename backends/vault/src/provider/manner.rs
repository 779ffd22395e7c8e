//! How wraps bind the context, and how that is found out.
//!
//! Servers before Vault 1.13 take `associated_data` without a word and ignore it, as every server does
//! with the `context` of a key that is not derived. A wrap that says that it is bound would then not be.
//! So the server is not asked for its version, which whatever stands before it may hide, nor for the
//! key, which a caller who may only encrypt must not read: it is put to the test, by a call that this
//! caller may make, once for each key. Two plaintexts of zeros are encrypted in one call without a
//! context, the first of them with associated data that is no base64:
//!
//! | The first | The second | So |
//! |---|---|---|
//! | is refused | is encrypted | associated data is heeded |
//! | is encrypted | is encrypted | it is ignored |
//! | is refused | is refused for want of a context | the key is derived |
//!
//! Vault has no call that changes one of the three for a key that is there. But a key may be deleted and made anew, and of
//! a cluster that is being upgraded another node may answer. So what was found out says how to ask, and each wrap is
//! proven by the call that makes it: beside the DEK, a plaintext of zeros is encrypted that only a key and a server refuse
//! which bind so, either with associated data that is no base64, or with a context that decodes to nothing.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex as Lock},
};

use aws_lc_rs::digest::{SHA256, digest};
use envelope_sdk::{
    Dek, FullContext, KeyUri, ProviderError,
    ProviderErrorKind::{Other, Unsupported},
    WrappedDek,
    crowd::Crowd,
};
use serde::Deserialize;

use super::{Refused, answer, encrypt};
use crate::{
    call::{Answer, Failed},
    error::{Opens, of_item, refusal, unreadable},
    failure::failure,
    json::Object,
    reach::{Reach, lock},
};

/// How wraps bind the context.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Binding {
    /// As well as the key and the server do: by its derivation where the key is derived, otherwise by
    /// associated data where the server heeds it, and by the envelope alone where it does not.
    #[default]
    Best,
    /// By associated data, or not at all: nothing is wrapped where the server ignores it.
    AssociatedData,
    /// By the derivation of the key, or not at all: nothing is wrapped under a key that is not
    /// derived.
    Derived,
    /// By the envelope alone, with keys that are not derived. Nothing is found out.
    Envelope,
}

impl Binding {
    /// As settings name it: `best`, `associated-data`, `derived` or `none`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Best => "best",
            Self::AssociatedData => "associated-data",
            Self::Derived => "derived",
            Self::Envelope => "none",
        }
    }

    /// The one of that [`name`](Self::name), spelled exactly.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Best, Self::AssociatedData, Self::Derived, Self::Envelope]
            .into_iter()
            .find(|binding| binding.name() == name)
    }

    fn choose(self, key: &KeyUri, found: Found) -> Result<Manner, ProviderError> {
        let refuse = |message| Err(failure(Unsupported, key, message));
        match (self, found) {
            (Self::Best | Self::Derived, Found::Derived) => Ok(Manner::Derived),
            (Self::Best | Self::AssociatedData, Found::Heeds) => Ok(Manner::AssociatedData),
            (Self::Best | Self::Envelope, Found::Ignores) | (Self::Envelope, Found::Heeds) => {
                Ok(Manner::Plain)
            }
            (Self::AssociatedData, Found::Ignores) => refuse(IGNORES),
            (Self::AssociatedData, Found::Derived) => refuse(
                "the key is derived, and binds the context by that: set context-binding to best or derived",
            ),
            (Self::Derived, Found::Heeds | Found::Ignores) => {
                refuse("the key is not derived: use another one, or set context-binding to best")
            }
            (Self::Envelope, Found::Derived) => {
                refuse("the key is derived, and wraps nothing without a context: set context-binding to best")
            }
        }
    }
}

/// How one wrap is bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// The encoded full context is the associated data.
    AssociatedData,
    /// The key is derived for the SHA-256 of the encoded full context.
    Derived,
    Plain,
}

impl Manner {
    const ALL: [Self; 3] = [Self::AssociatedData, Self::Derived, Self::Plain];

    /// As it is recorded with a wrap.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::AssociatedData => "VAULT-TRANSIT-AD",
            Self::Derived => "VAULT-TRANSIT-DERIVED",
            Self::Plain => "VAULT-TRANSIT",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|manner| manner.name() == name)
    }

    /// Asks for a wrap, and for what is to be refused.
    pub(super) fn ask(self, body: &mut Object, dek: &Dek, context: &FullContext) {
        let mut proof = zeros();
        match self {
            Self::AssociatedData => proof.text("associated_data", NO_BASE64),
            Self::Derived => proof.text("context", EMPTY_BASE64),
            Self::Plain => {
                body.base64("plaintext", dek.expose());
                return;
            }
        }
        let mut item = Object::new();
        item.base64("plaintext", dek.expose());
        self.bind(&mut item, context);
        in_one_call(body, [proof, item]);
    }

    /// Whether a refusal is one of what was asked for, and not of all of it.
    pub(super) fn is_answer(self, answer: &Answer) -> bool {
        self != Self::Plain && answer.data::<Results<'_>>().is_some()
    }

    /// The wrap, if it is bound so.
    pub(super) fn wrapped(self, key: &KeyUri, answer: &Answer) -> Result<WrappedDek, Refused> {
        let proof = match self {
            Self::AssociatedData => BAD_BASE64,
            Self::Derived => NO_CONTEXT,
            Self::Plain => return Ok(answer::wrapped(key, self, answer)?),
        };
        let Some(Results { batch_results }) = answer.data::<Results<'_>>() else {
            return Err(unreadable(key).into());
        };
        let [first, second] = batch_results.as_slice() else { return Err(unreadable(key).into()) };
        if let Some(error) = second.refused() {
            let of_item = of_item(key, error, Opens::No);
            let is_of_kind = error.contains(NO_CONTEXT) || error.contains("non-AEAD cipher suite");
            return Err(if is_of_kind { Refused::Manner(of_item) } else { of_item.into() });
        }
        let text = second.ciphertext.ok_or_else(|| unreadable(key))?;
        let wrapped = answer::wrap_of(key, self, text, second.key_version)?;
        match first.refused() {
            Some(error) if error.contains(proof) => Ok(wrapped),
            // Of something else: it proves nothing.
            Some(error) => Err(of_item(key, error, Opens::No).into()),
            None => Err(Refused::Manner(unreadable(key))),
        }
    }

    /// Adds what binds to a request.
    pub(super) fn bind(self, body: &mut Object, context: &FullContext) {
        match self {
            Self::AssociatedData => body.base64("associated_data", context.as_bytes()),
            Self::Derived => body.base64("context", digest(&SHA256, context.as_bytes()).as_ref()),
            Self::Plain => {}
        }
    }
}

/// What a server does with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Derived,
    Heeds,
    Ignores,
}

/// What was found out of each key.
pub(super) struct Manners {
    binding: Binding,
    keys: Lock<BTreeMap<KeyUri, Arc<Known>>>,
}

/// One key: found out once by a crowd of calls.
#[derive(Default)]
struct Known {
    manner: Lock<Option<Manner>>,
    finding: Crowd<Result<Manner, ProviderError>>,
}

impl Manners {
    pub(super) fn new(binding: Binding) -> Self {
        Self { binding, keys: Lock::default() }
    }

    pub(super) fn binding(&self) -> Binding {
        self.binding
    }

    /// What is known, if something is.
    pub(super) fn known(&self, key: &KeyUri) -> Option<Manner> {
        match self.binding {
            Binding::AssociatedData => Some(Manner::AssociatedData),
            Binding::Derived => Some(Manner::Derived),
            Binding::Envelope => Some(Manner::Plain),
            Binding::Best => lock(&self.keys).get(key).and_then(|known| *lock(&known.manner)),
        }
    }

    pub(super) fn forget(&self, key: &KeyUri) {
        lock(&self.keys).remove(key);
    }

    pub(super) async fn of(&self, reach: &Arc<Reach>, key: &KeyUri) -> Result<Manner, ProviderError> {
        if self.binding == Binding::Envelope {
            return Ok(Manner::Plain);
        }
        let known = Arc::clone(lock(&self.keys).entry(key.clone()).or_default());
        if let Some(manner) = *lock(&known.manner) {
            return Ok(manner);
        }
        let (binding, reach, key, kept) = (self.binding, Arc::clone(reach), key.clone(), Arc::clone(&known));
        let about = key.clone();
        let found = known.finding.join(|| async move {
            if let Some(manner) = *lock(&kept.manner) {
                return Ok(manner);
            }
            let manner = binding.choose(&key, find(&reach, &key).await?)?;
            *lock(&kept.manner) = Some(manner);
            Ok(manner)
        });
        found.await.map_err(|panicked| {
            failure(Other, &about, "it was not found out how the key binds").with_source(panicked)
        })?
    }
}

#[derive(Deserialize)]
struct Results<'a> {
    #[serde(borrow)]
    batch_results: Vec<One<'a>>,
}

#[derive(Deserialize)]
struct One<'a> {
    ciphertext: Option<&'a str>,
    key_version: Option<u32>,
    error: Option<String>,
}

impl One<'_> {
    fn refused(&self) -> Option<&str> {
        self.error.as_deref().filter(|error| !error.is_empty())
    }
}

/// Whether the key is a derived one now.
pub(super) async fn is_derived(reach: &Reach, key: &KeyUri) -> Result<bool, ProviderError> {
    Ok(find(reach, key).await? == Found::Derived)
}

fn zeros() -> Object {
    let mut item = Object::new();
    item.base64("plaintext", &[0; Dek::LEN]);
    item
}

fn in_one_call(body: &mut Object, items: [Object; 2]) {
    body.list("batch_input", items);
    // Else what the first comes to, which Vault takes for trouble of its own, is answered with 500.
    body.number("partial_failure_response_code", 200);
}

async fn find(reach: &Reach, key: &KeyUri) -> Result<Found, ProviderError> {
    let call = encrypt(key, |body| {
        let mut first = zeros();
        first.text("associated_data", NO_BASE64);
        in_one_call(body, [first, zeros()]);
    })?;
    match reach.call(&call).await {
        Ok(answer) => found(key, &answer),
        // Both are refused, and why stands beside each.
        Err(Failed::Refused(refused)) if refused.status == 400 && refused.errors.is_none() => {
            found(key, &Answer { body: refused.body })
        }
        Err(failed) => Err(refusal(&call, key, &failed)),
    }
}

fn found(key: &KeyUri, answer: &Answer) -> Result<Found, ProviderError> {
    let Some(Results { batch_results }) = answer.data::<Results<'_>>() else { return Err(unreadable(key)) };
    let [first, second] = batch_results.as_slice() else { return Err(unreadable(key)) };
    if let Some(error) = second.refused() {
        return if first.refused().is_some() && error.contains(NO_CONTEXT) {
            Ok(Found::Derived)
        } else {
            Err(of_item(key, error, Opens::No))
        };
    }
    answer::text(key, second.ciphertext.unwrap_or_default())?;
    match first.refused() {
        Some(error) if error.contains(BAD_BASE64) => Ok(Found::Heeds),
        // Of something else: it says nothing of what is heeded.
        Some(error) => Err(of_item(key, error, Opens::No)),
        None => {
            answer::text(key, first.ciphertext.unwrap_or_default())?;
            Ok(Found::Ignores)
        }
    }
}

/// No text in base64, whatever its alphabet.
const NO_BASE64: &str = "!";
/// A context that is there, and decodes to nothing: Go passes over ends of lines.
const EMPTY_BASE64: &str = "\n";
/// What a server says of the one, and of the other.
const BAD_BASE64: &str = "illegal base64";
pub(super) const NO_CONTEXT: &str = "missing 'context' for key derivation";
const IGNORES: &str = "this server ignores associated data, as Vault before 1.13 does: use derived keys and set context-binding to \
                       best, which without them leaves the context to the envelope alone";

#[cfg(test)]
mod tests {
    use envelope_sdk::ProviderErrorKind::{NotFound, Protocol};
    use serde_json::{Value, json};
    use zeroize::Zeroizing;

    use super::*;

    fn of(results: &Value) -> Result<Found, ProviderError> {
        let key = KeyUri::parse("hashivault://transit/orders").unwrap();
        let body = serde_json::to_vec(&json!({"data": {"batch_results": results}})).unwrap();
        found(&key, &Answer { body: Zeroizing::new(body) })
    }

    fn good() -> Value {
        use base64ct::{Base64, Encoding};
        json!({"ciphertext": format!("vault:v1:{}", Base64::encode_string(&[1; 60])), "key_version": 1})
    }

    #[test]
    fn what_a_server_heeds_shows_in_what_it_refuses() {
        let bad = json!({"error": "unable to get associated_data: illegal base64 data at input byte 0"});
        let derived = json!({"error": "missing 'context' for key derivation; the key was created …"});
        assert_eq!(of(&json!([bad, good()])).unwrap(), Found::Heeds);
        assert_eq!(of(&json!([good(), good()])).unwrap(), Found::Ignores);
        assert_eq!(of(&json!([derived, derived])).unwrap(), Found::Derived);
        for (results, kind) in [
            (json!([]), Protocol),
            (json!([good()]), Protocol),
            (json!([bad, {}]), Protocol),
            (json!([{}, good()]), Protocol),
            (json!([{"error": "the server's trouble"}, good()]), envelope_sdk::ProviderErrorKind::Invalid),
            (json!([good(), derived]), envelope_sdk::ProviderErrorKind::Unauthentic),
            (json!([bad, {"error": "encryption key not found"}]), NotFound),
            (json!([bad, {"error": "message encryption not supported for key type ed25519"}]), Unsupported),
            (json!([bad, {"ciphertext": format!("vault:v1:{}", "A".repeat(344))}]), Unsupported),
        ] {
            assert_eq!(of(&results).unwrap_err().kind(), kind, "{results}");
        }
    }

    #[test]
    fn a_binding_is_never_less_than_what_was_asked_for() {
        let key = KeyUri::parse("hashivault://transit/orders").unwrap();
        let of = |binding: &str, found| Binding::from_name(binding).unwrap().choose(&key, found).ok();
        use Manner::{AssociatedData, Derived, Plain};
        for (binding, heeds, ignores, derived) in [
            ("best", Some(AssociatedData), Some(Plain), Some(Derived)),
            ("associated-data", Some(AssociatedData), None, None),
            ("derived", None, None, Some(Derived)),
            ("none", Some(Plain), Some(Plain), None),
        ] {
            assert_eq!(of(binding, Found::Heeds), heeds, "{binding}");
            assert_eq!(of(binding, Found::Ignores), ignores, "{binding}");
            assert_eq!(of(binding, Found::Derived), derived, "{binding}");
        }
        assert_eq!(Binding::from_name("aad"), None);
    }

    #[test]
    fn each_manner_is_found_by_its_name_and_no_other_is() {
        for manner in Manner::ALL {
            assert_eq!(Manner::from_name(manner.name()), Some(manner));
        }
        for name in ["VAULT", "VAULT-TRANSIT-AAD", "vault-transit", ""] {
            assert_eq!(Manner::from_name(name), None, "{name}");
        }
    }
}
