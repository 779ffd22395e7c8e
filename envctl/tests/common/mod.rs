//! A folder of its own for each test, and `envctl` run in it.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use envelope_local::{Argon2Params, Keystore, Passphrase};
use envelope_sdk::KeyAdmin;
use tempfile::TempDir;

pub const PASSPHRASE: &str = "correct horse battery staple";

/// A home, a working folder and an environment without any configuration.
pub struct Sandbox(TempDir);

impl Sandbox {
    pub fn new() -> Self {
        let sandbox = Self(tempfile::tempdir().unwrap());
        fs::create_dir(sandbox.path("work")).unwrap();
        sandbox
    }

    /// A path outside the working folder.
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A file of the working folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path("work").join(name)
    }

    /// Writes a file that may hold a secret: nobody else may read it (0600).
    pub fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.file(name);
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.file(name)).unwrap()
    }

    /// Every file of the working folder, hidden ones included, in order.
    pub fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("work")).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// `envctl` with these arguments, in the working folder.
    pub fn envctl(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_envctl"));
        command
            .args(args)
            .current_dir(self.path("work"))
            .env_clear()
            .env("HOME", self.path("home"))
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("ENVCTL_PASSPHRASE", PASSPHRASE)
            .stdin(Stdio::null());
        command
    }

    /// Runs it and demands this exit code.
    pub fn run(&self, args: &[&str], code: i32) -> Ran {
        Ran::of(self.envctl(args).output().unwrap(), code)
    }

    /// The name of each command, and of those below it: `keys create`.
    pub fn commands(&self) -> BTreeSet<String> {
        let below = |names: &[&str]| -> Vec<String> {
            let ran = self.run(&[names, &["--help"]].concat(), 0);
            let text = ran.text();
            let list = text.split("Commands:\n").nth(1).unwrap_or_default();
            let lines = list.lines().take_while(|line| line.starts_with("  "));
            let names = lines
                .filter(|line| !line.starts_with("   "))
                .filter_map(|line| line.split_whitespace().next());
            names.filter(|name| *name != "help").map(ToOwned::to_owned).collect()
        };
        let mut all = BTreeSet::new();
        for name in below(&[]) {
            let inner = below(&[&name]);
            if inner.is_empty() {
                all.insert(name);
            } else {
                all.extend(inner.iter().map(|inner| format!("{name} {inner}")));
            }
        }
        all
    }

    /// A keystore with these keys where envctl looks for it by default. With the
    /// smallest Argon2id parameters: what it costs is not what is tested.
    pub fn keystore(&self, keys: &[&str]) -> Keystore {
        let path = self.keystore_path();
        let smallest = Argon2Params { m_cost: 19 * 1024, t_cost: 1, p_cost: 1 };
        let passphrase = Passphrase::new(PASSPHRASE.into()).unwrap();
        let keystore = Keystore::create_with(&path, &passphrase, smallest).unwrap();
        for key in keys {
            futures_executor::block_on(keystore.create_key(&envelope_sdk::NewKey::named(*key))).unwrap();
        }
        keystore
    }

    /// Where the keystore is.
    pub fn keystore_path(&self) -> PathBuf {
        self.path("home/.local/share/envctl/keystore.json")
    }

    /// Writes a file of the home folder, which may hold a secret (0600).
    pub fn write_at_home(&self, name: &str, text: &str) {
        let path = self.path("home").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Writes the configuration file.
    pub fn configure(&self, text: &str) {
        self.write_at_home(".config/envctl/config.toml", text);
    }
}

/// What a run printed.
pub struct Ran {
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Ran {
    pub fn of(output: Output, code: i32) -> Self {
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{stderr}");
        Self { stdout: output.stdout, stderr }
    }

    pub fn says(&self, text: &str) -> &Self {
        assert!(self.stderr.contains(text), "{text:?} is not in {:?}", self.stderr);
        self
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.stdout).unwrap()
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.stdout.clone()).unwrap()
    }
}

pub fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

/// Bytes that look random and are the same in every run.
pub fn bytes(len: usize) -> Vec<u8> {
    let mut state: u64 = 0x9E37_79B9_7F4A_7C15;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    })
    .take(len)
    .collect()
}
