//! A KMS that answers what a test says: for errors, which a real one does not
//! give on demand.

use std::time::Duration;

use envelope_sdk::{KeyProvider, ProviderError, WrappedDek};
use envelope_testkit::http_server::{Answer, HttpServer, Request};

use super::*;

pub(crate) struct Canned(pub(crate) HttpServer);

impl Canned {
    pub(crate) fn answering(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        Self(HttpServer::answering(answer))
    }

    /// Refuses everything so.
    pub(crate) fn refusing(status: u16, code: &'static str) -> Self {
        Self::answering(move |_| refusal(status, code))
    }

    /// Says this to everything, with the number of the request for `REQUEST`: each
    /// page of a list has a marker of its own.
    pub(crate) fn saying(body: impl Into<String>) -> Self {
        let body = body.into();
        Self::answering(move |request| said(200, body.replace("REQUEST", &request.number.to_string())))
    }

    /// The answer to each call, by its name.
    pub(crate) fn by_call(answers: Vec<(&'static str, Answer)>) -> Self {
        Self::answering(move |request| {
            let call = call_of(request);
            let known = answers.iter().find(|(name, _)| *name == call);
            known.unwrap_or_else(|| panic!("nothing is said of {call}")).1.clone()
        })
    }

    pub(crate) fn kms(&self) -> AwsKms {
        // Long enough for an answer, short for those that never come.
        at(&self.0.url()).attempts(1).attempt_timeout(Duration::from_millis(1500)).build()
    }

    /// The calls since the last time, in their order.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.0.take().iter().map(call_of).collect()
    }

    pub(crate) fn wrap(&self) -> Result<WrappedDek, ProviderError> {
        block_on(wrap(&self.kms()))
    }

    pub(crate) fn unwrap(&self) -> Result<Dek, ProviderError> {
        block_on(unwrap(&self.kms()))
    }

    pub(crate) fn generate(&self) -> Result<(Dek, WrappedDek), ProviderError> {
        block_on(self.kms().generate_dek(&the_key(), &context()))
    }

    pub(crate) fn rewrap(&self) -> Result<Option<WrappedDek>, ProviderError> {
        block_on(rewrap(&self.kms(), &the_key()))
    }
}

/// An answer of KMS.
pub(crate) fn said(status: u16, body: impl Into<Vec<u8>>) -> Answer {
    Answer::new(status)
        .header("content-type", "application/x-amz-json-1.1")
        .header("x-amzn-requestid", "0123-request")
        .body(body)
}

pub(crate) fn refusal(status: u16, code: &str) -> Answer {
    said(status, format!(r#"{{"__type":"{code}","message":"the service's words"}}"#))
}

/// What KMS says of [`the_key`], in this state and with these further members.
pub(crate) fn described(state: &str, more: &str) -> Answer {
    described_as(&the_key(), state, more)
}

/// What KMS says of a key.
pub(crate) fn described_as(key: &KeyUri, state: &str, more: &str) -> Answer {
    said(
        200,
        format!(
            r#"{{"KeyMetadata":{{"KeyId":"1a","Arn":"{}","KeyState":"{state}","KeyUsage":"ENCRYPT_DECRYPT",
                "KeySpec":"SYMMETRIC_DEFAULT","Origin":"AWS_KMS"{more}}}}}"#,
            key.rest().trim_start_matches('/')
        ),
    )
}

/// `Encrypt`, `DescribeKey`, …
pub(crate) fn call_of(request: &Request) -> String {
    let target = request.header("x-amz-target").unwrap_or_default();
    target.rsplit('.').next().unwrap_or_default().to_owned()
}

pub(crate) async fn wrap(kms: &AwsKms) -> Result<WrappedDek, ProviderError> {
    kms.wrap_dek(&the_key(), &Dek::generate::<DefaultEngine>().unwrap(), &context()).await
}

pub(crate) async fn unwrap(kms: &AwsKms) -> Result<Dek, ProviderError> {
    kms.unwrap_dek(&some_wrap(), &context()).await
}

pub(crate) async fn rewrap(kms: &AwsKms, to: &KeyUri) -> Result<Option<WrappedDek>, ProviderError> {
    kms.rewrap_dek(&some_wrap(), to, &context()).await
}

fn some_wrap() -> WrappedDek {
    WrappedDek::new(the_key(), "", "AWS-KMS", vec![1; 184]).unwrap()
}

pub(crate) fn the_key() -> KeyUri {
    key("1234abcd-12ab-34cd-56ef-1234567890ab")
}

pub(crate) fn the_arn() -> String {
    the_key().rest().trim_start_matches('/').to_owned()
}
