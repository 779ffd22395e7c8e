//! The server over a network: streamable HTTP over TLS 1.3, for clients with a certificate.
//!
//! There is no plain HTTP, no older TLS, and no way in without a certificate. A connection passes, in this order:
//!
//! 1. the networks that may connect, before a byte of it is read;
//! 2. the handshake: suites and groups are fixed, the certificate is that of a client, issued by the configured authority, valid now,
//!    and not revoked;
//! 3. the [name](Client::name) in that certificate, which [`Admission`] knows;
//! 4. the limits of its client, of its address and of the server;
//! 5. the audit log: who cannot be recorded is not served.
//!
//! Each request then passes the certificate again, when files were [reloaded](Server::reload) or time went by, the path, `Host` and
//! `Origin`, and the limits. What is refused is recorded with its [reason](Refusal).
//!
//! No session is kept between requests, as the protocol of 2026-07-28 has none: nothing can be stolen, pile up or outlive its
//! connection. A call is cancelled by closing its request.

mod admission;
mod client;
mod connection;
mod credentials;
mod hosts;
mod http;
mod limits;
mod metrics;
mod options;
mod rate;
mod refusal;
mod reports;
mod server;
mod settings;
mod slots;
mod stall;
mod watch;

pub use admission::Admission;
pub use client::{Client, ClientError};
pub use credentials::{CredentialFiles, CredentialsError};
pub use limits::Limits;
pub use metrics::{METRICS, describe_metrics};
pub use options::{ListenOptions, OptionsError};
pub use refusal::Refusal;
pub use server::{ListenError, Server};
pub use settings::{LimitSettings, ListenSettings};
