//! Where credentials come from, and what is refused of them. Microsoft's client asks
//! for the tokens; they are kept here, and files and secrets are read here.

mod anew;
mod certificate;
mod files;
mod tokens;
mod tools;

use std::{env, path::PathBuf, sync::Arc};

use azure_core::{
    cloud::{CloudConfiguration, CustomConfiguration},
    credentials::{Secret, TokenCredential},
    http::{ClientOptions, RetryOptions, Transport},
};
use azure_identity::{
    ClientAssertion, ClientAssertionCredential, ClientAssertionCredentialOptions, ClientSecretCredential,
    ClientSecretCredentialOptions, ManagedIdentityCredential, ManagedIdentityCredentialOptions,
    UserAssignedId,
};
use envelope_sdk::{
    ProviderError,
    ProviderErrorKind::{AccessDenied, Invalid},
    http::check_endpoint,
    secret::{Prompt, Secrets},
};
use zeroize::Zeroizing;

use crate::{
    failure::failure,
    transport::{Guarded, Way},
};
use anew::{Anew, Shared};
use certificate::Certificate;
pub(crate) use files::read_roots;
use files::{TokenFile, read};
pub(crate) use tokens::{ForVault, Got, Tokens, Wanted, WrongAudience, no_token};
use tools::Tools;

/// Credentials, and how what the settings leave open is found.
#[derive(Clone, Default)]
pub(crate) struct Sources {
    pub(crate) from: From,
    pub(crate) tenant: Option<String>,
    pub(crate) client: Option<String>,
    /// Whom tokens are asked of, in place of that of the cloud.
    pub(crate) authority: Option<String>,
    /// Who may have been given a client secret or certificate.
    pub(crate) given: Option<Arc<dyn Secrets>>,
    pub(crate) trusted_files_only: bool,
}

/// What a caller shows.
#[derive(Clone, Default)]
pub(crate) enum From {
    /// What the environment says, and the developer tools after that.
    #[default]
    Default,
    /// `az login`, `azd auth login`.
    DeveloperTools,
    /// Of this machine: the one of the system, or one that was assigned to it.
    ManagedIdentity(Option<Assigned>),
    /// A token of a Kubernetes service account, in a file.
    WorkloadIdentity(Option<PathBuf>),
    ClientSecret(Text),
    ClientCertificate(Text),
    /// Made elsewhere.
    Given(Arc<dyn TokenCredential>),
}

/// A managed identity that was assigned to this machine.
#[derive(Clone)]
pub(crate) enum Assigned {
    Client(String),
    Object(String),
    Resource(String),
}

/// A secret text.
#[derive(Clone)]
pub(crate) enum Text {
    File(PathBuf),
    Given(Zeroizing<String>),
    /// Asked for when it is needed.
    Asked,
}

impl Sources {
    /// Reads files, the environment and secrets, and may block. Nothing is asked over
    /// the network here.
    pub(crate) fn load(&self, authority: &str, way: &Way) -> Result<Arc<dyn TokenCredential>, ProviderError> {
        let authority = self.authority.as_deref().unwrap_or(authority);
        let fits = authority.starts_with("https://") && check_endpoint(authority).is_ok();
        if !fits || authority.contains(['?', '#']) {
            return Err(failure(
                Invalid,
                None,
                "the authority that is asked for tokens is a URL of the form https://HOST",
            ));
        }
        match self.chosen()? {
            From::Given(credential) => Ok(credential),
            From::DeveloperTools | From::Default => {
                let tenant = if self.tenant.is_some() { Some(self.tenant()?) } else { None };
                Ok(Arc::new(Tools::new(tenant).map_err(|_| cannot("developer tools"))?))
            }
            From::ManagedIdentity(assigned) => {
                let options = ManagedIdentityCredentialOptions {
                    user_assigned_id: assigned.map(|id| match id {
                        Assigned::Client(id) => UserAssignedId::ClientId(id),
                        Assigned::Object(id) => UserAssignedId::ObjectId(id),
                        Assigned::Resource(id) => UserAssignedId::ResourceId(id),
                    }),
                    client_options: options(authority, way.to_tokens(true).map_err(|_| no_client())?),
                };
                Anew::credential(move || {
                    let made: Arc<dyn TokenCredential> =
                        ManagedIdentityCredential::new(Some(options.clone()))?;
                    Ok(made)
                })
                .map_err(|_| cannot("the identity of this machine"))
            }
            From::WorkloadIdentity(file) => {
                let file = file.or_else(|| env::var_os(TOKEN_FILE).map(PathBuf::from));
                let Some(file) = file else {
                    return Err(lacking("a file with the token of the workload", TOKEN_FILE, "token-file"));
                };
                self.assertion(authority, way, TokenFile::new(file, self.trusted_files_only))
            }
            From::ClientSecret(secret) => {
                let secret = self.text(&secret, SECRET, "client secret")?;
                let (tenant, client) = (self.tenant()?, self.client()?);
                let options = options(authority, way.to_tokens(false).map_err(|_| no_client())?);
                let secret = Secret::new(secret.trim_end_matches(['\r', '\n']).to_owned());
                Anew::credential(move || {
                    let options = ClientSecretCredentialOptions { client_options: options.clone() };
                    let made: Arc<dyn TokenCredential> =
                        ClientSecretCredential::new(&tenant, client.clone(), secret.clone(), Some(options))?;
                    Ok(made)
                })
                .map_err(|_| cannot("the client secret"))
            }
            From::ClientCertificate(pem) => {
                let pem = self.text(&pem, CERTIFICATE, "client certificate with its key, as PEM")?;
                let (tenant, client) = (self.tenant()?, self.client()?);
                let audience = format!("{}/{tenant}/oauth2/v2.0/token", authority.trim_end_matches('/'));
                let certificate = Certificate::read(&pem, client, audience)
                    .map_err(|message| failure(Invalid, None, message))?;
                self.assertion(authority, way, certificate)
            }
        }
    }

    /// Whether a person is asked, who takes as long as it takes.
    pub(crate) fn asks(&self) -> bool {
        matches!(self.from, From::ClientSecret(Text::Asked) | From::ClientCertificate(Text::Asked))
    }

    /// Whether a file holds what the caller shows: it may hold something else by now. A pipe is read once.
    pub(crate) fn can_be_read_anew(&self) -> bool {
        match self.chosen() {
            Ok(From::ClientSecret(Text::File(path)) | From::ClientCertificate(Text::File(path))) => {
                path.is_file()
            }
            _ => false,
        }
    }

    /// What the environment says goes only where the settings say nothing
    /// (<https://learn.microsoft.com/azure/developer/rust/sdk/authentication/overview>).
    fn chosen(&self) -> Result<From, ProviderError> {
        let From::Default = self.from else { return Ok(self.from.clone()) };
        for (name, of) in
            [(SECRET, From::ClientSecret as fn(Text) -> From), (CERTIFICATE, From::ClientCertificate)]
        {
            if let Some(text) = self.given(name)? {
                return Ok(of(Text::Given(text)));
            }
        }
        let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        Ok(if let Some(secret) = variable("AZURE_CLIENT_SECRET") {
            From::ClientSecret(Text::Given(Zeroizing::new(secret)))
        } else if let Some(path) = variable("AZURE_CLIENT_CERTIFICATE_PATH") {
            From::ClientCertificate(Text::File(path.into()))
        } else if variable(TOKEN_FILE).is_some() {
            From::WorkloadIdentity(None)
        } else if variable("IDENTITY_ENDPOINT").is_some() {
            From::ManagedIdentity(self.client.clone().or_else(|| variable(CLIENT)).map(Assigned::Client))
        } else {
            From::DeveloperTools
        })
    }

    fn assertion<A: ClientAssertion + 'static>(
        &self,
        authority: &str,
        way: &Way,
        assertion: A,
    ) -> Result<Arc<dyn TokenCredential>, ProviderError> {
        let options = options(authority, way.to_tokens(false).map_err(|_| no_client())?);
        let (tenant, client, assertion) = (self.tenant()?, self.client()?, Shared::new(assertion));
        Anew::credential(move || {
            let options = ClientAssertionCredentialOptions { client_options: options.clone() };
            let made: Arc<dyn TokenCredential> = ClientAssertionCredential::new(
                tenant.clone(),
                client.clone(),
                assertion.clone(),
                Some(options),
            )?;
            Ok(made)
        })
        .map_err(|_| cannot("the tenant and the client"))
    }

    fn given(&self, name: &str) -> Result<Option<Zeroizing<String>>, ProviderError> {
        let Some(secrets) = &self.given else { return Ok(None) };
        secrets.given(name).map_err(|error| failure(error.kind(), None, error.to_string()).with_source(error))
    }

    fn text(&self, text: &Text, name: &str, what: &str) -> Result<Zeroizing<String>, ProviderError> {
        match text {
            Text::Given(text) => Ok(text.clone()),
            Text::File(path) => read(path, self.trusted_files_only, true),
            Text::Asked => {
                if let Some(given) = self.given(name)? {
                    return Ok(given);
                }
                let Some(secrets) = &self.given else {
                    return Err(failure(AccessDenied, None, format!("there is no {what}: give it")));
                };
                let prompt = format!("Azure: {what}");
                let asked = secrets.ask(name, &Prompt::once(&prompt));
                asked.map_err(|error| failure(error.kind(), None, error.to_string()).with_source(error))
            }
        }
    }

    fn tenant(&self) -> Result<String, ProviderError> {
        named(self.tenant.as_ref(), TENANT, "tenant-id", "the tenant")
    }

    fn client(&self) -> Result<String, ProviderError> {
        named(self.client.as_ref(), CLIENT, "client-id", "the client")
    }
}

fn named(set: Option<&String>, variable: &str, setting: &str, what: &str) -> Result<String, ProviderError> {
    let name = match set {
        Some(name) => name.clone(),
        None => env::var(variable)
            .ok()
            .filter(|name| !name.is_empty())
            .ok_or_else(|| lacking(what, variable, setting))?,
    };
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
    if name.is_empty() || name.len() > MAX_ID_LEN || !name.bytes().all(fits) {
        let message = format!("{what} has letters, digits, - and . alone: correct {setting} or {variable}");
        return Err(failure(Invalid, None, message));
    }
    Ok(name)
}

fn options(authority: &str, client: Guarded) -> ClientOptions {
    let mut custom = CustomConfiguration::default();
    custom.authority_host = authority.to_owned();
    ClientOptions {
        retry: RetryOptions::none(),
        transport: Some(Transport::new(Arc::new(client))),
        cloud: Some(Arc::new(CloudConfiguration::from(custom))),
        ..ClientOptions::default()
    }
}

fn cannot(what: &str) -> ProviderError {
    failure(Invalid, None, format!("{what} cannot be used as Azure's credentials: correct the settings"))
}

fn lacking(what: &str, variable: &str, setting: &str) -> ProviderError {
    failure(AccessDenied, None, format!("{what} is not known: set {setting}, or {variable}"))
}

pub(crate) fn no_client() -> ProviderError {
    failure(
        Invalid,
        None,
        "the certificates of ca-file are none that can be read: they are PEM, one after the other",
    )
}

const TOKEN_FILE: &str = "AZURE_FEDERATED_TOKEN_FILE";
const TENANT: &str = "AZURE_TENANT_ID";
const CLIENT: &str = "AZURE_CLIENT_ID";
/// The names under which secrets are asked for.
const SECRET: &str = "azure-client-secret";
const CERTIFICATE: &str = "azure-client-certificate";
const MAX_ID_LEN: usize = 255;
