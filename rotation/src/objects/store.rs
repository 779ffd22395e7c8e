//! One bucket, and what is asked of it.

use std::{
    error::Error,
    fmt,
    ops::Range,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use envelope_sdk::printable;
use object_store::{
    Attribute, Attributes, BackoffConfig, GetOptions, GetRange, MultipartUpload, ObjectStore,
    ObjectStoreExt as _, PutMode, PutMultipartOptions, PutOptions, PutPayload, RetryConfig, UpdateVersion,
    aws::{AmazonS3Builder, AmazonS3ConfigKey},
    azure::{AzureConfigKey, MicrosoftAzureBuilder},
    client::ClientConfigKey,
    gcp::{GoogleCloudStorageBuilder, GoogleConfigKey},
    list::{PaginatedListOptions, PaginatedListResult, PaginatedListStore},
    path::Path,
};

use super::{
    condition::{Condition, Connector, Seen, under},
    error::ObjectsError,
    url::{Kind, Url},
};
use crate::SourceError;

/// A bucket.
pub(super) struct Store {
    kind: Kind,
    name: String,
    objects: Arc<dyn Api>,
}

/// What the clients of all three stores do.
trait Api: ObjectStore + PaginatedListStore {}

impl<T: ObjectStore + PaginatedListStore> Api for T {}

/// A part of an object.
pub(super) struct Got {
    pub(super) bytes: Bytes,
    /// Of the whole object.
    pub(super) size: u64,
    /// What the store compares before it writes.
    pub(super) tag: Option<String>,
    pub(super) modified: SystemTime,
    /// What is stored with it, and stays with what takes its place.
    pub(super) attributes: Attributes,
    pub(super) has_tags: bool,
}

impl Store {
    pub(super) fn open(url: &Url, settings: &[(&str, &str)]) -> Result<Self, ObjectsError> {
        let name = url.store_name();
        let wrong = |error: object_store::Error| ObjectsError::Settings {
            url: name.clone(),
            reason: error.to_string(),
        };
        let plain = |endpoint: Option<String>| may_be_plain(&name, endpoint);
        let (retry, connector) = (retry(), Connector::default());
        let objects: Arc<dyn Api> = match url.kind {
            Kind::S3 => {
                let builder = AmazonS3Builder::from_env()
                    .with_config(AmazonS3ConfigKey::Client(ClientConfigKey::Timeout), TIMEOUT);
                let builder =
                    known(settings).fold(builder, |builder, (key, value)| builder.with_config(key, value));
                let allowed = plain(builder.get_config_value(&AmazonS3ConfigKey::Endpoint))?;
                let builder = builder.with_bucket_name(&url.bucket).with_allow_http(allowed);
                let store = builder.with_retry(retry).with_http_connector(connector).build();
                Arc::new(store.map_err(wrong)?)
            }
            Kind::Google => {
                let builder = GoogleCloudStorageBuilder::from_env()
                    .with_config(GoogleConfigKey::Client(ClientConfigKey::Timeout), TIMEOUT);
                let builder =
                    known(settings).fold(builder, |builder, (key, value)| builder.with_config(key, value));
                let allowed = plain(builder.get_config_value(&GoogleConfigKey::BaseUrl))?;
                let builder = builder
                    .with_bucket_name(&url.bucket)
                    .with_config(GoogleConfigKey::Client(ClientConfigKey::AllowHttp), allowed.to_string());
                let store = builder.with_retry(retry).with_http_connector(connector).build();
                Arc::new(store.map_err(wrong)?)
            }
            Kind::Azure => {
                let builder = MicrosoftAzureBuilder::from_env()
                    .with_config(AzureConfigKey::Client(ClientConfigKey::Timeout), TIMEOUT);
                let builder =
                    known(settings).fold(builder, |builder, (key, value)| builder.with_config(key, value));
                let allowed = plain(builder.get_config_value(&AzureConfigKey::Endpoint))?;
                let builder = builder.with_container_name(&url.bucket).with_allow_http(allowed);
                let azure = Arc::clone(&connector.azure);
                let store =
                    builder.with_retry(retry).with_http_connector(connector).build().map_err(wrong)?;
                // It is the first to be set.
                let _ = azure.set(Arc::clone(store.credentials()));
                Arc::new(store)
            }
        };
        Ok(Self { kind: url.kind, name, objects })
    }

    /// `s3://bucket/`.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether it completes an upload in parts on condition.
    pub(super) fn completes_on_condition(&self) -> bool {
        self.kind != Kind::Google
    }

    /// Whether a listing can begin behind any name.
    pub(super) fn lists_from_a_name(&self) -> bool {
        self.kind != Kind::Azure
    }

    /// Most parts of an upload.
    pub(super) fn most_parts(&self) -> u64 {
        if self.kind == Kind::Azure { 50_000 } else { 10_000 }
    }

    /// Bytes of an object, if it still has the tag. Fewer where it ends before.
    pub(super) async fn get(
        &self,
        key: &Path,
        range: Range<u64>,
        tag: Option<&str>,
    ) -> object_store::Result<Got> {
        let mut options = GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() };
        match self.kind {
            Kind::Google => options.version = tag.map(str::to_owned),
            Kind::S3 | Kind::Azure => options.if_match = tag.map(str::to_owned),
        }
        let got = self.objects.get_opts(key, options).await?;
        let seen = got.extensions.get::<Seen>().cloned().unwrap_or_default();
        let mut attributes = got.attributes.clone();
        if let Some(class) = seen.class {
            attributes.insert(Attribute::StorageClass, class.into());
        }
        let meta = got.meta.clone();
        Ok(Got {
            bytes: got.bytes().await?,
            size: meta.size,
            tag: if self.kind == Kind::Google { meta.version } else { meta.e_tag },
            modified: meta.last_modified.into(),
            attributes,
            has_tags: seen.has_tags,
        })
    }

    /// The beginning of an object, as much as a usual header takes.
    pub(super) async fn front(&self, key: &Path, tag: &str) -> object_store::Result<Got> {
        self.get(key, 0..FRONT, Some(tag)).await
    }

    /// Whether there is an object of this name. It may be empty.
    pub(super) async fn size(&self, key: &Path) -> object_store::Result<u64> {
        Ok(self.objects.head(key).await?.size)
    }

    /// Puts an object in the place of the one with this tag.
    pub(super) async fn put(
        &self,
        key: &Path,
        bytes: PutPayload,
        tag: &str,
        attributes: Attributes,
    ) -> object_store::Result<()> {
        let version = UpdateVersion { e_tag: Some(tag.to_owned()), version: Some(tag.to_owned()) };
        let options = PutOptions { mode: PutMode::Update(version), attributes, ..PutOptions::default() };
        self.objects.put_opts(key, bytes, options).await.map(drop)
    }

    /// Begins an upload in parts.
    pub(super) async fn upload(
        &self,
        key: &Path,
        attributes: Attributes,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        let options = PutMultipartOptions { attributes, ..PutMultipartOptions::default() };
        self.objects.put_multipart_opts(key, options).await
    }

    /// Puts what was uploaded in the place of the object with this tag.
    pub(super) async fn complete(
        &self,
        upload: &mut dyn MultipartUpload,
        tag: &str,
    ) -> object_store::Result<()> {
        under(Condition::Match(tag.to_owned()), upload.complete()).await.map(drop)
    }

    /// Puts a copy of one object, if it has the tag `copied`, in the place of another.
    pub(super) async fn copy(
        &self,
        from: &Path,
        copied: &str,
        to: &Path,
        tag: &str,
    ) -> object_store::Result<()> {
        let condition = Condition::Generations { replaced: tag.to_owned(), copied: copied.to_owned() };
        let copy = under(condition, self.objects.copy(from, to)).await;
        // The client takes a condition that failed for its own, that nothing is there.
        copy.map_err(|error| match error {
            object_store::Error::AlreadyExists { path, source } => {
                object_store::Error::Precondition { path, source }
            }
            error => error,
        })
    }

    pub(super) async fn delete(&self, key: &Path) -> object_store::Result<()> {
        self.objects.delete(key).await
    }

    pub(super) async fn list(
        &self,
        prefix: &str,
        options: PaginatedListOptions,
    ) -> object_store::Result<PaginatedListResult> {
        self.objects.list_paginated(Some(prefix).filter(|prefix| !prefix.is_empty()), options).await
    }
}

/// The path of a key, if the client can write it unchanged.
pub(super) fn path_of(key: &str) -> Result<Path, SourceError> {
    match Path::parse(key) {
        Ok(path) if path.as_ref() == key => Ok(path),
        _ => Err(SourceError::Unsupported(
            "its key has control characters, an empty part, `.` or `..` between slashes: rename it first",
        )),
    }
}

/// An error of reading.
pub(super) fn failed(error: object_store::Error) -> SourceError {
    use object_store::Error as E;
    match error {
        E::NotFound { .. } => SourceError::Gone,
        E::Precondition { .. } => SourceError::Conflict,
        error => SourceError::store(Told(error.to_string())),
    }
}

/// An error of what reads or writes on condition of a tag: what is not there any more was changed, too.
pub(super) fn not_written(error: object_store::Error) -> SourceError {
    use object_store::Error as E;
    match error {
        // Azure says so of a lease that somebody holds.
        E::Precondition { ref source, .. } if source.to_string().contains("LeaseIdMissing") => {
            SourceError::Busy
        }
        E::NotFound { .. } | E::Precondition { .. } => SourceError::Conflict,
        // Whoever completes an upload to a blob of Azure drops the blocks of all others.
        E::Generic { ref source, .. } if source.to_string().contains("InvalidBlockList") => {
            SourceError::Conflict
        }
        E::AlreadyExists { ref source, .. } if source.to_string().contains("ConditionalRequestConflict") => {
            SourceError::Conflict
        }
        error => SourceError::store(Told(error.to_string())),
    }
}

/// What a store, or the way to it, said.
pub(super) struct Told(pub(super) String);

impl Error for Told {}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable::cut(&self.0, TOLD))
    }
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Those settings whose names this store knows.
fn known<'a, K: std::str::FromStr>(settings: &'a [(&str, &str)]) -> impl Iterator<Item = (K, &'a str)> {
    settings.iter().filter_map(|(name, value)| Some((name.parse().ok()?, *value)))
}

/// Whether the endpoint is of plain http, which stays on this machine.
fn may_be_plain(url: &str, endpoint: Option<String>) -> Result<bool, ObjectsError> {
    let Some(endpoint) =
        endpoint.filter(|endpoint| endpoint.trim_start().to_ascii_lowercase().starts_with("http:"))
    else {
        return Ok(false);
    };
    let authority = endpoint.trim_start()["http:".len()..].trim_start_matches('/');
    let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        // What stands before it is a name of somebody, and only looks like a host.
        _ if authority.contains('@') => "",
        Some(ipv6) => ipv6.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    let is_here =
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    if is_here { Ok(true) } else { Err(ObjectsError::PlainHttp { url: url.to_owned(), endpoint }) }
}

/// `SlowDown`, other refusals of a store that has too much to do, and connections that break are tried again for half
/// a minute.
fn retry() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(5),
            base: 2.0,
        },
        max_retries: 8,
        retry_timeout: Duration::from_secs(30),
    }
}

/// Of one request with its body, which is a part of 64 MiB at most.
const TIMEOUT: &str = "120 seconds";
/// A header as `envctl` pads it, and the beginning of the payload.
pub(super) const FRONT: u64 = 8 * 1024;
/// Characters of an error that are told.
const TOLD: usize = 600;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_this_machine_only() {
        for endpoint in ["http://127.0.0.1:4566", "HTTP://localhost/x", "http://[::1]:1"] {
            assert!(may_be_plain("s3://b/", Some(endpoint.into())).unwrap(), "{endpoint}");
        }
        for endpoint in [
            "http://s3.example.com",
            "http://127.0.0.1.example.com",
            "http://localhost@example.com/",
            "http://localhost:1@example.com/",
            "http://10.0.0.1",
        ] {
            let error = may_be_plain("s3://b/", Some(endpoint.into())).unwrap_err();
            assert!(matches!(error, ObjectsError::PlainHttp { .. }), "{endpoint}: {error}");
        }
        assert!(!may_be_plain("s3://b/", Some("https://s3.example.com".into())).unwrap());
        assert!(!may_be_plain("s3://b/", None).unwrap());
    }

    #[test]
    fn what_another_writer_causes_is_a_conflict_and_what_a_rule_of_the_store_causes_is_not() {
        use object_store::Error as E;
        let (path, said) = (String::from, |text: &str| Box::<dyn Error + Send + Sync>::from(text.to_owned()));
        let of = |error| not_written(error);
        assert!(matches!(of(E::NotFound { path: path("x"), source: said("") }), SourceError::Conflict));
        assert!(matches!(of(E::Precondition { path: path("x"), source: said("") }), SourceError::Conflict));
        let dropped = E::Generic { store: "Azure", source: said("400 <Code>InvalidBlockList</Code>") };
        assert!(matches!(of(dropped), SourceError::Conflict));
        let racing = E::AlreadyExists { path: path("x"), source: said("ConditionalRequestConflict") };
        assert!(matches!(of(racing), SourceError::Conflict));
        let leased = E::Precondition { path: path("x"), source: said("<Code>LeaseIdMissing</Code>") };
        assert!(matches!(of(leased), SourceError::Busy));
        let immutable = E::AlreadyExists { path: path("x"), source: said("BlobImmutableDueToPolicy") };
        assert!(matches!(of(immutable), SourceError::Store(_)));
        let refused = E::PermissionDenied { path: path("x"), source: said("no") };
        assert!(matches!(of(refused), SourceError::Store(_)));
    }

    #[test]
    fn a_key_that_the_client_would_change_is_refused() {
        assert_eq!(path_of("a/b c/ü%25").unwrap().as_ref(), "a/b c/ü%25");
        for key in ["a//b", "/a", "a/", "a/../b", "./a", "a\nb", "a\u{7f}"] {
            assert!(matches!(path_of(key), Err(SourceError::Unsupported(_))), "{key:?}");
        }
    }
}
