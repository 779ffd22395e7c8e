//! The condition of a request for which the client has none: completing an upload in parts, and copying.
//!
//! S3 and Azure complete an upload on condition of the tag of what is replaced, and Google copies so; crate `object_store` has
//! no option for it. So the header is added where requests leave the client, for the one request that is made
//! [under a condition](under).
//!
//! The signature of AWS covers the headers that it names, and this is not among them (the client itself adds
//! `If-None-Match` after signing). That of Azure's shared key covers it always, and is made anew. A token covers nothing.

use std::{
    future::Future,
    sync::{Arc, OnceLock},
};

use async_trait::async_trait;
use object_store::{
    ClientOptions, HeaderValue,
    azure::{AzureAuthorizer, AzureCredentialProvider},
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
        ReqwestConnector,
    },
};
use tokio::task_local;

/// What must hold.
#[derive(Debug, Clone)]
pub(super) enum Condition {
    /// S3 and Azure: the tag of what is replaced.
    Match(String),
    /// Google: the generations of what is replaced and of what is copied.
    Generations { replaced: String, copied: String },
}

/// Runs `request`, one call of the client, under the condition.
pub(super) async fn under<T>(condition: Condition, request: impl Future<Output = T>) -> T {
    CONDITION.scope(condition, request).await
}

/// Connects as usual, and puts conditions into requests.
#[derive(Debug, Default, Clone)]
pub(super) struct Connector {
    /// Signs for Azure, once it is known.
    pub(super) azure: Arc<OnceLock<AzureCredentialProvider>>,
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let inner = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Conditional { inner, azure: Arc::clone(&self.azure) }))
    }
}

/// What is known of an object besides what the client tells; an extension of its answers.
#[derive(Debug, Default, Clone)]
pub(super) struct Seen {
    /// It has tags, which are lost when it is replaced.
    pub(super) has_tags: bool,
    /// Its storage class or tier, if it is not the usual one.
    pub(super) class: Option<String>,
}

#[derive(Debug)]
struct Conditional {
    inner: HttpClient,
    azure: Arc<OnceLock<AzureCredentialProvider>>,
}

#[async_trait]
impl HttpService for Conditional {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        if let Ok(condition) = CONDITION.try_with(Clone::clone) {
            self.add(&condition, &mut request)
                .await
                .map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))?;
        }
        let lists = is_listing(&request);
        let mut response = self.inner.execute(request).await?;
        if lists && response.status().is_success() {
            response = with_slashes_told(response).await?;
        }
        let seen = seen(&response);
        response.extensions_mut().insert(seen);
        Ok(response)
    }
}

impl Conditional {
    async fn add(&self, condition: &Condition, request: &mut HttpRequest) -> object_store::Result<()> {
        let value = |text: &str| {
            HeaderValue::from_str(text)
                .map_err(|error| object_store::Error::Generic { store: "Objects", source: Box::new(error) })
        };
        let query = request.uri().query().unwrap_or_default().to_owned();
        match (request.method().as_str(), condition) {
            ("POST", Condition::Match(tag)) if query.contains("uploadId=") => {
                request.headers_mut().insert("if-match", value(tag)?);
            }
            ("PUT", Condition::Match(tag)) if query.contains("comp=blocklist") => {
                request.headers_mut().insert("if-match", value(tag)?);
                self.sign(request).await?;
            }
            ("PUT", Condition::Generations { replaced, copied })
                if request.headers().contains_key("x-goog-copy-source") =>
            {
                request.headers_mut().insert("x-goog-if-generation-match", value(replaced)?);
                request.headers_mut().insert("x-goog-copy-source-if-generation-match", value(copied)?);
            }
            // A token that had to be fetched meanwhile.
            _ => {}
        }
        Ok(())
    }

    /// Signs again for Azure, if that is by a shared key.
    async fn sign(&self, request: &mut HttpRequest) -> object_store::Result<()> {
        let signed = request.headers().get("authorization").and_then(|value| value.to_str().ok());
        let Some((account, _)) = signed.and_then(|value| value.strip_prefix("SharedKey ")?.split_once(':'))
        else {
            return Ok(());
        };
        let (account, Some(azure)) = (account.to_owned(), self.azure.get()) else { return Ok(()) };
        let credential = azure.get_credential().await?;
        request.headers_mut().remove("authorization");
        AzureAuthorizer::new(&credential, &account).try_authorize(request)
    }
}

/// Whether it asks for a page of names: of S3 and Google, or of Azure.
fn is_listing(request: &HttpRequest) -> bool {
    let query = request.uri().query().unwrap_or_default();
    request.method().as_str() == "GET"
        && query.split('&').any(|pair| matches!(pair, "list-type=2" | "comp=list"))
}

/// The client takes a slash away that a key in a listing begins or ends with, and what is left is the key of another object, or of
/// none. Two slashes are an empty part, which it refuses.
async fn with_slashes_told(response: HttpResponse) -> Result<HttpResponse, HttpError> {
    let (parts, body) = response.into_parts();
    let body = slashes_doubled(&body.bytes().await?);
    Ok(HttpResponse::from_parts(parts, body.into()))
}

/// What is empty, such as the folder of a console, is passed over whatever it is called. Its key is left out where it ends with a
/// slash: what is refused has two of them.
fn slashes_doubled(page: &[u8]) -> Vec<u8> {
    let mut doubled = Vec::with_capacity(page.len());
    let (mut key, mut slash, mut is_empty) = (0, None, false);
    for byte in page {
        doubled.push(*byte);
        let ends_with = |end: &[u8]| doubled.ends_with(end);
        match *byte {
            b'/' if ends_with(b"<Key>/") || ends_with(b"<Name>/") => doubled.push(b'/'),
            b'>' if ends_with(b"<Key>") || ends_with(b"<Name>") => (key, slash) = (doubled.len(), None),
            b'>' if ends_with(b"/</Key>") => slash = Some(doubled.len() - b"</Key>".len()),
            b'>' if ends_with(b"/</Name>") => slash = Some(doubled.len() - b"</Name>".len()),
            b'>' if ends_with(b"<Size>0</Size>") || ends_with(b"<Content-Length>0</Content-Length>") => {
                is_empty = true;
            }
            // Of one object: what stands behind its key is short.
            b'>' if ends_with(b"</Contents>") || ends_with(b"</Blob>") => {
                match slash.take() {
                    Some(at) if !is_empty => doubled.insert(at, b'/'),
                    // Of Azure's the client leaves out what has no name, and lists nothing behind what it refuses.
                    Some(at) if ends_with(b"</Contents>") => drop(doubled.drain(key..at)),
                    _ => {}
                }
                is_empty = false;
            }
            _ => {}
        }
    }
    doubled
}

fn seen(response: &HttpResponse) -> Seen {
    let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    let counts = ["x-amz-tagging-count", "x-ms-tag-count"];
    let is_inferred = header("x-ms-access-tier-inferred").is_some();
    let classes = ["x-amz-storage-class", "x-goog-storage-class", "x-ms-access-tier"];
    Seen {
        has_tags: counts.into_iter().any(|name| header(name).is_some_and(|count| count != "0")),
        class: classes.into_iter().find_map(header).filter(|_| !is_inferred).map(str::to_owned),
    }
}

task_local! {
    static CONDITION: Condition;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slash_that_a_listed_key_begins_or_ends_with_is_one_that_the_client_refuses() {
        for (page, doubled) in [
            ("<Key>/a</Key><Key>b/c</Key>", "<Key>//a</Key><Key>b/c</Key>"),
            ("<Name>/</Name><Name>//a</Name>", "<Name>//</Name><Name>///a</Name>"),
            ("<Prefix>/a</Prefix><Key/>", "<Prefix>/a</Prefix><Key/>"),
            (
                "<Contents><Key>a/</Key><Size>10</Size></Contents><Contents><Key>b</Key><Size>1</Size></Contents>",
                "<Contents><Key>a//</Key><Size>10</Size></Contents><Contents><Key>b</Key><Size>1</Size></Contents>",
            ),
            (
                "<Contents><Key>/</Key><Size>1</Size></Contents>",
                "<Contents><Key>///</Key><Size>1</Size></Contents>",
            ),
            (
                "<Contents><Key>/a//b/</Key><Size>0</Size></Contents><Contents><Key>c/</Key><Size>1</Size></Contents>",
                "<Contents><Key></Key><Size>0</Size></Contents><Contents><Key>c//</Key><Size>1</Size></Contents>",
            ),
            (
                "<Blob><Name>a/</Name><Content-Length>1</Content-Length></Blob>",
                "<Blob><Name>a//</Name><Content-Length>1</Content-Length></Blob>",
            ),
            (
                "<Blob><Name>a/</Name><Content-Length>0</Content-Length></Blob>",
                "<Blob><Name>a/</Name><Content-Length>0</Content-Length></Blob>",
            ),
        ] {
            assert_eq!(slashes_doubled(page.as_bytes()), doubled.as_bytes());
        }
    }
}
