//! An installation: a keystore, an audit log, a policy, certificates, and envelopes in a folder that is served.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::Parser;
use envelope_audit::{Log, LogOptions};
use envelope_local::{Argon2Params, Keystore, Passphrase};
use envelope_sdk::{EncryptionContext, Envelope, KeyAdmin, Keyring, NewKey};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};

use crate::{
    cli::{Cli, Global},
    runtime::block_on,
};

/// A folder with all that.
pub(super) struct Installed(PathBuf);

/// What the envelope of an installation has in it.
pub(super) struct Sealed<'a> {
    pub(super) plaintext: &'a str,
    pub(super) withheld: &'a str,
}

impl Installed {
    /// In this folder, under this passphrase. `more` of the configuration.
    pub(super) fn create(folder: &Path, passphrase: &str, sealed: &Sealed<'_>, more: &str) -> Self {
        let installed = Self(fs::canonicalize(folder).unwrap());
        let smallest = Argon2Params { m_cost: 19 * 1024, t_cost: 1, p_cost: 1 };
        let opens = Passphrase::new(passphrase.into()).unwrap();
        let keystore = Keystore::create_with(installed.path("keystore.json"), &opens, smallest).unwrap();
        let keystore = Arc::new(keystore);
        for name in ["main", "old"] {
            block_on(keystore.create_key(&NewKey::named(name))).unwrap();
        }
        let key = keystore.key_uri("main").unwrap();
        let envelope = Envelope::new(Keyring::new().both(keystore.clone(), key));
        drop(block_on(Log::create(&installed.path("log"), &envelope, LogOptions::new("test"))).unwrap());
        let context = EncryptionContext::new().with("tenant", "42").withhold("case", sealed.withheld);
        let bytes = block_on(envelope.encrypt(sealed.plaintext.as_bytes(), &context)).unwrap();
        fs::create_dir(installed.path("served")).unwrap();
        fs::write(installed.path("served/a.envelope"), bytes).unwrap();
        installed.write("passphrase", passphrase);
        installed.write("policy.toml", POLICY);
        installed.write_certificates();
        installed.configure(more);
        installed
    }

    /// The one that is there.
    pub(super) fn at(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Nobody else may read it.
    pub(super) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }

    pub(super) fn configure(&self, more: &str) {
        let path = |name: &str| self.path(name).to_str().unwrap().to_owned();
        let text = format!(
            "keys = ['local:main']\nkeystore = '{}'\n{more}\n[policy]\nfile = '{}'\n[audit]\nfile = '{}'\n\
             [mcp]\nroots = ['{}']\nkey-stores = ['local', 'aws', 'vault']\n\
             [mcp.listen]\naddress = '127.0.0.1:0'\ncertificate = '{}'\nkey = '{}'\nca = '{}'\n",
            path("keystore.json"),
            path("policy.toml"),
            path("log"),
            path("served"),
            path("server.pem"),
            path("server.key"),
            path("ca.pem"),
        );
        self.write("config.toml", &text);
    }

    /// As `envctl --config … mcp` has it.
    pub(super) fn global(&self, options: &[&str]) -> Global {
        let (config, passphrase) = (self.path("config.toml"), self.path("passphrase"));
        let own = ["--config", config.to_str().unwrap(), "--passphrase-file", passphrase.to_str().unwrap()];
        let arguments = ["envctl"].iter().chain(&own).chain(options).chain(&["mcp"]);
        Cli::try_parse_from(arguments).unwrap().global
    }

    fn write_certificates(&self) {
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        self.write("ca.pem", &authority.pem());
        let issue = |name: &str, names: Vec<SanType>, purpose| {
            let mut params = CertificateParams::default();
            (params.subject_alt_names, params.extended_key_usages) = (names, vec![purpose]);
            let key = KeyPair::generate().unwrap();
            let certificate = params.signed_by(&key, &authority).unwrap();
            self.write(&format!("{name}.pem"), &certificate.pem());
            self.write(&format!("{name}.key"), &key.serialize_pem());
        };
        let server = vec![SanType::DnsName("localhost".try_into().unwrap())];
        issue("server", server, ExtendedKeyUsagePurpose::ServerAuth);
        for client in [AGENT, STRANGER, OUTSIDER] {
            let names = vec![SanType::URI(format!("spiffe://acme.example/{client}").try_into().unwrap())];
            issue(client, names, ExtendedKeyUsagePurpose::ClientAuth);
        }
    }
}

/// A client that may look at everything.
pub(super) const AGENT: &str = "agent";
/// One whom a rule denies everything.
pub(super) const STRANGER: &str = "stranger";
/// One of whom no rule speaks.
pub(super) const OUTSIDER: &str = "outsider";

pub(super) const POLICY: &str = r#"
version = 1
[[rule]]
name = "no-strangers"
effect = "deny"
actor = ["mcp:spiffe://acme.example/stranger"]
operation = ["look"]
[[rule]]
name = "agents-look"
effect = "allow"
actor = ["mcp:local", "mcp:spiffe://acme.example/agent", "mcp:spiffe://acme.example/stranger"]
operation = ["look"]
"#;
