//! [`Refusal`]: why a connection or a request was not served.

use std::io;

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible};

/// Why a connection or a request was not served. Its [name](Self::name) stands in the audit log and in metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// The address is in none of the networks that may connect.
    Network,
    /// Too many handshakes are under way, and this was the oldest.
    Crowded,
    /// The handshake took too long.
    HandshakeTimeout,
    /// The peer went away before the handshake had ended.
    HandshakeAborted,
    /// What came is not TLS, such as plain HTTP.
    NotTls,
    /// The peer does not speak TLS 1.3.
    TlsVersion,
    /// No suite, group or signature in common.
    NoCommonSuite,
    /// There was no certificate.
    NoCertificate,
    /// No configured authority issued the certificate.
    UnknownIssuer,
    /// The certificate, or one above it, has expired.
    Expired,
    /// The certificate, or one above it, is not valid yet.
    NotYetValid,
    /// The certificate, or one above it, was revoked.
    Revoked,
    /// No revocation list says anything of the certificate's issuer.
    RevocationUnknown,
    /// The revocation list should have been replaced by now.
    StaleCrl,
    /// The certificate is not one of clients.
    WrongPurpose,
    /// The certificate is not right in another way.
    BadCertificate,
    /// Another breach of the TLS protocol.
    Protocol,
    /// The certificate has no name that a client can have.
    NoName,
    /// Whoever knows who may connect does not know this name.
    NotAdmitted,
    /// The server has as many connections as it may.
    TooManyConnections,
    /// The address has as many connections as it may.
    TooManyOfAddress,
    /// The client has as many connections as it may.
    TooManyOfClient,
    /// It could not be recorded.
    NotRecorded,
    /// The header of a request is too long, or is none.
    BadRequest,
    /// The header of a request did not come in time.
    HeaderTimeout,
    /// The body of a request did not come in time.
    BodyTimeout,
    /// The body of a request is too long.
    BodyTooLarge,
    /// `Host` is none of this server, or there is not one.
    Host,
    /// `Origin` is not one that may call.
    Origin,
    /// The client asks too often.
    TooManyRequests,
    /// The call took too long.
    CallTimeout,
    /// The client did not take the answer.
    Stalled,
}

impl Refusal {
    /// Every reason.
    pub const ALL: [Self; 32] = [
        Self::Network,
        Self::Crowded,
        Self::HandshakeTimeout,
        Self::HandshakeAborted,
        Self::NotTls,
        Self::TlsVersion,
        Self::NoCommonSuite,
        Self::NoCertificate,
        Self::UnknownIssuer,
        Self::Expired,
        Self::NotYetValid,
        Self::Revoked,
        Self::RevocationUnknown,
        Self::StaleCrl,
        Self::WrongPurpose,
        Self::BadCertificate,
        Self::Protocol,
        Self::NoName,
        Self::NotAdmitted,
        Self::TooManyConnections,
        Self::TooManyOfAddress,
        Self::TooManyOfClient,
        Self::NotRecorded,
        Self::BadRequest,
        Self::HeaderTimeout,
        Self::BodyTimeout,
        Self::BodyTooLarge,
        Self::Host,
        Self::Origin,
        Self::TooManyRequests,
        Self::CallTimeout,
        Self::Stalled,
    ];

    /// Its word: `no-certificate`, `unknown-issuer`, …
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Crowded => "crowded",
            Self::HandshakeTimeout => "handshake-timeout",
            Self::HandshakeAborted => "handshake-aborted",
            Self::NotTls => "not-tls",
            Self::TlsVersion => "tls-version",
            Self::NoCommonSuite => "no-common-suite",
            Self::NoCertificate => "no-certificate",
            Self::UnknownIssuer => "unknown-issuer",
            Self::Expired => "expired",
            Self::NotYetValid => "not-yet-valid",
            Self::Revoked => "revoked",
            Self::RevocationUnknown => "revocation-unknown",
            Self::StaleCrl => "stale-crl",
            Self::WrongPurpose => "wrong-purpose",
            Self::BadCertificate => "bad-certificate",
            Self::Protocol => "protocol",
            Self::NoName => "no-name",
            Self::NotAdmitted => "not-admitted",
            Self::TooManyConnections => "too-many-connections",
            Self::TooManyOfAddress => "too-many-of-address",
            Self::TooManyOfClient => "too-many-of-client",
            Self::NotRecorded => "not-recorded",
            Self::BadRequest => "bad-request",
            Self::HeaderTimeout => "header-timeout",
            Self::BodyTimeout => "body-timeout",
            Self::BodyTooLarge => "body-too-large",
            Self::Host => "host",
            Self::Origin => "origin",
            Self::TooManyRequests => "too-many-requests",
            Self::CallTimeout => "call-timeout",
            Self::Stalled => "stalled",
        }
    }

    /// Whether it is a limit that was reached rather than somebody who may not.
    #[must_use]
    pub const fn is_limit(self) -> bool {
        matches!(
            self,
            Self::Crowded
                | Self::HandshakeTimeout
                | Self::TooManyConnections
                | Self::TooManyOfAddress
                | Self::TooManyOfClient
                | Self::HeaderTimeout
                | Self::BodyTimeout
                | Self::BodyTooLarge
                | Self::TooManyRequests
                | Self::CallTimeout
                | Self::Stalled
        )
    }

    /// Why a handshake failed.
    pub(crate) fn of_handshake(error: &io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
            Some(error) => Self::of_tls(error),
            None if error.kind() == io::ErrorKind::TimedOut => Self::Stalled,
            None => Self::HandshakeAborted,
        }
    }

    /// Why TLS failed.
    pub(crate) fn of_tls(error: &Error) -> Self {
        match error {
            Error::NoCertificatesPresented => Self::NoCertificate,
            Error::InvalidCertificate(error) => Self::of_certificate(error),
            Error::InvalidMessage(
                InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
            ) => Self::NotTls,
            Error::PeerIncompatible(
                PeerIncompatible::NoCipherSuitesInCommon
                | PeerIncompatible::NoKxGroupsInCommon
                | PeerIncompatible::NoSignatureSchemesInCommon
                | PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon,
            ) => Self::NoCommonSuite,
            Error::PeerIncompatible(
                PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
                | PeerIncompatible::ServerDoesNotSupportTls12Or13
                | PeerIncompatible::SupportedVersionsExtensionRequired
                | PeerIncompatible::Tls12NotOffered
                | PeerIncompatible::Tls12NotOfferedOrEnabled,
            ) => Self::TlsVersion,
            Error::AlertReceived(AlertDescription::CloseNotify | AlertDescription::UserCanceled) => {
                Self::HandshakeAborted
            }
            _ => Self::Protocol,
        }
    }

    fn of_certificate(error: &CertificateError) -> Self {
        match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotYetValid,
            CertificateError::Revoked => Self::Revoked,
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::UnknownIssuer,
            CertificateError::UnknownRevocationStatus => Self::RevocationUnknown,
            CertificateError::ExpiredRevocationList
            | CertificateError::ExpiredRevocationListContext { .. } => Self::StaleCrl,
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                Self::WrongPurpose
            }
            _ => Self::BadCertificate,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Refusal;

    #[test]
    fn every_reason_has_a_word_of_its_own_that_the_audit_log_takes() {
        let mut names: Vec<_> = Refusal::ALL.iter().map(|refusal| refusal.name()).collect();
        for name in &names {
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{name}");
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Refusal::ALL.len());
    }
}
