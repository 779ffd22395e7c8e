//! Making keys.

use azure_core::http::RequestContent;
use azure_security_keyvault_keys::models::{CreateKeyParameters, KeyAttributes, KeyOperation, KeyType};
use envelope_sdk::{
    KeyDescription, KeyState, KeyUri, NewKey, ProviderError,
    ProviderErrorKind::{Invalid, NotFound, Other, Protocol, Unsupported},
    key_uri::azure::VaultKey,
    printable,
};

use super::{CREATE, answer::differs, changes::Plan, keys::version_told, moment, now, tags};
use crate::{
    AzureKeyVault, SymmetricAlgorithm,
    error::{refusal, unsure, words},
    failure::failure,
    reach::name_of,
};

/// A key that may be made, as far as is known.
pub(super) struct Checked {
    uri: KeyUri,
    kind: Kind,
    not_before: Option<u64>,
    expires: Option<u64>,
}

/// A kind of key.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Kind {
    kty: KeyType,
    bits: i32,
}

impl Kind {
    fn is_rsa(&self) -> bool {
        matches!(self.kty, KeyType::Rsa | KeyType::RsaHsm)
    }
}

impl AzureKeyVault {
    /// Refuses what the creation would, and says what it makes.
    pub(super) async fn check_new(&self, new: &NewKey) -> Result<Checked, ProviderError> {
        let host = self.the_vault()?;
        if !(1..=MAX_NAME_LEN).contains(&new.name.len()) {
            return Err(failure(Invalid, None, "the name of a key has 1 to 127 characters of A–Z a–z 0–9 -"));
        }
        let uri = Self::uri_in(host, &new.name)?;
        let kind = kind(new, name_of(&uri)?)?;
        if kind.is_rsa() && self.ways().post_quantum_safe_only {
            return Err(failure(Invalid, None, words::NO_RSA));
        }
        let (not_before, expires) = window(new, now())?;
        let mut written = new.tags.clone();
        if new.tags.contains_key(tags::NOT_AFTER) {
            return Err(failure(Invalid, None, tags::KEPT));
        }
        if let Some(words) = &new.description
            && written.insert(tags::DESCRIPTION.to_owned(), words.clone()).is_some()
        {
            return Err(failure(
                Invalid,
                None,
                "the description is kept as a tag of that name: leave out one of them",
            ));
        }
        if new.not_after.is_some() {
            // The longest that it may become.
            written.insert(tags::NOT_AFTER.to_owned(), "-".repeat(53));
        }
        tags::check(&written)?;
        if new.not_after.is_some_and(|end| moment(end).is_none()) {
            return Err(failure(Invalid, None, "the end of the cryptoperiod is no date that can be kept"));
        }
        match self.describe(&uri).await {
            Ok(told) => {
                let message = if told.deleted.is_some() {
                    format!("there is a deleted key {}: restore or purge it, or take another name", new.name)
                } else {
                    // A creation would make a version of it, perhaps of another kind.
                    format!("there is a key {} already: rotate it, or take another name", new.name)
                };
                return Err(failure(Invalid, None, message));
            }
            Err(error) if error.kind() == NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(Checked { uri, kind, not_before, expires })
    }

    /// Makes a key, in one attempt.
    pub(super) async fn make_key(&self, new: &NewKey) -> Result<KeyDescription, ProviderError> {
        let Checked { uri, kind, not_before, expires } = self.check_new(new).await?;
        let mut written = new.tags.clone();
        if let Some(words) = &new.description {
            written.insert(tags::DESCRIPTION.to_owned(), words.clone());
        }
        let parameters = CreateKeyParameters {
            kty: Some(kind.kty.clone()),
            key_size: Some(kind.bits),
            key_ops: Some(operations(&kind.kty, self.ways().symmetric)),
            key_attributes: Some(KeyAttributes {
                enabled: Some(true),
                not_before: not_before.and_then(moment),
                expires: expires.and_then(moment),
                ..Default::default()
            }),
            tags: (!written.is_empty()).then(|| written.into_iter().collect()),
            ..Default::default()
        };
        let body = serde_json::to_vec(&parameters)
            .map_err(|_| failure(Other, None, "the new key cannot be written down"))?;
        let (vault, name) = self.at(&uri).await?;
        let sent = self.reach().limits.once(|| async {
            let body: RequestContent<CreateKeyParameters> = RequestContent::from(body.clone());
            vault.client.create_key(name.key, body, None).await?.into_model()
        });
        let told = sent.await.map_err(|failed| {
            let refused = refusal(CREATE, None, &failed);
            if failed.may_be_done() { unsure(&refused, LOOK).about(&uri) } else { refused }
        })?;
        let made = version_told(&uri, &vault, name, &told).map_err(|error| unsure(&error, LOOK))?;
        if let Some(what) = differs(&parameters, &told) {
            let message = format!(
                "the vault made the key, as version {}, and {what} is not what was asked for: describe it, and delete it if it \
                 is not to be used; do not trust what stands between",
                made.version
            );
            return Err(failure(Protocol, &uri, message));
        }
        if let Some(end) = new.not_after {
            let set = async {
                let plan: Plan = self.plan_not_after(&uri, Some(&made.version), Some(end)).await?;
                self.carry_out(&uri, &plan).await
            };
            set.await.map_err(|error| {
                let message = format!(
                    "the key was made, and the end of its cryptoperiod is not kept: {}",
                    error.message()
                );
                failure(error.kind(), &uri, message).retryable(false)
            })?;
        }
        let described = self.describe_changed(&uri).await?;
        if described.versions.len() != 1 {
            let message = "somebody else made a key of that name at the same moment, and the vault made a further version of \
                           it: describe it";
            return Err(failure(Other, &uri, message));
        }
        Ok(described)
    }
}

/// The kind that is asked for, or that is recommended.
fn kind(new: &NewKey, place: VaultKey<'_>) -> Result<Kind, ProviderError> {
    let refuse = |message: String| Err(failure(Unsupported, None, message));
    let hsm = place.is_managed_hsm();
    let name = new.algorithm.as_deref().unwrap_or(if hsm { "oct-HSM-256" } else { "RSA-3072" });
    let of = |kty, bits| Ok(Kind { kty, bits });
    match name {
        "RSA-2048" | "RSA-HSM-2048" => Err(failure(
            Invalid,
            None,
            "RSA keys of 2048 bits are not made: NIST SP 800-131A permits them until 2030 alone, and what is wrapped now is \
             opened after that. Take RSA-3072 or RSA-4096",
        )),
        "oct-HSM-256" if !hsm => {
            refuse("a vault has no symmetric keys: make it in a managed HSM, or take RSA-3072".into())
        }
        "oct-HSM-256" => of(KeyType::OctHsm, 256),
        "RSA-3072" | "RSA-4096" if hsm => refuse(
            "a managed HSM has keys of its HSM alone: take oct-HSM-256, RSA-HSM-3072 or RSA-HSM-4096".into(),
        ),
        "RSA-3072" => of(KeyType::Rsa, 3072),
        "RSA-4096" => of(KeyType::Rsa, 4096),
        "RSA-HSM-3072" => of(KeyType::RsaHsm, 3072),
        "RSA-HSM-4096" => of(KeyType::RsaHsm, 4096),
        other => refuse(format!(
            "{} is no kind of key that wraps DEKs here: there are RSA-3072, RSA-4096, RSA-HSM-3072, RSA-HSM-4096 and, in a \
             managed HSM, oct-HSM-256",
            printable::cut(other, SHOWN)
        )),
    }
}

/// When the key begins and expires.
fn window(new: &NewKey, now: u64) -> Result<(Option<u64>, Option<u64>), ProviderError> {
    let (mut not_before, mut expires) = (None, None);
    for (name, value) in &new.options {
        let date = || {
            let date = value.parse().ok().filter(|date| moment(*date).is_some());
            let message =
                format!("the option {} is a date, in seconds since 1970", printable::cut(name, SHOWN));
            date.ok_or_else(|| failure(Invalid, None, message))
        };
        match name.as_str() {
            "not-before" => not_before = Some(date()?),
            "expires" => expires = Some(date()?),
            "exportable" | "release-policy" => {
                let message = "keys that can be exported are not made: a key that leaves its key store is guarded by nobody";
                return Err(failure(Unsupported, None, message));
            }
            other => {
                let message = format!(
                    "a key of Azure has no option {}: there are not-before and expires",
                    printable::cut(other, SHOWN)
                );
                return Err(failure(Unsupported, None, message));
            }
        }
    }
    match new.state {
        KeyState::Active if not_before.is_some_and(|start| start > now) => {
            return Err(failure(Invalid, None, "a key that begins later is pre-active: ask for that"));
        }
        KeyState::Active => {}
        // Until somebody activates it.
        KeyState::PreActive => not_before = not_before.or(Some(FAR)),
        _ => {
            return Err(failure(
                Unsupported,
                None,
                "Azure makes active and pre-active keys: change the state then",
            ));
        }
    }
    if expires.is_some_and(|end| end <= now || not_before.is_some_and(|start| end <= start)) {
        return Err(failure(Invalid, None, "a key expires later than it begins, and not in the past"));
    }
    Ok((not_before, expires))
}

/// What a new key is permitted to do: as little as wraps DEKs.
fn operations(kty: &KeyType, symmetric: SymmetricAlgorithm) -> Vec<KeyOperation> {
    match kty {
        KeyType::OctHsm if symmetric == SymmetricAlgorithm::A256Gcm => {
            vec![KeyOperation::Encrypt, KeyOperation::Decrypt]
        }
        _ => vec![KeyOperation::WrapKey, KeyOperation::UnwrapKey],
    }
}

const MAX_NAME_LEN: usize = 127;
/// The end of the year 9999.
const FAR: u64 = 253_402_300_799;
const LOOK: &str = "describe the key, before another is made";
/// Characters that are shown of a word of the caller.
const SHOWN: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    fn of(host: &str, name: Option<&str>) -> Result<Kind, envelope_sdk::ProviderErrorKind> {
        let uri = AzureKeyVault::uri_in(host, "k").unwrap();
        let mut new = NewKey::named("k");
        new.algorithm = name.map(str::to_owned);
        kind(&new, name_of(&uri).unwrap()).map_err(|error| error.kind())
    }

    #[test]
    fn each_kind_is_of_its_place_and_small_ones_are_refused() {
        const VAULT: &str = "a.vault.azure.net";
        const HSM: &str = "a.managedhsm.azure.net";
        let made = |kty, bits| Ok(Kind { kty, bits });
        assert_eq!(of(VAULT, None), made(KeyType::Rsa, 3072));
        assert_eq!(of(HSM, None), made(KeyType::OctHsm, 256));
        assert_eq!(of(VAULT, Some("RSA-4096")), made(KeyType::Rsa, 4096));
        assert_eq!(of(HSM, Some("RSA-HSM-4096")), made(KeyType::RsaHsm, 4096));
        assert_eq!(of(VAULT, Some("RSA-HSM-3072")), made(KeyType::RsaHsm, 3072));
        for (host, name, error) in [
            (VAULT, "RSA-2048", Invalid),
            (HSM, "RSA-HSM-2048", Invalid),
            (VAULT, "oct-HSM-256", Unsupported),
            (HSM, "RSA-3072", Unsupported),
            (VAULT, "EC", Unsupported),
            (HSM, "oct-HSM-128", Unsupported),
        ] {
            assert_eq!(of(host, Some(name)), Err(error), "{name}");
        }
    }

    #[test]
    fn a_key_begins_before_it_ends_and_is_never_exportable() {
        let of = |new: NewKey| window(&new, 1000).map_err(|error| error.kind());
        let new = || NewKey::named("k");
        assert_eq!(of(new()), Ok((None, None)));
        assert_eq!(of(new().pre_active()), Ok((Some(FAR), None)));
        assert_eq!(
            of(new().option("not-before", "900").option("expires", "2000")),
            Ok((Some(900), Some(2000)))
        );
        for bad in [
            new().option("not-before", "2000"),
            new().option("expires", "1000"),
            new().option("expires", "tomorrow"),
            new().pre_active().option("not-before", "3000").option("expires", "2000"),
        ] {
            assert_eq!(of(bad), Err(Invalid));
        }
        for bad in ["exportable", "release-policy", "other"] {
            assert_eq!(of(new().option(bad, "true")), Err(Unsupported));
        }
    }
}
