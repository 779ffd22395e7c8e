//! Odd files and streams, as data: `situations/*.toml` say what is given, what is run, its exit code, and what is left
//! behind. Every one runs twice, on a disk file system and on tmpfs.
//!
//! A case:
//!
//! ```toml
//! [[case]]
//! name = "a link as output is refused"
//! given = "printf old >target; ln -s target link"    # a shell, in a folder that holds the plaintext `in`
//! run = "envctl encrypt -k local:main in -o link"    # a shell too; its exit code counts
//! exit = 2
//! says = "is a link"                                 # a part of what standard error or output said
//! left = { link = "-> target", target = "text old" } # all of the folder, but `in` where it is still the plaintext
//! ```
//!
//! What is left is told by its content: `plaintext`, `envelope KEY` (which opens to the plaintext with that key),
//! `header KEY` (of a detached envelope), `empty`, `text …`, `N bytes`, `-> TARGET`, `folder`, `fifo`; and with
//! `modes = { out = "600" }` by its mode. `as = "nobody"` runs it without root's rights, where the tests run as root.
//! The shell has `$F`, a folder with an envelope of the plaintext in each form: `attached`, `armored`, `detached` with
//! `sealed`, `other` (for `local:other`), `passphrase`, `both` (for `local:main` and `local:other`); `$KEYSTORE`,
//! `$CONFIG`, the configuration file, which is not there; and `$PASSPHRASE`.
//!
//! `SITUATION=words` runs those whose names hold the words.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says so")]
#![allow(clippy::print_stdout, reason = "what is left out is said")]

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::common::{PASSPHRASE, Sandbox, bytes};
use envelope_local::{Keystore, Passphrase};
use envelope_sdk::{EncryptionContext, Envelope, Header, KeyUri, Keyring, Kind, format::armor};
use serde::Deserialize;
use tempfile::TempDir;

#[derive(Deserialize)]
struct Page {
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default)]
    given: String,
    run: String,
    exit: i32,
    #[serde(default)]
    says: String,
    #[serde(default)]
    left: BTreeMap<String, String>,
    #[serde(default)]
    modes: BTreeMap<String, String>,
    #[serde(default, rename = "as")]
    user: Option<String>,
}

#[test]
fn every_odd_file_and_stream_ends_as_the_table_says() {
    let cases = cases();
    assert!(cases.len() >= 200 || std::env::var_os("SITUATION").is_some(), "{} situations", cases.len());
    let mut failures = String::new();
    for (place, folder) in places() {
        let fixtures = Fixtures::new(&folder);
        let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        std::thread::scope(|threads| {
            for _ in 0..4 {
                threads.spawn(|| {
                    while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                        if let Some(what) = fixtures.check(case) {
                            failed.lock().unwrap().push(format!("{place}: {}\n{what}", case.name));
                        }
                    }
                });
            }
        });
        for failure in failed.into_inner().unwrap() {
            let _ = writeln!(failures, "{failure}");
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
}

fn cases() -> Vec<Case> {
    let wanted = std::env::var("SITUATION").unwrap_or_default();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/situations");
    let mut pages: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    pages.sort();
    let read = |page: PathBuf| {
        let text = fs::read_to_string(&page).unwrap();
        toml::from_str::<Page>(&text).unwrap_or_else(|error| panic!("{}: {error}", page.display())).case
    };
    let cases: Vec<_> = pages.into_iter().flat_map(read).collect();
    let mut names: Vec<_> = cases.iter().map(|case| &case.name).collect();
    names.sort();
    names.windows(2).for_each(|two| assert_ne!(two[0], two[1], "two situations of one name"));
    cases.into_iter().filter(|case| case.name.contains(&wanted)).collect()
}

/// Where the cases run: links, reservations and unnamed files differ between file systems.
fn places() -> Vec<(&'static str, PathBuf)> {
    let disk = ("on disk", PathBuf::from(env!("CARGO_TARGET_TMPDIR")));
    if Path::new("/dev/shm").is_dir() {
        return vec![disk, ("on tmpfs", "/dev/shm".into())];
    }
    println!("skipped: situations on tmpfs: there is no /dev/shm");
    vec![disk]
}

/// What all cases start from.
struct Fixtures {
    folder: TempDir,
    keystore: Arc<Keystore>,
    plaintext: Vec<u8>,
    is_root: bool,
}

impl Fixtures {
    fn new(place: &Path) -> Self {
        let folder = tempfile::Builder::new().prefix("situations-").tempdir_in(place).unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let at = |name: &str| folder.path().join(name);
        // A copy that everybody may run, wherever the build folder is.
        fs::create_dir(at("bin")).unwrap();
        fs::copy(env!("CARGO_BIN_EXE_envctl"), at("bin/envctl")).unwrap();
        let home = Sandbox::new();
        let keystore = Arc::new(home.keystore(&["main", "other", "third"]));
        fs::copy(home.keystore_path(), at("keystore.json")).unwrap();
        let plaintext = bytes(100_000);
        let plain = home.write("in", &plaintext);
        fs::create_dir(at("F")).unwrap();
        let make = |args: &[&str], name: &str| {
            home.run(&[&["encrypt", "in", "-o", name], args].concat(), 0);
            fs::copy(home.file(name), at("F").join(name)).unwrap();
        };
        make(&["-k", "local:main"], "attached");
        make(&["-k", "local:main", "--armor"], "armored");
        make(&["-k", "local:other"], "other");
        make(&["-k", "local:main", "-k", "local:other"], "both");
        make(&["-k", "passphrase:"], "passphrase");
        make(&["-k", "local:main", "-c", "tenant=42"], "context");
        make(&["-k", "local:main", "--detached"], "detached");
        fs::copy(home.file("detached.sealed"), at("F/sealed")).unwrap();
        let data_key = Envelope::new(Keyring::new().both(keystore.clone(), uri("main")));
        let data_key =
            futures_executor::block_on(data_key.create_data_key(&EncryptionContext::new())).unwrap();
        fs::write(at("F/datakey"), data_key.header().to_bytes()).unwrap();
        fs::remove_file(plain).unwrap();
        let is_root = rustix::process::geteuid().is_root();
        if !is_root {
            println!("the situations of nobody run as the user of the tests");
        }
        Self { folder, keystore, plaintext, is_root }
    }

    /// Runs a case, and says what is not as it should be.
    fn check(&self, case: &Case) -> Option<String> {
        let sandbox = tempfile::Builder::new().prefix("case-").tempdir_in(self.folder.path()).unwrap();
        fs::set_permissions(sandbox.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let at = |name: &str| sandbox.path().join(name);
        for folder in ["work", "home", "home/.local", "home/.local/share", "home/.local/share/envctl"] {
            fs::create_dir(at(folder)).unwrap();
        }
        let keystore = at("home/.local/share/envctl/keystore.json");
        fs::copy(self.folder.path().join("keystore.json"), &keystore).unwrap();
        fs::set_permissions(&keystore, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(at("work/in"), &self.plaintext).unwrap();
        let nobody = case.user.as_deref() == Some("nobody") && self.is_root;
        if nobody {
            give(sandbox.path());
        }
        let mut problem = String::new();
        if !case.given.is_empty() {
            let given = self.shell(sandbox.path(), &format!("set -e; {}", case.given), nobody);
            if given.0 != 0 {
                let _ = writeln!(problem, "  given: exit {} {}", given.0, given.1);
            }
        }
        let (exit, said) = self.shell(sandbox.path(), &case.run, nobody);
        if exit != case.exit {
            let _ = writeln!(problem, "  exit {exit}, not {}", case.exit);
        }
        if !said.contains(&case.says) {
            let _ = writeln!(problem, "  not said: {:?}", case.says);
        }
        if said.contains("panicked") {
            problem.push_str("  it panicked\n");
        }
        let mut expected = case.left.clone();
        let left = self.left(&at("work"));
        if !expected.contains_key("in") && left.get("in").is_some_and(|kind| kind == "plaintext") {
            expected.insert("in".into(), "plaintext".into());
        }
        expected.retain(|_, kind| kind != "gone");
        if left != expected {
            let _ = writeln!(problem, "  left {left:?}\n   not {expected:?}");
        }
        for (name, mode) in &case.modes {
            let is =
                fs::symlink_metadata(at("work").join(name)).map(|file| format!("{:o}", file.mode() & 0o7777));
            if is.as_ref().ok() != Some(mode) {
                let _ = writeln!(problem, "  mode of {name}: {is:?}, not {mode}");
            }
        }
        (!problem.is_empty()).then(|| format!("{problem}  said: {}", said.trim().replace('\n', "\n        ")))
    }

    /// Runs a shell in the working folder. Its exit code, and all that was said.
    fn shell(&self, sandbox: &Path, script: &str, nobody: bool) -> (i32, String) {
        let mut command = Command::new("timeout");
        command.args(["-k", "5", "60"]);
        if nobody {
            command.args(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]);
        }
        let home = sandbox.join("home");
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .args(["bash", "-c", script])
            .current_dir(sandbox.join("work"))
            .env_clear()
            .env("PATH", format!("{}:{path}", self.folder.path().join("bin").display()))
            .env("HOME", &home)
            .env("F", self.folder.path().join("F"))
            .env("KEYSTORE", home.join(".local/share/envctl/keystore.json"))
            .env("CONFIG", home.join(".config/envctl/config.toml"))
            .env("PASSPHRASE", PASSPHRASE)
            .env("ENVCTL_KEYSTORE_PASSPHRASE", PASSPHRASE)
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null());
        let output = command.output().unwrap();
        let said = [output.stdout.as_slice(), &output.stderr].concat();
        (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&said).into_owned())
    }

    fn left(&self, folder: &Path) -> BTreeMap<String, String> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
        entries.map(|path| (name(&path), self.kind(&path))).collect()
    }

    fn kind(&self, path: &Path) -> String {
        let metadata = fs::symlink_metadata(path).unwrap();
        if metadata.is_symlink() {
            return format!("-> {}", fs::read_link(path).unwrap().display());
        } else if metadata.is_dir() {
            let inside = self.left(path);
            return if inside.is_empty() { "folder".into() } else { format!("folder {inside:?}") };
        } else if metadata.file_type().is_fifo() {
            return "fifo".into();
        } else if !metadata.is_file() {
            return "special".into();
        }
        let content = fs::read(path).unwrap();
        if content == self.plaintext {
            return "plaintext".into();
        } else if content.is_empty() {
            return "empty".into();
        }
        let binary = std::str::from_utf8(&content).ok().and_then(|text| armor::decode(text).ok());
        self.envelope(binary.as_deref().unwrap_or(&content)).unwrap_or_else(|| {
            match std::str::from_utf8(&content) {
                Ok(text) if text.len() <= 80 && !text.contains('\0') => format!("text {text}"),
                _ => format!("{} bytes", content.len()),
            }
        })
    }

    /// Which keys open it, tried one by one.
    fn envelope(&self, bytes: &[u8]) -> Option<String> {
        let (header, len) = Header::parse(bytes).ok()?;
        let context = EncryptionContext::new();
        let opens = |key: &str| {
            let envelope = Envelope::new(Keyring::new().decrypt(self.keystore.clone(), uri(key)));
            futures_executor::block_on(async {
                match header.kind() {
                    Kind::Attached => {
                        envelope.decrypt(bytes, &context).await.is_ok_and(|out| out == self.plaintext)
                    }
                    Kind::Detached if len == bytes.len() => {
                        envelope.unlock(header.clone(), &context).await.is_ok()
                    }
                    _ => false,
                }
            })
        };
        let mut keys: Vec<_> = ["main", "other", "third"].into_iter().filter(|key| opens(key)).collect();
        let has_passphrase =
            || header.recipients().iter().any(|recipient| recipient.key_uri().scheme() == "passphrase");
        if keys.is_empty() && has_passphrase() {
            let passphrase = Passphrase::new(PASSPHRASE.into()).ok()?;
            let provider = Arc::new(envelope_local::PassphraseProvider::new(passphrase));
            let envelope = Envelope::new(Keyring::new().decrypt(provider, KeyUri::passphrase()));
            let out = futures_executor::block_on(envelope.decrypt(bytes, &context)).ok()?;
            keys.extend((out == self.plaintext).then_some("passphrase"));
        }
        let what = if header.kind() == Kind::Detached { "header" } else { "envelope" };
        (!keys.is_empty()).then(|| format!("{what} {}", keys.join(" ")))
    }
}

fn uri(key: &str) -> KeyUri {
    KeyUri::parse(&format!("local:{key}")).unwrap()
}

/// Gives a folder and all in it to nobody.
fn give(path: &Path) {
    chown(path, Some(65534), Some(65534)).unwrap();
    if path.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| give(&entry.unwrap().path()));
    }
}
