//! Where credentials come from, and what is refused of them.

mod urls;

use std::{
    env,
    path::{Path, PathBuf},
    sync::Arc,
};

use envelope_sdk::{
    ProviderError,
    ProviderErrorKind::{AccessDenied, Invalid},
    secret::Secrets,
};
use google_cloud_auth::{
    build_errors,
    credentials::{
        Credentials, anonymous, external_account, external_account_authorized_user, impersonated, mds,
        service_account, user_account,
    },
};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::error::failure;

/// Credentials, and how what the settings leave open is found.
#[derive(Clone, Default)]
pub(crate) struct Sources {
    pub(crate) from: From,
    /// Who may have been given credentials, and under which name: they go before all others.
    pub(crate) given: Option<(Arc<dyn Secrets>, &'static str)>,
    pub(crate) impersonate: Option<String>,
    pub(crate) delegates: Vec<String>,
    pub(crate) trusted_files_only: bool,
}

/// The first link of the chain.
#[derive(Clone, Default)]
pub(crate) enum From {
    /// Google's order: `GOOGLE_APPLICATION_CREDENTIALS`, what `gcloud` left, the metadata server.
    #[default]
    Default,
    /// A file in one of Google's forms.
    File(PathBuf),
    /// What such a file holds.
    Json(Zeroizing<String>),
    /// The metadata server, at its own address or another.
    Metadata(Option<String>),
    /// None at all.
    Anonymous,
    /// Made elsewhere.
    Given(Credentials),
}

impl Sources {
    /// Reads files and the environment, and may block. Tokens are fetched at first
    /// use; nothing is asked over the network here.
    pub(crate) fn load(&self) -> Result<Credentials, ProviderError> {
        let first = match self.given()? {
            Some(text) => of_json(&text, "the credentials that were given")?,
            None => self.first()?,
        };
        match &self.impersonate {
            None => Ok(first),
            Some(principal) => self.impersonated(first, principal),
        }
    }

    fn given(&self) -> Result<Option<Zeroizing<String>>, ProviderError> {
        let Some((secrets, name)) = &self.given else { return Ok(None) };
        secrets.given(name).map_err(|error| failure(error.kind(), None, error.to_string()).with_source(error))
    }

    fn first(&self) -> Result<Credentials, ProviderError> {
        Ok(match &self.from {
            From::Given(credentials) => credentials.clone(),
            From::Anonymous => anonymous::Builder::new().build(),
            From::Metadata(endpoint) => metadata(endpoint.as_deref())?,
            From::Json(text) => of_json(text, "the credentials that were given")?,
            From::File(path) => self.of_file(path)?.ok_or_else(|| gone(path))?,
            From::Default => self.of_environment()?,
        })
    }

    /// Whether a token is ever asked for.
    pub(crate) fn are_anonymous(&self) -> bool {
        matches!(self.from, From::Anonymous)
    }

    /// Of a token for that account nothing but keys of KMS is asked.
    fn impersonated(&self, source: Credentials, principal: &str) -> Result<Credentials, ProviderError> {
        let fits = |name: &str| {
            name.contains('@')
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"@.-_:".contains(&byte))
        };
        if !fits(principal) || !self.delegates.iter().all(|delegate| fits(delegate)) {
            let message = "a service account that is impersonated, or a delegate on the way, is named by its e-mail \
                           address: NAME@PROJECT.iam.gserviceaccount.com";
            return Err(failure(Invalid, None, message));
        }
        impersonated::Builder::from_source_credentials(source)
            .with_target_principal(principal)
            .with_delegates(self.delegates.iter().map(|name| format!("projects/-/serviceAccounts/{name}")))
            .with_scopes([KMS_SCOPE])
            .build()
            .map_err(|error| refused(&error, "the service account that is impersonated"))
    }

    fn of_environment(&self) -> Result<Credentials, ProviderError> {
        if let Some(path) = env::var_os(VARIABLE).filter(|path| !path.is_empty()) {
            let path = PathBuf::from(path);
            return self.of_file(&path)?.ok_or_else(|| gone(&path));
        }
        if let Some(path) = left_by_gcloud()
            && let Some(credentials) = self.of_file(&path)?
        {
            return Ok(credentials);
        }
        metadata(None)
    }

    /// `None` where there is no such file.
    fn of_file(&self, path: &Path) -> Result<Option<Credentials>, ProviderError> {
        let Some(text) = self.read(path)? else { return Ok(None) };
        of_json(&text, "the file of credentials").map(Some)
    }

    fn read(&self, path: &Path) -> Result<Option<Zeroizing<String>>, ProviderError> {
        #[cfg(unix)]
        if self.trusted_files_only {
            use envelope_files::trust::{self, Purpose};
            let read = match trust::read(path, Purpose::Secret, MAX_LEN) {
                Err(error) if error.is_not_found() => return Ok(None),
                Err(error) => return Err(failure(Invalid, None, error.to_string()).with_source(error)),
                Ok(bytes) => Zeroizing::new(bytes),
            };
            let text = std::str::from_utf8(&read).map_err(|_| unreadable("the file of credentials"))?;
            return Ok(Some(Zeroizing::new(text.to_owned())));
        }
        match std::fs::read_to_string(path) {
            Ok(text) => Ok(Some(Zeroizing::new(text))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => {
                let message = format!("the file of credentials cannot be read: {error}");
                Err(failure(Invalid, None, message))
            }
        }
    }
}

/// The metadata server. Its universe is said, so that it is not asked for it.
fn metadata(endpoint: Option<&str>) -> Result<Credentials, ProviderError> {
    let builder = mds::Builder::default().with_universe_domain(universe());
    // Google's client takes this before what it is told.
    if let Ok(host) = env::var(METADATA) {
        if host.is_empty() {
            let message = format!("{METADATA} is empty, and no place to ask: unset it");
            return Err(failure(Invalid, None, message));
        }
        if endpoint.is_some() {
            let message =
                format!("{METADATA} and the settings both say where the metadata server is: unset one");
            return Err(failure(Invalid, None, message));
        }
        if !is_metadata(&host) {
            urls::check(&format!("http://{host}"))?;
        }
    }
    let builder = match endpoint {
        None => builder,
        Some(url) => {
            urls::check(url)?;
            builder.with_endpoint(url)
        }
    };
    builder.build().map_err(|error| refused(&error, "the metadata server"))
}

/// Whether it is the metadata server by its own name, which only Google's own machines have.
fn is_metadata(host: &str) -> bool {
    let (name, port) = host.split_once(':').unwrap_or((host, "80"));
    let name = name.strip_suffix('.').unwrap_or(name);
    name.eq_ignore_ascii_case(METADATA_NAME) && port.parse::<u16>().is_ok()
}

/// Credentials in one of Google's forms. What they hold is never shown.
fn of_json(text: &str, what: &str) -> Result<Credentials, ProviderError> {
    let json: Value = serde_json::from_str(text).map_err(|_| unreadable(what))?;
    urls::check_all(&json)?;
    let kind = json.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    let built = match kind.as_str() {
        "service_account" => service_account::Builder::new(json).build(),
        "external_account" => external_account::Builder::new(json).build(),
        "impersonated_service_account" => impersonated::Builder::new(json).build(),
        "authorized_user" => user_account::Builder::new(json).build(),
        "external_account_authorized_user" => external_account_authorized_user::Builder::new(json).build(),
        _ => {
            let message = format!(
                "{what} have no type that is known: service_account, external_account (workload identity federation), \
                 impersonated_service_account, authorized_user or external_account_authorized_user"
            );
            return Err(failure(Invalid, None, message));
        }
    };
    built.map_err(|error| refused(&error, what))
}

fn refused(error: &build_errors::Error, what: &str) -> ProviderError {
    let why = if error.is_missing_field() {
        "lacks a field"
    } else if error.is_parsing() {
        "is not in a form that is known"
    } else if error.is_not_supported() || error.is_unknown_type() {
        "is of a kind that Google's client does not support"
    } else {
        "cannot be used"
    };
    failure(Invalid, None, format!("{what}: it {why}: make it anew with `gcloud`, or at the console"))
}

fn unreadable(what: &str) -> ProviderError {
    failure(Invalid, None, format!("{what} are not JSON as `gcloud` or the console of Google writes it"))
}

fn gone(path: &Path) -> ProviderError {
    let path = envelope_sdk::printable::path(path);
    failure(
        AccessDenied,
        None,
        format!("there is no file of credentials {path}: correct {VARIABLE} or the settings"),
    )
}

/// `gcloud auth application-default login` writes it.
fn left_by_gcloud() -> Option<PathBuf> {
    const FILE: &str = "application_default_credentials.json";
    if let Some(folder) = env::var_os("CLOUDSDK_CONFIG").filter(|folder| !folder.is_empty()) {
        return Some(PathBuf::from(folder).join(FILE));
    }
    let (variable, beyond) = if cfg!(windows) { ("APPDATA", "gcloud") } else { ("HOME", ".config/gcloud") };
    Some(PathBuf::from(env::var_os(variable)?).join(beyond).join(FILE))
}

/// Google's own cloud, or that of a partner.
pub(crate) fn universe() -> String {
    env::var("GOOGLE_CLOUD_UNIVERSE_DOMAIN").unwrap_or_else(|_| GOOGLES_OWN.to_owned())
}

pub(crate) const GOOGLES_OWN: &str = "googleapis.com";
const VARIABLE: &str = "GOOGLE_APPLICATION_CREDENTIALS";
const METADATA: &str = "GCE_METADATA_HOST";
const METADATA_NAME: &str = "metadata.google.internal";
const KMS_SCOPE: &str = "https://www.googleapis.com/auth/cloudkms";
/// Most bytes of a file of credentials; what Google writes has some 2 KiB.
#[cfg(unix)]
const MAX_LEN: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metadata_server_is_known_by_its_name_however_it_is_spelt() {
        for (host, fits) in [
            ("metadata.google.internal", true),
            ("metadata.google.internal.", true),
            ("METADATA.google.internal:80", true),
            ("metadata.google.internal:80/x", false),
            ("metadata.google.internal@evil.example", false),
            ("metadata.google.internal.evil.example", false),
            ("", false),
        ] {
            assert_eq!(is_metadata(host), fits, "{host}");
        }
    }
}
