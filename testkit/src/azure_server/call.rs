//! A request taken apart: the vault, the path, the query, the body, and who asks.

use base64ct::{Base64UrlUnpadded, Encoding as _};
use serde_json::{Map, Value};

use super::reply::Reply;
use crate::http_server::Request;

/// Which service a host is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Service {
    KeyVault,
    ManagedHsm,
}

/// The vault, or the HSM, that is asked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Vault {
    pub(super) service: Service,
    pub(super) name: String,
}

/// One request.
pub(super) struct Call {
    pub(super) method: String,
    /// The host with its port, as the client wrote it.
    pub(super) host: String,
    /// `None` when the host is of no vault: who hands out tokens, and the tests.
    pub(super) vault: Option<Vault>,
    /// The parts of the path between its slashes; empty ones too.
    pub(super) path: Vec<String>,
    pub(super) query: Vec<(String, String)>,
    pub(super) body: Value,
    /// The bearer token.
    pub(super) token: Option<String>,
}

impl Call {
    /// Or what keeps it from being a call.
    pub(super) fn read(request: &Request) -> Result<Self, String> {
        let path = request.decoded_path().ok_or("the path is no UTF-8")?;
        let host = request.header("host").unwrap_or_default().to_owned();
        let is_form = request.header("content-type").is_some_and(|kind| kind.contains("form-urlencoded"));
        let body = match request.body.as_slice() {
            [] => Value::Null,
            form if is_form => form_value(form).ok_or("the form is no UTF-8")?,
            body => serde_json::from_slice(body).map_err(|error| format!("the body is no JSON: {error}"))?,
        };
        Ok(Self {
            method: request.method.clone(),
            vault: vault_of(&host),
            host,
            path: path.trim_start_matches('/').split('/').map(str::to_owned).collect(),
            query: request.query().ok_or("the query is no UTF-8")?,
            body,
            token: request.token().map(str::to_owned),
        })
    }

    /// A parameter of the query.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Where the vault is, as the identifiers of its keys begin.
    pub(super) fn base(&self) -> String {
        format!("https://{}", self.host)
    }

    /// A field of the body, unless it is absent or `null`.
    pub(super) fn field(&self, name: &str) -> Option<&Value> {
        self.body.get(name).filter(|value| !value.is_null())
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, Reply> {
        self.field(name).map(|value| value.as_str().ok_or_else(|| wrong(name))).transpose()
    }

    /// A field of bytes. Their length is not told where they are no base64url.
    pub(super) fn bytes(&self, name: &str) -> Result<Option<Vec<u8>>, Reply> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        Base64UrlUnpadded::decode_vec(text).map(Some).map_err(|_| wrong(name))
    }
}

pub(super) fn base64url(bytes: &[u8]) -> String {
    Base64UrlUnpadded::encode_string(bytes)
}

pub(super) fn wrong(name: &str) -> Reply {
    Reply::bad(format!("Property {name} has invalid value"))
}

fn form_value(form: &[u8]) -> Option<Value> {
    let fields = crate::http_server::pairs(std::str::from_utf8(form).ok()?)?;
    let fields: Map<String, Value> = fields.into_iter().map(|(name, value)| (name, value.into())).collect();
    Some(Value::Object(fields))
}

fn vault_of(host: &str) -> Option<Vault> {
    let host = host.split(':').next().unwrap_or_default();
    let (name, service) = match host.split_once('.')? {
        (name, "vault.localhost") => (name, Service::KeyVault),
        (name, "managedhsm.localhost") => (name, Service::ManagedHsm),
        _ => return None,
    };
    Some(Vault { service, name: name.to_ascii_lowercase() })
}
