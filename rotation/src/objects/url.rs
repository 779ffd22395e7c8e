//! `s3://bucket/key`, in its parts.

/// What a URL names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Url {
    pub(super) kind: Kind,
    pub(super) bucket: String,
    /// As it is written; empty for the whole bucket.
    pub(super) key: String,
}

/// Whose store it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    S3,
    Google,
    Azure,
}

impl Url {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let kind = [Kind::S3, Kind::Google, Kind::Azure].into_iter().find(|kind| kind.scheme() == scheme)?;
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        // As all three stores name buckets: nothing in it means something in the URL of a request.
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'$');
        let is_name = !bucket.trim_matches('.').is_empty() && bucket.bytes().all(is_plain);
        is_name.then(|| Self { kind, bucket: bucket.to_owned(), key: key.to_owned() })
    }

    /// What the names of all objects in the bucket begin with.
    pub(super) fn store_name(&self) -> String {
        format!("{}://{}/", self.kind.scheme(), self.bucket)
    }
}

impl Kind {
    fn scheme(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Google => "gs",
            Self::Azure => "az",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_a_store_a_bucket_and_a_key_that_is_not_decoded() {
        let url = Url::parse("s3://b/x%41/y?z#w").unwrap();
        assert_eq!((url.kind, url.bucket.as_str(), url.key.as_str()), (Kind::S3, "b", "x%41/y?z#w"));
        assert_eq!(url.store_name(), "s3://b/");
        assert_eq!(Url::parse("gs://b").unwrap().key, "");
        assert_eq!(Url::parse("az://c/").unwrap().kind, Kind::Azure);
    }

    #[test]
    fn what_names_no_bucket_of_a_known_store_is_no_url() {
        for text in [
            "s3://",
            "s3:///x",
            "S3://b",
            "http://b/x",
            "file:///x",
            "/x",
            "s3:/b",
            "./s3://b",
            "s3://../x",
            "s3://b?x",
            "s3://u@b/x",
        ] {
            assert_eq!(Url::parse(text), None, "{text}");
        }
    }
}
