//! Errors of the way to credentials.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_kms::{
    config::http::HttpResponse,
    error::{ErrorMetadata, ProvideErrorMetadata, SdkError},
};
use aws_smithy_runtime_api::client::result::ConnectorError;
use envelope_sdk::{
    KeyUri, ProviderError,
    ProviderErrorKind::{self, AccessDenied, Invalid, Throttled, Unavailable},
    http::{EndpointError, causes, find_cause, kind_of_status},
};

use super::{
    codes::{is_of_credentials, known},
    failure,
};
use crate::credentials::{Failed, Last, Unusable};

/// Whether the settings and AWS's own files have no credentials, or some that
/// cannot be: before anybody was asked for them.
pub(crate) fn finds_no_credentials(error: &(dyn Error + 'static)) -> bool {
    first(error).is_some_and(is_of_settings)
}

/// Whether AWS does not accept the credentials, or does not any more: those of AWS's own files may be
/// others now, which the SDK reads once. The source of the credentials may say so too, of those that a
/// role is taken with.
pub(crate) fn finds_credentials_refused<E>(error: &SdkError<E, HttpResponse>) -> bool
where
    E: ProvideErrorMetadata + Error + 'static,
{
    if first(error).is_some() {
        code_of_source(error).is_some_and(|(code, ..)| is_of_credentials(code))
    } else {
        error.code().is_some_and(is_of_credentials)
    }
}

/// The error of a call that got no credentials, if it is one.
pub(super) fn no_credentials(key: Option<&KeyUri>, error: &(dyn Error + 'static)) -> Option<ProviderError> {
    let first = first(error)?;
    Some(match cause(error, first) {
        Cause::Settings(message) => failure(Invalid, key, message),
        Cause::None => {
            let message = format!(
                "there are no AWS credentials: {}. Set AWS_PROFILE, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, log in with \
                 `aws sso login`, or run where a role is attached",
                causes(first)
            );
            failure(AccessDenied, key, message)
        }
        Cause::Away(what) => {
            let message = format!(
                "the source of AWS credentials {what}: try again later, and see its endpoint, the region and the \
                 network if that does not pass"
            );
            failure(Unavailable, key, message)
        }
        Cause::Throttling => {
            failure(Throttled, key, "the source of AWS credentials wants fewer requests: try again later")
        }
        Cause::Refusal(why) => {
            let message = format!(
                "there are no AWS credentials: {why}. `aws sts get-caller-identity` with the same settings tells more; \
                 AWS_PROFILE, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or `aws sso login`, give others"
            );
            failure(AccessDenied, key, message)
        }
    })
}

/// Why there are no credentials.
enum Cause {
    /// The settings cannot be.
    Settings(String),
    /// The settings and AWS's own files have none.
    None,
    Away(String),
    Throttling,
    Refusal(String),
}

fn cause(error: &(dyn Error + 'static), first: &CredentialsError) -> Cause {
    if let Some(endpoint) = find_cause::<EndpointError>(error) {
        return Cause::Settings(format!("the source of AWS credentials is not asked: {endpoint}"));
    }
    if let Some(unusable) = find_cause::<Unusable>(error) {
        return Cause::Settings(format!("there are no AWS credentials that can be used: {unusable}"));
    }
    if matches!(first, CredentialsError::ProviderTimedOut(_)) {
        return Cause::Away("did not answer in time".into());
    }
    // STS and its like are sent tokens and send keys: nothing of their answers is shown either.
    if let Some((code, kind, what)) = code_of_source(error) {
        return match kind {
            Throttled => Cause::Throttling,
            Unavailable => Cause::Away(format!("failed ({code})")),
            _ => Cause::Refusal(format!("{what} ({code})")),
        };
    }
    if is_of_settings(first) {
        return Cause::None;
    }
    if lacks_a_region(error) {
        return Cause::Settings(NO_REGION_OF_STS.into());
    }
    match find_cause::<Failed>(error).map(|failed| failed.last) {
        Some(Last::Nothing) => return Cause::Away("cannot be reached, or does not answer".into()),
        Some(Last::Status(status)) => match kind_of_status(status) {
            Throttled => return Cause::Throttling,
            Unavailable => return Cause::Away(format!("failed (status {status})")),
            _ => {}
        },
        None => {}
    }
    // A source that asks by a client of its own.
    match find_cause::<ConnectorError>(error) {
        Some(connector) if connector.is_io() || connector.is_timeout() => {
            Cause::Away("cannot be reached, or does not answer".into())
        }
        _ => Cause::Refusal("their source failed or refused".into()),
    }
}

/// The error of the source that was asked first: that of a role is the last one.
fn first<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e CredentialsError> {
    let mut found: Option<&'e CredentialsError> = None;
    let mut next = Some(error);
    while let Some(error) = next {
        found = error.downcast_ref().or(found);
        next = error.source();
    }
    found
}

/// Both are said of settings and files, before anybody was asked.
fn is_of_settings(error: &CredentialsError) -> bool {
    matches!(error, CredentialsError::CredentialsNotLoaded(_) | CredentialsError::InvalidConfiguration(_))
}

/// The error code of the service that was asked for credentials, if it is known.
fn code_of_source(
    error: &(dyn Error + 'static),
) -> Option<&'static (&'static str, ProviderErrorKind, &'static str)> {
    if let Some(code) = find_cause::<ErrorMetadata>(error).and_then(ProvideErrorMetadata::code) {
        return known(code);
    }
    // Errors that the SDK has a type for begin with their code.
    let mut next = Some(error);
    while let Some(error) = next {
        let words = error.to_string();
        if let Some(code) = words.split([':', ' ']).next().and_then(known) {
            return Some(code);
        }
        next = error.source();
    }
    None
}

/// So the SDK says it of whatever service.
fn lacks_a_region(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.to_string().contains("Missing Region") {
            return true;
        }
        next = error.source();
    }
    false
}

pub(crate) const NO_REGION_OF_STS: &str = "no region is configured, in which STS is asked for the role: set AWS_REGION, or the \
                                           region of the profile";
