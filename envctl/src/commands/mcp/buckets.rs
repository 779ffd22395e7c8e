//! Envelopes in buckets, their headers alone.

use envelope_mcp::{Buckets, Failure, FoundObject};
use futures_util::stream::BoxStream;

use crate::error::{CliError, Result};

pub(super) struct ConfiguredBuckets(Vec<String>);

impl ConfiguredBuckets {
    /// Whether each is the URL of a bucket is told at once.
    pub(super) fn new(urls: Vec<String>) -> Result<Self> {
        for url in &urls {
            if !is_url(url) {
                return Err(CliError::usage(
                    "[mcp]: `buckets` are URLs such as s3://NAME/PREFIX, gs:// or az://",
                ));
            }
        }
        Ok(Self(urls))
    }
}

#[cfg(feature = "objects")]
fn is_url(url: &str) -> bool {
    envelope_rotation::Objects::is_url(url)
}

#[cfg(not(feature = "objects"))]
fn is_url(_: &str) -> bool {
    false
}

impl Buckets for ConfiguredBuckets {
    fn urls(&self) -> Vec<String> {
        self.0.clone()
    }

    #[cfg(feature = "objects")]
    fn objects(
        &self,
        url: &str,
        after: Option<&str>,
    ) -> std::result::Result<BoxStream<'static, std::result::Result<FoundObject, Failure>>, Failure> {
        use std::sync::Arc;

        use envelope_mcp::FoundEnvelope;
        use envelope_rotation::{Objects, Passed, Source, SourceError};
        use futures_util::StreamExt;

        use super::failure;

        // A page can end with it, too: somebody may put any number of such there, and what is behind them must not be lost.
        let passed = |error: &SourceError| match error {
            SourceError::Store(why) => why.downcast_ref::<Passed>().map(|passed| passed.name().to_owned()),
            _ => None,
        };
        let objects = Objects::open(&[url]).map_err(|error| {
            Failure::usage(error.to_string())
                .hint("docs/rotation-objects.md names the variables of the environment")
        })?;
        let objects = Arc::new(objects);
        let listing = match after {
            Some(name) => objects.list_after(name),
            None => objects.list(),
        };
        let read = move |item| {
            let objects = Arc::clone(&objects);
            async move {
                let item = match item {
                    Ok(item) => item,
                    Err(error) => {
                        let name = passed(&error);
                        let failure = failure(&CliError::from(error));
                        return match name {
                            Some(name) => Ok(FoundObject { name, envelope: Err(failure) }),
                            None => Err(failure),
                        };
                    }
                };
                let envelope = match objects.read(&item).await {
                    Ok(stored) => Ok(Some(FoundEnvelope {
                        header: stored.header,
                        is_armored: stored.is_armored,
                        modified: stored.modified,
                    })),
                    Err(SourceError::NotAnEnvelope | SourceError::Gone) => Ok(None),
                    Err(error) => Err(failure(&CliError::from(error).about(&item))),
                };
                Ok(FoundObject { name: String::from_utf8_lossy(item.name()).into_owned(), envelope })
            }
        };
        Ok(Box::pin(listing.map(read).buffered(AT_ONCE)))
    }

    #[cfg(not(feature = "objects"))]
    fn objects(
        &self,
        _: &str,
        _: Option<&str>,
    ) -> std::result::Result<BoxStream<'static, std::result::Result<FoundObject, Failure>>, Failure> {
        Err(Failure::usage("this envctl was built without object stores"))
    }
}

/// Headers that are asked for at once.
#[cfg(feature = "objects")]
const AT_ONCE: usize = 16;
