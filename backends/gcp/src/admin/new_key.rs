//! Making keys.

use envelope_sdk::{
    KeyDescription, KeyState, KeyUri, NewKey, ProviderError,
    ProviderErrorKind::{Invalid, NotFound, Protocol, Unsupported},
    printable,
};
use google_cloud_kms_v1::model::{
    CryptoKey, CryptoKeyVersionTemplate, ExternalProtectionLevelOptions, crypto_key::CryptoKeyPurpose,
    crypto_key_version::CryptoKeyVersionAlgorithm,
};

use super::{
    CREATE, OTHER_PLACE,
    rotation::{PERIOD_DAYS, after, days_of},
};
use crate::{
    GcpKms, Protection,
    call::Within,
    error::{failure, unsure},
    reach::Settled,
};

/// A key that may be made, as far as is known.
pub(super) struct Checked {
    ring: String,
    uri: KeyUri,
    options: Options,
    makes_ring: bool,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    protection: Option<Protection>,
    rotation_days: Option<u32>,
    destroy_days: Option<u32>,
    create_key_ring: bool,
    external_key_uri: Option<String>,
    ekm_connection: Option<String>,
    ekm_key_path: Option<String>,
}

impl GcpKms {
    /// What [`make_key`](Self::make_key) refuses.
    pub(super) async fn check_new(&self, new: &NewKey) -> Result<Checked, ProviderError> {
        let mut options = options(new)?;
        let protection = *options.protection.get_or_insert(self.protection().unwrap_or(Protection::Software));
        check_kind(new, protection)?;
        check_external(&options, protection)?;
        check_words(new)?;
        let ring = self.the_key_ring()?.to_owned();
        let uri = KeyUri::parse(&format!("{ring}/cryptoKeys/{}", new.name));
        let uri = uri.map_err(|error| failure(Invalid, None, error.to_string()))?;
        match self.describe(&uri).await {
            Ok(_) => {
                let message = format!("there is a key {} already: rotate it, or take another name", new.name);
                return Err(failure(Invalid, None, message));
            }
            Err(error) if error.kind() == NotFound => {}
            Err(error) => return Err(error),
        }
        let makes_ring = !self.has_key_ring(&ring).await?;
        if makes_ring && !options.create_key_ring {
            let message = "there is no such key ring: make it (`gcloud kms keyrings create`), or ask for it with the \
                           option create-key-ring=true";
            return Err(failure(NotFound, None, message));
        }
        Ok(Checked { ring, uri, options, makes_ring })
    }

    /// Makes a key in the key ring of the settings, in one attempt, with a first version.
    pub(super) async fn make_key(&self, new: &NewKey) -> Result<KeyDescription, ProviderError> {
        let checked = self.check_new(new).await?;
        if !checked.makes_ring {
            return self.make_key_in(new, checked).await;
        }
        self.create_key_ring(&checked.ring).await?;
        let ring = checked.ring.clone();
        self.make_key_in(new, checked)
            .await
            .map_err(|error| half(&error, &format!("the key ring {ring} was made")))
    }

    async fn make_key_in(&self, new: &NewKey, checked: Checked) -> Result<KeyDescription, ProviderError> {
        let Checked { ring, uri, options, .. } = checked;
        let protection = options.protection.unwrap_or(Protection::Software);
        let algorithm = if protection.is_external() {
            CryptoKeyVersionAlgorithm::ExternalSymmetricEncryption
        } else {
            CryptoKeyVersionAlgorithm::GoogleSymmetricEncryption
        };
        let template =
            CryptoKeyVersionTemplate::new().set_protection_level(protection.level()).set_algorithm(algorithm);
        let mut key = CryptoKey::new()
            .set_purpose(CryptoKeyPurpose::EncryptDecrypt)
            .set_version_template(template)
            .set_labels(new.tags.clone());
        if let Some(days) = options.rotation_days {
            key = key.set_rotation_period(days_of(days)).set_next_rotation_time(after(days));
        }
        if let Some(days) = options.destroy_days {
            key = key.set_destroy_scheduled_duration(days_of(days));
        }
        if let Some(connection) = &options.ekm_connection {
            key = key.set_crypto_key_backend(connection);
        }
        let external = options.external();
        let Settled { client, limits } = self.settled().await?;
        let call = client
            .create_crypto_key()
            .set_parent(&ring)
            .set_crypto_key_id(&new.name)
            .set_crypto_key(key)
            // KMS could not know which key of the external key manager the first version is.
            .set_skip_initial_version_creation(protection.is_external());
        let made = limits.once(call).send().until(limits.deadline()).await.map_err(|failed| {
            if failed.is_taken() {
                let message = format!("there is a key {} already: rotate it, or take another name", new.name);
                return failure(Invalid, None, message);
            }
            let refused = self.refused(CREATE, None, &failed);
            if failed.may_be_done() { unsure(&refused, LOOK) } else { refused }
        })?;
        if made.name != uri.rest().trim_start_matches('/') {
            return Err(unsure(&failure(Protocol, None, OTHER_PLACE), LOOK));
        }
        if protection.is_external() {
            let first =
                self.make_version(&uri, external).await.map_err(|error| half(&error, WITHOUT_VERSION))?;
            self.promote(&uri, &first).await?;
        }
        self.describe_changed(&uri).await
    }
}

impl Options {
    fn external(&self) -> Option<ExternalProtectionLevelOptions> {
        let options = ExternalProtectionLevelOptions::new();
        match (&self.external_key_uri, &self.ekm_key_path) {
            (Some(uri), _) => Some(options.set_external_key_uri(uri)),
            (None, Some(path)) => Some(options.set_ekm_connection_key_path(path)),
            (None, None) => None,
        }
    }
}

/// The error of what did not follow on what was done.
fn half(error: &ProviderError, done: &str) -> ProviderError {
    let message = format!("{done}, and then: {}", error.message());
    failure(error.kind(), error.key(), message).retryable(false)
}

/// Keys that KMS does not make.
fn check_kind(new: &NewKey, protection: Protection) -> Result<(), ProviderError> {
    let refuse = |message: String| Err(failure(Unsupported, None, message));
    if new.state != KeyState::Active {
        return refuse("Cloud KMS makes only active keys: create it, then suspend it".into());
    }
    if new.not_after.is_some() {
        return refuse("Cloud KMS keeps no end of a cryptoperiod: let the key rotate by itself".into());
    }
    if new.description.is_some() {
        return refuse("Cloud KMS keeps no description of a key: use a tag, which becomes a label".into());
    }
    let algorithm = if protection.is_external() { EXTERNAL_ALGORITHM } else { ALGORITHM };
    match new.algorithm.as_deref() {
        Some(other) if other != algorithm => {
            let other = printable::cut(other, SHOWN);
            refuse(format!(
                "a key of Cloud KMS that wraps DEKs at the protection level {protection} is of the kind {algorithm}, not \
                 {other}"
            ))
        }
        _ => Ok(()),
    }
}

fn check_external(options: &Options, protection: Protection) -> Result<(), ProviderError> {
    let refuse = |message: &str| Err(failure(Invalid, None, message));
    let has = (
        options.external_key_uri.is_some(),
        options.ekm_connection.is_some() || options.ekm_key_path.is_some(),
    );
    match (protection, has) {
        (Protection::External, (true, false)) => {}
        (Protection::External, _) => {
            return refuse(
                "a key of the protection level external needs the option external-key-uri, and no other of them",
            );
        }
        (Protection::ExternalVpc, (false, true)) if options.ekm_connection.is_some() => {}
        (Protection::ExternalVpc, _) => {
            return refuse(
                "a key of the protection level external-vpc needs the option ekm-connection, and ekm-key-path where the \
                 external key manager makes the keys",
            );
        }
        (_, (false, false)) => {}
        _ => {
            return refuse(
                "the options external-key-uri, ekm-connection and ekm-key-path are for keys of an external key manager",
            );
        }
    }
    if options.rotation_days.is_some() && protection.is_external() {
        return refuse(
            "KMS does not rotate keys of an external key manager by itself: leave rotation-period-days out",
        );
    }
    Ok(())
}

fn options(new: &NewKey) -> Result<Options, ProviderError> {
    let mut options = Options::default();
    for (name, value) in &new.options {
        let invalid = |rule: &str| failure(Invalid, None, format!("the option {name} is {rule}"));
        let days = |range: std::ops::RangeInclusive<u32>, rule: &str| {
            value.parse().ok().filter(|days| range.contains(days)).ok_or_else(|| invalid(rule))
        };
        let text = || {
            Some(value.clone())
                .filter(|text| !text.is_empty() && text.bytes().all(|it| it.is_ascii_graphic()))
        };
        match name.as_str() {
            "protection" => {
                let level = Protection::from_name(value);
                let rule = "software, hsm, external, external-vpc or hsm-single-tenant";
                options.protection = Some(level.ok_or_else(|| invalid(rule))?);
            }
            "rotation-period-days" => {
                options.rotation_days = Some(days(PERIOD_DAYS, "a number of days from 1 to 36500")?);
            }
            "destroy-delay-days" => {
                options.destroy_days = Some(days(DELAY_DAYS, "a number of days from 1 to 120")?);
            }
            "create-key-ring" => {
                options.create_key_ring = match value.as_str() {
                    "true" => true,
                    "false" => false,
                    _ => return Err(invalid("`true` or `false`")),
                };
            }
            "external-key-uri" => {
                let uri = text().filter(|uri| uri.starts_with("https://"));
                options.external_key_uri =
                    Some(uri.ok_or_else(|| invalid("a URI that begins with https://"))?);
            }
            "ekm-connection" => {
                let rule = "a name of the form projects/P/locations/L/ekmConnections/C";
                let connection =
                    text().filter(|it| it.starts_with("projects/") && it.contains("/ekmConnections/"));
                options.ekm_connection = Some(connection.ok_or_else(|| invalid(rule))?);
            }
            "ekm-key-path" => options.ekm_key_path = Some(text().ok_or_else(|| invalid("a path"))?),
            other => {
                let other = printable::cut(other, SHOWN);
                let message = format!(
                    "a key of Cloud KMS has no option {other}: there are protection, rotation-period-days, \
                     destroy-delay-days, create-key-ring, external-key-uri, ekm-connection and ekm-key-path"
                );
                return Err(failure(Unsupported, None, message));
            }
        }
    }
    Ok(options)
}

/// The limits of names and labels, so that a dry run knows them
/// (<https://cloud.google.com/kms/docs/resource-hierarchy>,
/// <https://cloud.google.com/kms/docs/creating-managing-labels>).
fn check_words(new: &NewKey) -> Result<(), ProviderError> {
    let refuse = |message: &str| Err(failure(Invalid, None, message));
    let name = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    if !(1..=MAX_NAME_LEN).contains(&new.name.len()) || !new.name.bytes().all(name) {
        return refuse("the name of a key has 1 to 63 characters of A–Z a–z 0–9 _ -");
    }
    if new.tags.len() > MAX_LABELS {
        return refuse("a key has at most 64 labels");
    }
    let fits = |character: char| {
        (character.is_alphanumeric() && !character.is_uppercase()) || matches!(character, '_' | '-')
    };
    let is_label = |(name, value): (&String, &String)| {
        name.chars().next().is_some_and(|first| first.is_alphabetic() && !first.is_uppercase())
            && name.chars().count() <= MAX_NAME_LEN
            && value.chars().count() <= MAX_NAME_LEN
            && name.chars().chain(value.chars()).all(fits)
    };
    if !new.tags.iter().all(is_label) {
        return refuse(
            "the name of a label has 1 to 63 characters and begins with a small letter, its value has at most 63; both \
             have small letters, digits, _ and - alone",
        );
    }
    Ok(())
}

const ALGORITHM: &str = "GOOGLE_SYMMETRIC_ENCRYPTION";
const EXTERNAL_ALGORITHM: &str = "EXTERNAL_SYMMETRIC_ENCRYPTION";
/// How long KMS lets a version wait for its destruction.
const DELAY_DAYS: std::ops::RangeInclusive<u32> = 1..=120;
const MAX_NAME_LEN: usize = 63;
const MAX_LABELS: usize = 64;
const LOOK: &str = "describe the key, before another is made";
/// Characters that are shown of a word of the caller.
const SHOWN: usize = 100;

const WITHOUT_VERSION: &str = "the key was made, and has no version yet (`gcloud kms keys versions create --primary` makes one \
                               of the key of your external key manager)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_those_that_cannot_be_are_refused() {
        let read = |name: &str, value: &str| options(&NewKey::named("k").option(name, value));
        assert_eq!(read("protection", "hsm").unwrap().protection, Some(Protection::Hsm));
        assert_eq!(read("rotation-period-days", "90").unwrap().rotation_days, Some(90));
        assert_eq!(read("destroy-delay-days", "120").unwrap().destroy_days, Some(120));
        assert!(read("create-key-ring", "true").unwrap().create_key_ring);
        for (name, value, kind) in [
            ("protection", "HSM", Invalid),
            ("rotation-period-days", "0", Invalid),
            ("rotation-period-days", "x", Invalid),
            ("destroy-delay-days", "121", Invalid),
            ("create-key-ring", "yes", Invalid),
            ("external-key-uri", "http://ekm.example", Invalid),
            ("ekm-connection", "c", Invalid),
            ("ekm-key-path", "", Invalid),
            ("multi-region", "true", Unsupported),
        ] {
            assert_eq!(read(name, value).unwrap_err().kind(), kind, "{name}={value}");
        }
    }

    #[test]
    fn a_key_of_an_external_key_manager_needs_what_names_it() {
        let check = |protection: Protection, options: Options| check_external(&options, protection).is_ok();
        let uri = || Options { external_key_uri: Some("https://ekm.example/1".into()), ..Options::default() };
        let vpc = || Options { ekm_connection: Some("c".into()), ..Options::default() };
        let days = |options: Options| Options { rotation_days: Some(90), ..options };
        assert!(check(Protection::External, uri()) && !check(Protection::External, Options::default()));
        assert!(!check(Protection::External, vpc()) && !check(Protection::External, days(uri())));
        assert!(check(Protection::ExternalVpc, vpc()) && !check(Protection::ExternalVpc, uri()));
        assert!(!check(Protection::Software, uri()) && check(Protection::Hsm, days(Options::default())));
    }

    #[test]
    fn labels_and_names_have_their_limits() {
        let fits = |new: NewKey| check_words(&new).is_ok();
        assert!(fits(NewKey::named("Orders_1-b").tag("team", "shop-2").tag("ä", "")));
        for bad in ["", "a/b", "a b", "ä", &"n".repeat(64)] {
            assert!(!fits(NewKey::named(bad)), "{bad}");
        }
        for (name, value) in
            [("Team", "x"), ("1a", "x"), ("", "x"), ("team", "X"), ("team", "a b"), ("a.b", "x")]
        {
            assert!(!fits(NewKey::named("k").tag(name, value)), "{name}={value}");
        }
    }
}
