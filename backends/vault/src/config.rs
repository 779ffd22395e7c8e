//! How the server is reached, and who asks it: [`HashiVaultBuilder`].

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use envelope_sdk::secret::Secrets;

use crate::{
    HashiVault,
    auth::{From, Text},
    call::Limits,
    plan::Plan,
    provider::Binding,
};

/// Settings of [`HashiVault`]. Without any, the environment says where the server is and
/// which token is used: `VAULT_ADDR` or `VAULT_AGENT_ADDR`, `VAULT_NAMESPACE`, `VAULT_CACERT`,
/// `VAULT_CLIENT_CERT` and `VAULT_CLIENT_KEY`, `VAULT_TOKEN`, and the file `~/.vault-token` that
/// `vault login` writes. Each of them is `BAO_…` too, as OpenBao has it, which goes first.
///
/// They are read when a key is first used, and not before.
#[derive(Default)]
#[must_use]
pub struct HashiVaultBuilder {
    pub(crate) plan: Plan,
    pub(crate) limits: Limits,
    pub(crate) mount: Option<String>,
    pub(crate) binding: Binding,
}

impl HashiVaultBuilder {
    /// Where the server listens: `https://HOST:PORT`, perhaps with a path, or `http://…` on
    /// this machine.
    pub fn address(mut self, url: impl Into<String>) -> Self {
        self.plan.address = Some(url.into());
        self
    }

    /// An agent or proxy of Vault or OpenBao on this machine in place of the server:
    /// `unix:///PATH`, or a URL as of [`address`](Self::address). Unless another way to
    /// authenticate is set, the agent adds its own token.
    pub fn agent(mut self, address: impl Into<String>) -> Self {
        self.plan.agent = Some(address.into());
        self
    }

    /// The namespace of Vault Enterprise, HCP or OpenBao in which mounts are found, those of authentication too.
    pub fn namespace(mut self, name: impl Into<String>) -> Self {
        self.plan.namespace = Some(name.into());
        self
    }

    /// A token.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.plan.from = From::Token(Text::given(token));
        self
    }

    /// A token in a file, which is read again when it is refused: an agent that logs in writes
    /// such a file.
    pub fn token_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.plan.from = From::Token(Text::File(path.into()));
        self
    }

    /// A [token helper](https://developer.hashicorp.com/vault/docs/commands/token-helper): a
    /// program that is run with the argument `get`, by its absolute path, and tells a token. It
    /// is run again when the token is refused. The one that `~/.vault` names is not run.
    pub fn token_helper(mut self, path: impl Into<PathBuf>) -> Self {
        self.plan.from = From::Helper(path.into());
        self
    }

    /// Logs in as an AppRole. The secret id is left out where the role asks for none.
    pub fn app_role(mut self, role_id: impl Into<String>, secret_id: Option<String>) -> Self {
        let secret_id = secret_id.map(Text::given);
        self.plan.from = From::AppRole { role_id: role_id.into(), secret_id };
        self
    }

    /// The same with the secret id in a file, which is read at each login.
    pub fn app_role_with_file(mut self, role_id: impl Into<String>, secret_id: impl Into<PathBuf>) -> Self {
        let secret_id = Some(Text::File(secret_id.into()));
        self.plan.from = From::AppRole { role_id: role_id.into(), secret_id };
        self
    }

    /// Logs in as a service account of Kubernetes, with its token in a file, which is read at
    /// each login; `None`: the file that a pod has.
    pub fn kubernetes(mut self, role: impl Into<String>, token_file: Option<PathBuf>) -> Self {
        self.plan.from = From::Kubernetes { role: role.into(), jwt: token_file };
        self
    }

    /// Logs in with a JWT; without a role, as the default role of the mount.
    pub fn jwt(mut self, role: Option<String>, jwt: impl Into<String>) -> Self {
        self.plan.from = From::Jwt { role, jwt: Text::given(jwt) };
        self
    }

    /// The same with the JWT in a file, which is read at each login.
    pub fn jwt_file(mut self, role: Option<String>, path: impl Into<PathBuf>) -> Self {
        self.plan.from = From::Jwt { role, jwt: Text::File(path.into()) };
        self
    }

    /// Logs in with the [certificate](Self::client_certificate) of this client; without a role,
    /// as the one that it fits.
    pub fn certificate_login(mut self, role: Option<String>) -> Self {
        self.plan.from = From::Certificate { role };
        self
    }

    /// Sends no token: the agent adds its own.
    pub fn agents_token(mut self) -> Self {
        self.plan.from = From::Agent;
        self
    }

    pub(crate) fn entered_by(mut self, from: From) -> Self {
        self.plan.from = from;
        self
    }

    /// Where the method of authentication is mounted below `auth/`, in place of `approle`,
    /// `kubernetes`, `jwt` or `cert`.
    pub fn auth_mount(mut self, mount: impl Into<String>) -> Self {
        self.plan.auth_mount = Some(mount.into());
        self
    }

    /// The only certificate authorities that are trusted, as PEM in a file, instead of those of
    /// the platform.
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.plan.roots = Some(path.into());
        self
    }

    /// The certificate that this client shows to the server, and its key: both PEM, in files.
    pub fn client_certificate(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.plan.certificate = Some(certificate.into());
        self.plan.certificate_key = Some(Text::File(key.into()));
        self
    }

    pub(crate) fn certificate(mut self, certificate: PathBuf, key: Option<Text>) -> Self {
        self.plan.certificate = Some(certificate);
        self.plan.certificate_key = key;
        self
    }

    /// Whom to ask for secrets, and who may have been given them beforehand.
    pub(crate) fn secrets(mut self, secrets: Arc<dyn Secrets>) -> Self {
        self.plan.around.secrets = Some(secrets);
        self
    }

    /// Where Transit is mounted in which keys are made and listed: `transit` by default. Keys
    /// that are named by a key URI have their mount in it.
    pub fn mount(mut self, mount: impl Into<String>) -> Self {
        self.mount = Some(mount.into());
        self
    }

    /// How wraps bind the context. By default [`Binding::Best`].
    pub fn context_binding(mut self, binding: Binding) -> Self {
        self.binding = binding;
        self
    }

    /// How long one attempt of a call may take. 5 seconds by default; a call with its
    /// retries, pauses and login, four times that.
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.limits.attempt = timeout;
        self
    }

    /// How often a call is attempted when the server is sealed, busy, behind or does not answer;
    /// at least 1, by default 3. What makes, rotates or deletes a key is attempted once. A pause
    /// that the server asks for (`Retry-After`) is kept, up to 10 seconds and within the time of
    /// the call; a longer one ends the call.
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.limits.attempts = attempts.max(1);
        self
    }

    #[cfg(test)]
    pub(crate) fn attempts_of_a_call(&self) -> u32 {
        self.limits.attempts
    }

    /// Uses files, programs and sockets only if nobody but their owner can have written or, of
    /// secrets, read them. The rule is that of `envelope_files::trust`, and what it does not
    /// trust is an error of each call, of kind
    /// [`Invalid`](envelope_sdk::ProviderErrorKind::Invalid). Elsewhere than on Unix nothing is
    /// checked.
    pub fn trusted_files_only(mut self) -> Self {
        self.plan.around.trusted_files_only = true;
        self
    }

    /// The provider. Nothing is read and nobody is asked: that is done by the first call that
    /// needs it.
    #[must_use]
    pub fn build(self) -> HashiVault {
        HashiVault::new(self)
    }
}

/// Without what tokens come from.
impl fmt::Debug for HashiVaultBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HashiVaultBuilder")
            .field("mount", &self.mount)
            .field("binding", &self.binding)
            .finish_non_exhaustive()
    }
}
