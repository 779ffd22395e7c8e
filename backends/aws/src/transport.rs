//! The way to AWS: every request of this crate leaves, and every answer comes
//! in, through the two clients of this file. They apply the limits of
//! [`envelope_sdk::http`] around whatever client does the work, so that no
//! setting of the environment, of a profile or of an `SdkConfig` that was made
//! elsewhere goes past them.

use std::{cell::Cell, error::Error, fmt};

use aws_config::SdkConfig;
use aws_sdk_kms::config::{
    ConfigBag, HttpClient, RuntimeComponents, RuntimeComponentsBuilder, SharedHttpClient,
    endpoint::{DefaultResolver, EndpointFuture, Params, ResolveEndpoint},
    http::{HttpRequest, HttpResponse},
};
use aws_smithy_http_client::{
    Builder, Connector, ConnectorBuilder,
    proxy::ProxyConfig,
    tls::{Provider, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        connector_metadata::ConnectorMetadata,
        http::{HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector},
        result::ConnectorError,
    },
};
use aws_smithy_types::{body::SdkBody, timeout::TimeoutConfig};
use envelope_sdk::http::{
    ATTEMPT_TIMEOUT, ATTEMPTS_OF_A_CALL, EndpointError, MAX_ANSWER_LEN, check_credential_endpoint,
    check_endpoint,
};
use http_body_util::{BodyExt, Limited};
use tracing::{
    Dispatch,
    instrument::{WithDispatch, WithSubscriber},
};

use crate::credentials::{Heard, Last};

/// For requests that carry keys: what [`check_endpoint`] permits. `client` does
/// the work, or one of this crate if there is none.
pub(crate) fn for_keys(client: Option<SharedHttpClient>) -> SharedHttpClient {
    let client = client.unwrap_or_else(own_client);
    SharedHttpClient::new(Guarded { client, check: check_endpoint, heard: None })
}

/// For the sources of credentials: what [`check_credential_endpoint`] permits, and
/// what is `heard` is told.
pub(crate) fn for_credentials(heard: &Heard) -> SharedHttpClient {
    let (client, heard) = (own_client(), Some(heard.clone()));
    SharedHttpClient::new(Guarded { client, check: check_credential_endpoint, heard })
}

/// Where KMS is, as the SDK resolves it, unless somebody set an endpoint that
/// [`check_endpoint`] refuses: the SDK panics at an empty one.
#[derive(Debug, Default)]
pub(crate) struct CheckedEndpoints(DefaultResolver);

impl ResolveEndpoint for CheckedEndpoints {
    fn resolve_endpoint<'a>(&'a self, params: &'a Params) -> EndpointFuture<'a> {
        match params.endpoint().map_or(Ok(()), check_endpoint) {
            Ok(()) => ResolveEndpoint::resolve_endpoint(&self.0, params),
            Err(error) => EndpointFuture::ready(Err(error.into())),
        }
    }
}

/// The same settings, with the deadlines of this crate where they have none: an
/// answer that drips would never end.
pub(crate) fn with_deadlines(config: SdkConfig) -> SdkConfig {
    let set = config.timeout_config();
    let attempt = set.and_then(TimeoutConfig::operation_attempt_timeout).unwrap_or(ATTEMPT_TIMEOUT);
    let whole = set.and_then(TimeoutConfig::operation_timeout);
    let timeouts = set.map_or_else(TimeoutConfig::builder, TimeoutConfig::to_builder);
    let timeouts = timeouts
        .operation_attempt_timeout(attempt)
        .operation_timeout(whole.unwrap_or(attempt.saturating_mul(ATTEMPTS_OF_A_CALL)));
    config.into_builder().timeout_config(timeouts.build()).build()
}

/// A call of which nothing is logged: at level TRACE the SDK writes down answers
/// as they are, which may repeat a DEK, and headers.
pub(crate) trait Unlogged: Future + Sized {
    fn unlogged(self) -> WithDispatch<Self> {
        self.with_subscriber(Dispatch::none())
    }
}

impl<F: Future> Unlogged for F {}

/// What becomes of a call, and how often KMS was asked in it; or else the source of the credentials, if KMS never was.
/// At least 1.
pub(crate) async fn counted<F: Future>(call: F) -> (F::Output, u32) {
    let counting = async move {
        let outcome = call.await;
        (
            outcome,
            SENT.with(|sent| if sent.keys.get() > 0 { sent.keys.get() } else { sent.credentials.get() }),
        )
    };
    let (outcome, sent) = SENT.scope(Sent::default(), counting).await;
    (outcome, sent.max(1))
}

tokio::task_local! {
    /// By the call that is being made: the SDK does not tell how often it sends a request.
    static SENT: Sent;
}

#[derive(Default)]
struct Sent {
    keys: Cell<u32>,
    credentials: Cell<u32>,
}

/// A client within limits.
#[derive(Debug)]
struct Guarded {
    client: SharedHttpClient,
    check: Check,
    heard: Option<Heard>,
}

type Check = fn(&str) -> Result<(), EndpointError>;

#[deny(clippy::missing_trait_methods)]
impl HttpClient for Guarded {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let connector = self.client.http_connector(settings, components);
        SharedHttpConnector::new(GuardedConnector { connector, check: self.check, heard: self.heard.clone() })
    }

    fn validate_base_client_config(
        &self,
        components: &RuntimeComponentsBuilder,
        settings: &ConfigBag,
    ) -> Result<(), BoxError> {
        HttpClient::validate_base_client_config(&self.client, components, settings)
    }

    fn validate_final_config(
        &self,
        components: &RuntimeComponents,
        settings: &ConfigBag,
    ) -> Result<(), BoxError> {
        HttpClient::validate_final_config(&self.client, components, settings)
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        self.client.connector_metadata()
    }
}

#[derive(Debug)]
struct GuardedConnector {
    connector: SharedHttpConnector,
    check: Check,
    heard: Option<Heard>,
}

impl HttpConnector for GuardedConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        // The URI as it is sent, whoever chose it.
        if let Err(error) = (self.check)(request.uri()) {
            return HttpConnectorFuture::ready(Err(ConnectorError::user(error.into())));
        }
        let heard = self.heard.clone();
        // Nobody counts what is asked outside of a call that wraps or unwraps.
        let _ = SENT.try_with(|sent| {
            let count = if heard.is_some() { &sent.credentials } else { &sent.keys };
            count.set(count.get().saturating_add(1));
        });
        if let Some(heard) = &heard {
            heard.hear(Last::Nothing);
        }
        let answer = self.connector.call(request);
        HttpConnectorFuture::new(async move {
            let answer = answer.await?;
            if let Some(heard) = heard {
                heard.hear(Last::Status(answer.status().as_u16()));
            }
            Ok(limited(answer))
        })
    }
}

/// The answer, whose body fails behind the last byte that is permitted, and says
/// so if it breaks off before.
fn limited(mut answer: HttpResponse) -> HttpResponse {
    let body = answer.take_body().map_err(BrokenOff);
    *answer.body_mut() = SdkBody::from_body_1_x(Limited::new(body, MAX_ANSWER_LEN));
    answer
}

/// The connection broke while an answer came. To the SDK that is the same as an
/// answer that makes no sense.
#[derive(Debug)]
pub(crate) struct BrokenOff(BoxError);

impl fmt::Display for BrokenOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the answer broke off")
    }
}

impl Error for BrokenOff {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}

/// The client that the SDK has by default, with the proxies of the environment
/// for `https`, in a tunnel. Plain `http` goes to this machine or its cloud's
/// metadata, and never by a proxy, which would read it.
fn own_client() -> SharedHttpClient {
    let client = |proxies: fn() -> ProxyConfig| {
        Builder::new()
            .build_with_connector_fn(move |settings, components| connector(settings, components, proxies()))
    };
    SharedHttpClient::new(ByScheme {
        http: client(ProxyConfig::disabled),
        https: client(ProxyConfig::from_env),
    })
}

fn connector(
    settings: Option<&HttpConnectorSettings>,
    components: Option<&RuntimeComponents>,
    proxies: ProxyConfig,
) -> Connector {
    let mut connector = ConnectorBuilder::default().tls_provider(Provider::Rustls(MODE));
    connector.set_connector_settings(settings.cloned());
    connector.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
    connector.set_proxy_config(Some(proxies));
    connector.build()
}

#[derive(Debug)]
struct ByScheme {
    http: SharedHttpClient,
    https: SharedHttpClient,
}

impl HttpClient for ByScheme {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(ConnectorByScheme {
            http: self.http.http_connector(settings, components),
            https: self.https.http_connector(settings, components),
        })
    }
}

#[derive(Debug)]
struct ConnectorByScheme {
    http: SharedHttpConnector,
    https: SharedHttpConnector,
}

impl HttpConnector for ConnectorByScheme {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let is_plain = request.uri().get(..5).is_some_and(|start| start.eq_ignore_ascii_case("http:"));
        if is_plain { self.http.call(request) } else { self.https.call(request) }
    }
}

#[cfg(feature = "fips")]
const MODE: CryptoMode = CryptoMode::AwsLcFips;
#[cfg(not(feature = "fips"))]
const MODE: CryptoMode = CryptoMode::AwsLc;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn settings_without_deadlines_get_those_of_this_crate() {
        let deadlines = |set: TimeoutConfig| {
            let config = with_deadlines(SdkConfig::builder().timeout_config(set).build());
            let timeouts = config.timeout_config().unwrap();
            (timeouts.operation_attempt_timeout().unwrap(), timeouts.operation_timeout().unwrap())
        };
        let second = Duration::from_secs(1);
        assert_eq!(deadlines(TimeoutConfig::builder().build()), (ATTEMPT_TIMEOUT, 4 * ATTEMPT_TIMEOUT));
        assert_eq!(deadlines(TimeoutConfig::disabled()), (ATTEMPT_TIMEOUT, 4 * ATTEMPT_TIMEOUT));
        let attempt = TimeoutConfig::builder().operation_attempt_timeout(second).build();
        assert_eq!(deadlines(attempt), (second, 4 * second));
        let both = TimeoutConfig::builder().operation_attempt_timeout(second).operation_timeout(9 * second);
        assert_eq!(deadlines(both.build()), (second, 9 * second));
    }
}
