//! What may be asked. The comments of the options are their help text.

#![expect(clippy::doc_markdown, reason = "help texts are read in a terminal, not as Markdown")]

#[cfg(feature = "listen")]
use std::net::SocketAddr;
use std::{ffi::OsString, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueHint};
use clap_complete::Shell;
use envelope_rotation::Shard;

use crate::key_stores::{KeyStoreCommand, KeyStoreOptions, provider_names};

/// Envelope encryption for files, with local keys and those of a cloud.
///
/// Without any configuration, `envctl encrypt FILE` asks for a passphrase and
/// writes FILE.envelope; `envctl decrypt FILE.envelope` gives FILE back.
#[derive(Parser)]
#[command(name = "envctl", version, max_term_width = 100, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Args, Clone)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Write results and errors as JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Tell each call of a key store on standard error, with its outcome and time
    #[arg(long, global = true)]
    pub(crate) trace: bool,
    /// The configuration file [default: $ENVCTL_CONFIG, or $XDG_CONFIG_HOME/envctl/config.toml]
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
    /// A profile of the configuration file [default: $ENVCTL_PROFILE]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// The keystore of `local:` keys [default: $ENVCTL_KEYSTORE, the configuration's, or
    /// $XDG_DATA_HOME/envctl/keystore.json]
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) keystore: Option<PathBuf>,
    /// Record what is done in this audit log, and do nothing that cannot be recorded [default: $ENVCTL_AUDIT, or the
    /// configuration's]
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) audit_log: Option<PathBuf>,
    /// Read the passphrase from the first line of a file [otherwise: $ENVCTL_PASSPHRASE, or asked for]
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "passphrase_fd")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// Read the passphrase from the first line of an open file descriptor
    #[arg(long, global = true, value_name = "N")]
    pub(crate) passphrase_fd: Option<i32>,
    /// The passphrase of the keystore, when it is another one [or: $ENVCTL_KEYSTORE_PASSPHRASE]
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) keystore_passphrase_file: Option<PathBuf>,
    /// The new passphrase where one is changed [or: $ENVCTL_NEW_PASSPHRASE]
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) new_passphrase_file: Option<PathBuf>,
    /// Open files whose passphrase takes up to N times the work of a new one, for files of a known writer [default: 4]
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_passphrase_work: Option<u32>,
    #[command(flatten)]
    pub(crate) key_stores: KeyStoreOptions,
}

/// The commands.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Encrypt files, folders with -r, or a pipe
    Encrypt(Encrypt),
    /// Decrypt files, folders with -r, or a pipe
    Decrypt(Decrypt),
    /// Show what an envelope says of itself, without any key
    Inspect(Inspect),
    /// Wrap the data key of envelopes for other keys, in place; the payload stays as it is
    Rewrap(Rewrap),
    /// Bring many envelopes to other keys, or to new versions of their keys: files, folders, patterns
    ///
    /// This changes envelopes. A new version of a key is made by `envctl keys rotate`, and `envctl rotate` then brings
    /// the envelopes to it.
    Rotate(Rotate),
    /// Say what `rotate` would change, why, and what that takes, from headers alone
    Plan(Plan),
    /// Move the records of a table of PostgreSQL from old data keys to a new one
    ///
    /// This is for data keys that must go. To bring them under another key, rotate their headers instead: records stay as
    /// they are then. docs/rotation-sql.md says what holds.
    #[cfg(feature = "sql")]
    RotateRecords(RotateRecords),
    /// Destroy data keys of a table: what only they open, such as all records of a tenant, is lost for good
    #[cfg(feature = "sql")]
    DestroyDataKey(DestroyDataKey),
    /// Create and rotate keys and move them through their life
    #[command(subcommand)]
    Keys(Keys),
    /// Create the keystore of local keys and change its passphrase
    #[command(subcommand)]
    Keystore(Keystore),
    /// Say whether a policy is right, and what it decides
    #[command(subcommand)]
    Policy(Policy),
    /// Look after an audit log: create, read, verify, sign and prune it
    #[command(subcommand)]
    Audit(Audit),
    /// Tell agents of keys and envelopes over the Model Context Protocol: metadata, and no way to a secret
    ///
    /// Speaks MCP over standard input and output, as clients start it. `roots` and `buckets` under `mcp` in the
    /// configuration say which files may be looked at. It holds no key and changes nothing. docs/mcp.md has the rest.
    Mcp(Mcp),
    /// Write a completion script for a shell to standard output
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write the manual page to standard output, or all pages to a folder
    Man {
        /// Write envctl.1, envctl-encrypt.1, … into this folder
        #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
        dir: Option<PathBuf>,
    },
    #[command(flatten)]
    KeyStore(KeyStoreCommand),
}

impl Command {
    /// Whether a key store may be asked.
    pub(crate) fn uses_keys(&self) -> bool {
        !matches!(
            self,
            Self::Inspect(_)
                | Self::Policy(_)
                | Self::Audit(Audit::List { .. } | Audit::VerifyReport { .. } | Audit::Export { .. })
                | Self::Completions { .. }
                | Self::Man { .. }
        )
    }
}

/// Where output goes.
#[derive(Args)]
pub(crate) struct Output {
    /// Write here; `-` is standard output, a terminal included. With several files or -r, a folder that is there
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::AnyPath)]
    pub(crate) output: Option<OsString>,
    /// Replace the output file if it is there
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Remove the input file once the output is safely on disk (its blocks are not erased)
    #[arg(long)]
    pub(crate) rm: bool,
}

/// `envctl mcp`
#[derive(Args)]
pub(crate) struct Mcp {
    /// Serve clients with a certificate, over TLS 1.3, at this address or that of [mcp.listen] in the configuration
    ///
    /// Certificates, networks and limits are settings of [mcp.listen]; who may ask what is the policy's to say.
    /// docs/mcp-network.md has all of it. Ends with SIGTERM, after the calls that are under way.
    #[cfg(feature = "listen")]
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1)]
    pub(crate) listen: Option<Option<SocketAddr>>,
}

/// `envctl encrypt`
#[derive(Args)]
pub(crate) struct Encrypt {
    /// The files to encrypt; `-` or nothing is standard input
    #[arg(value_name = "FILE", default_value = "-", value_hint = ValueHint::AnyPath)]
    pub(crate) files: Vec<OsString>,
    #[command(flatten)]
    pub(crate) output: Output,
    /// Folders too: each file below them, but what is encrypted already. Links in them are not followed
    #[arg(short, long)]
    pub(crate) recursive: bool,
    /// Encrypt for this key (URI or alias); repeat it: any one of the keys opens [default:
    /// $ENVCTL_KEYS, the configuration's keys, or a passphrase]
    #[arg(short, long = "key", value_name = "KEY", value_delimiter = ' ')]
    pub(crate) keys: Vec<String>,
    /// Bind this to the data: stored readable, authenticated, not secret
    #[arg(short, long, value_name = "NAME=VALUE")]
    pub(crate) context: Vec<String>,
    /// Do not store this entry of the context: who decrypts must know its value
    #[arg(long, value_name = "NAME")]
    pub(crate) withhold: Vec<String>,
    /// Write text (PEM) instead of binary
    #[arg(short, long)]
    pub(crate) armor: bool,
    /// Write two files: the header to FILE.envelope and the payload to FILE.sealed, which no rewrap
    /// touches again
    #[arg(long, conflicts_with_all = ["armor", "force"])]
    pub(crate) detached: bool,
}

/// `envctl decrypt`
#[derive(Args)]
pub(crate) struct Decrypt {
    /// The envelopes; `-` or nothing is standard input. Armor is recognised
    #[arg(value_name = "FILE", default_value = "-", value_hint = ValueHint::AnyPath)]
    pub(crate) files: Vec<OsString>,
    #[command(flatten)]
    pub(crate) output: Output,
    /// Folders too: each envelope below them. Other files are passed over, and links in them are not followed
    #[arg(short, long)]
    pub(crate) recursive: bool,
    /// A key (URI or alias) that may open it; repeatable [default: $ENVCTL_KEYS or the configuration's
    /// keys, or a passphrase]. Beside keys, a passphrase is tried if `passphrase:` is one of them or one
    /// is given
    #[arg(short, long = "key", value_name = "KEY", value_delimiter = ' ')]
    pub(crate) keys: Vec<String>,
    #[command(flatten)]
    pub(crate) context: Expected,
    /// The payload of a detached header [default: FILE.sealed for FILE.envelope]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) payload: Option<OsString>,
}

/// What the reader of an envelope knows of its context.
#[derive(Args)]
pub(crate) struct Expected {
    /// An entry of the context: the value of a withheld one, or of a stored one to compare
    #[arg(short, long, value_name = "NAME=VALUE")]
    pub(crate) context: Vec<String>,
    /// Refuse to open unless this entry is stored in the envelope
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) expect: Vec<String>,
}

/// `envctl inspect`
#[derive(Args)]
pub(crate) struct Inspect {
    /// The envelope; `-` or nothing is standard input
    #[arg(default_value = "-", value_hint = ValueHint::FilePath)]
    pub(crate) file: OsString,
}

/// `envctl rewrap`
#[derive(Args)]
pub(crate) struct Rewrap {
    /// The envelopes
    #[arg(required = true, value_hint = ValueHint::FilePath)]
    pub(crate) files: Vec<PathBuf>,
    /// Wrap for this key (URI or alias) from now on; repeatable [default: $ENVCTL_KEYS, the
    /// configuration's keys, or a new passphrase]
    #[arg(short, long = "key", value_name = "KEY", value_delimiter = ' ')]
    pub(crate) keys: Vec<String>,
    /// A key that may open the envelopes as they are; repeatable [default: the configuration's keys; the
    /// keys of -k always may]. A passphrase: as with decrypt
    #[arg(long, value_name = "KEY")]
    pub(crate) from: Vec<String>,
    #[command(flatten)]
    pub(crate) context: Expected,
    /// Open and verify, and say what would be done, without writing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// `envctl plan`, and what `envctl rotate` has in common with it.
#[derive(Args)]
pub(crate) struct Rotation {
    /// Envelopes, folders with all envelopes below them, and patterns such as 'data/**/*.envelope'; or s3://BUCKET/KEY,
    /// gs://BUCKET/KEY and az://CONTAINER/KEY, with all below them; `-` alone reads the names of envelopes from standard
    /// input, one in a line
    #[arg(required = true, value_name = "PATH|URL", value_hint = ValueHint::AnyPath)]
    pub(crate) paths: Vec<PathBuf>,
    /// Wrap for these keys (URI or alias), in their current versions, and for no others; repeatable [default: $ENVCTL_KEYS,
    /// the configuration's keys, or a new passphrase]
    #[arg(long, value_name = "KEY", value_delimiter = ' ', num_args = 1, conflicts_with_all = ["add", "remove"])]
    pub(crate) to: Vec<String>,
    /// A key that may open the envelopes as they are; repeatable [default: the configuration's keys; those of --to,
    /// --add and --remove always may]
    #[arg(long, value_name = "KEY")]
    pub(crate) from: Vec<String>,
    /// Wrap for this key too; the others stay, and must be named by --from; repeatable
    #[arg(long, value_name = "KEY")]
    pub(crate) add: Vec<String>,
    /// Wrap for this key no more; repeatable
    #[arg(long, value_name = "KEY")]
    pub(crate) remove: Vec<String>,
    /// Encrypt anew under a new data key: who kept the old one cannot open what is written
    #[arg(long)]
    pub(crate) reencrypt: bool,
    /// Change what was last written before this day began (2027-12-31, in UTC) or before this moment
    /// (2027-12-31T12:00:00Z), whatever its keys
    #[arg(long, value_name = "DATE")]
    pub(crate) older_than: Option<String>,
    /// An entry of the context of each envelope: the value of a withheld one, or of a stored one to compare
    #[arg(short, long, value_name = "NAME=VALUE")]
    pub(crate) context: Vec<String>,
    /// Only this part of the envelopes, by the SHA-256 of their names: 1/4 to 4/4 for four workers
    #[arg(long, value_name = "I/N")]
    pub(crate) shard: Option<Shard>,
    /// Write the outcome of each envelope to this new file, as JSON; or one page for people, if it is called .html
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) report: Option<PathBuf>,
    /// Most calls in a second to each key store
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: Option<u32>,
}

/// `envctl plan`
#[derive(Args)]
pub(crate) struct Plan {
    #[command(flatten)]
    pub(crate) what: Rotation,
    #[command(flatten)]
    pub(crate) estimate: Estimate,
}

/// What an estimate of money and time goes by.
#[derive(Args)]
pub(crate) struct Estimate {
    /// Prices and quotas of your own, a TOML file: a table for each key store, with `usd` for 10,000 calls and `quota` in a
    /// second
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) prices: Option<PathBuf>,
}

/// `envctl rotate`
#[derive(Args)]
pub(crate) struct Rotate {
    #[command(flatten)]
    pub(crate) what: Rotation,
    /// Say what would be changed, without writing: as `envctl plan`
    #[arg(long, conflicts_with = "resume")]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) estimate: Estimate,
    /// Envelopes under way at once [default: 16]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) concurrency: Option<u16>,
    /// Write what is done to this file, and pass over what it says is done
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) resume: Option<PathBuf>,
}

/// `envctl rotate-records`
#[cfg(feature = "sql")]
#[derive(Args)]
pub(crate) struct RotateRecords {
    /// postgres://ROLE@HOST/DATABASE?table=TABLE&key=COLUMN&column=COLUMN&data-key-column=COLUMN&keys=TABLE, with a column=
    /// for each column of records; the password is in PGPASSWORD or ~/.pgpass. With `statement_timeout=SECONDS`, statements may
    /// take longer than a minute
    #[arg(value_name = "URL")]
    pub(crate) table: String,
    /// An entry of the context of each record: {COLUMN} stands for that column of its row, {} for the name of the column
    /// that is sealed; repeatable, such as -c 'row={id}' -c 'column={}'
    #[arg(short, long, value_name = "NAME=VALUE")]
    pub(crate) context: Vec<String>,
    /// The id of a data key that is to go; repeatable [default: all that rows are under, but for --new]
    #[arg(long, value_name = "ID", required_unless_present = "new")]
    pub(crate) old: Vec<String>,
    /// The id of the data key to move to, which is there already, such as that of a job that was ended [default: a new one is
    /// made]
    #[arg(long, value_name = "ID")]
    pub(crate) new: Option<String>,
    /// Wrap new data keys for these keys (URI or alias) [default: $ENVCTL_KEYS, or the configuration's keys]
    #[arg(long, value_name = "KEY", value_delimiter = ' ', num_args = 1)]
    pub(crate) to: Vec<String>,
    /// A key that may open old data keys; repeatable [default: the configuration's keys; those of --to always may]
    #[arg(long, value_name = "KEY")]
    pub(crate) from: Vec<String>,
    /// An entry of the context of the data keys: the value of a withheld one, or of a stored one to compare
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) data_key_context: Vec<String>,
    /// Rows of a batch [default: 500]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) batch: Option<u32>,
    /// Go on with the newest data key that fits (keys-made=), as a killed job leaves it: only where nobody else can write one
    #[arg(long, conflicts_with = "new")]
    pub(crate) go_on: bool,
    /// Keep the headers of old data keys that no row is under any more
    #[arg(long)]
    pub(crate) keep: bool,
    /// Say how many rows would be moved, by data key, and what that takes, without writing; no data key is opened
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) estimate: Estimate,
    /// Write what was done, and each row that failed, to this new file, as JSON, however the job ends
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) report: Option<PathBuf>,
    /// Most calls in a second to each key store
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: Option<u32>,
}

/// `envctl destroy-data-key`
#[cfg(feature = "sql")]
#[derive(Args)]
pub(crate) struct DestroyDataKey {
    /// The URL of the table, as for `rotate-records`
    #[arg(value_name = "URL")]
    pub(crate) table: String,
    /// The id of a data key; repeatable
    #[arg(long = "id", value_name = "ID", required = true)]
    pub(crate) ids: Vec<String>,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
    /// Destroy them although rows are under them, which are lost
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) report: DestructionReport,
    #[command(flatten)]
    pub(crate) dry_run: DryRun,
}

/// `envctl keys …`
#[derive(Subcommand)]
pub(crate) enum Keys {
    /// Create a key
    Create {
        /// Its name: 1 to 64 of A-Z a-z 0-9 - _ . ; at a cloud, its alias
        name: String,
        /// Who makes and holds it
        #[arg(long, value_parser = provider_names(), default_value = "local")]
        provider: String,
        /// Create it pre-active: `keys activate` puts it into use
        #[arg(long)]
        pre_active: bool,
        /// What it is for; a cloud keeps this
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
        /// A tag, which a cloud keeps; repeatable
        #[arg(long = "tag", value_name = "NAME=VALUE")]
        tags: Vec<String>,
        /// The kind of key, in the provider's own word [default: what it recommends]
        #[arg(long, value_name = "NAME")]
        algorithm: Option<String>,
        /// The day on which its use for encryption should end: `keys list` tells when it is due
        #[arg(long, value_name = "DATE")]
        not_after: Option<String>,
        /// What this provider only knows, such as multi-region=true; repeatable
        #[arg(long = "option", value_name = "NAME=VALUE")]
        options: Vec<String>,
        #[command(flatten)]
        dry_run: DryRun,
    },
    /// List all keys
    List {
        /// Whose
        #[arg(long, value_parser = provider_names(), default_value = "local")]
        provider: String,
    },
    /// Show one key and its versions
    Describe {
        /// Its name, or its URI
        key: String,
    },
    /// Add a version that wraps from now on; the old ones still open. `envctl rotate` brings envelopes to it
    Rotate {
        /// Its name, or its URI
        key: String,
        #[command(flatten)]
        dry_run: DryRun,
    },
    /// Count how many envelopes each key version still opens, as their headers say, without any key
    Usage {
        /// Envelopes, folders, patterns and URLs, as `envctl rotate` takes them
        #[arg(required = true, value_name = "PATH|URL", value_hint = ValueHint::AnyPath)]
        paths: Vec<PathBuf>,
        /// Write to this new file which key versions open each envelope, for `envctl keys destroy --usage`
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        report: Option<PathBuf>,
    },
    /// Say when the use of a key for encryption should end: `keys list` tells when it is due
    NotAfter {
        /// Its name, or its URI
        key: String,
        /// A day such as 2027-12-31 (its end, in UTC), a moment such as 2027-12-31T12:00:00Z, or `never`
        date: String,
        /// Only this version [default: the current one]
        #[arg(long = "version", value_name = "N")]
        version: Option<String>,
        #[command(flatten)]
        dry_run: DryRun,
    },
    /// Let a key of a cloud rotate by itself
    AutoRotate {
        /// Its URI, or an alias of the configuration
        key: String,
        /// After so many days [default: as the cloud has it]
        #[arg(long, value_name = "DAYS")]
        every: Option<u32>,
        /// Never
        #[arg(long, conflicts_with = "every")]
        off: bool,
        #[command(flatten)]
        dry_run: DryRun,
    },
    /// Show how a key of a cloud rotates, and when it did
    Rotations {
        /// Its URI, or an alias of the configuration
        key: String,
    },
    /// Make an alias of a key at its cloud, or turn the alias to that key
    Alias {
        /// The alias
        alias: String,
        /// The URI of the key, or an alias of the configuration
        key: String,
        #[command(flatten)]
        dry_run: DryRun,
    },
    /// Put a pre-active or suspended key into use
    Activate(ChangeKey),
    /// Hold a key back: it neither wraps nor opens until it is activated again
    Suspend(ChangeKey),
    /// End a key's use for encryption for good: it still opens
    Deactivate(ChangeKey),
    /// Mark a key as known to others: it still opens, so that its data can be moved to another key
    ReportCompromise(ChangeKey),
    /// Mark a deactivated or compromised key as kept for old data only
    Archive(ChangeKey),
    /// Erase the key material of a deactivated or compromised key: what only it opens is lost for good. A
    /// cloud takes a suspended key, and erases it after some days
    Destroy {
        #[command(flatten)]
        change: ChangeKey,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        /// Refuse if it still opens an envelope of this report of `envctl keys usage`; repeatable
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        usage: Vec<PathBuf>,
        /// Destroy it although it still opens envelopes, which are lost if nothing else opens them
        #[arg(long, requires = "usage")]
        force: bool,
        #[command(flatten)]
        report: DestructionReport,
    },
    /// Cancel the deletion of a key of a cloud, which is suspended then
    Restore {
        /// Its URI, or an alias of the configuration
        key: String,
        #[command(flatten)]
        dry_run: DryRun,
    },
}

/// What is written down of a destruction.
#[derive(Args)]
pub(crate) struct DestructionReport {
    /// Write to this new file what became unreadable, signed by the key of the audit log, if there is one: `envctl audit
    /// verify-report` says whether it is what was signed
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) report: Option<PathBuf>,
    /// Why, for that file
    #[arg(long, value_name = "TEXT", requires = "report")]
    pub(crate) reason: Option<String>,
}

/// One key, or one version of it.
#[derive(Args)]
pub(crate) struct ChangeKey {
    /// Its name, or its URI
    pub(crate) key: String,
    /// Only this version
    #[arg(long = "version", value_name = "N")]
    pub(crate) version: Option<String>,
    #[command(flatten)]
    pub(crate) dry_run: DryRun,
}

/// `--dry-run`
#[derive(Args)]
pub(crate) struct DryRun {
    /// Say what would be done, without doing it
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// `envctl audit`
#[derive(Subcommand)]
pub(crate) enum Audit {
    /// Create a log, whose secret these keys open
    Create {
        /// The log: FILE, with FILE.head, FILE.key and FILE.lock beside it
        #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
        log: PathBuf,
        /// Keep the log's secret under this key; repeat it: any one of the keys opens [default: $ENVCTL_KEYS, or those that
        /// encrypt]
        #[arg(short, long = "key", value_name = "KEY", value_delimiter = ' ')]
        keys: Vec<String>,
    },
    /// List records, the oldest first; nothing is verified
    List {
        /// The log
        #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
        log: PathBuf,
        #[command(flatten)]
        filter: AuditFilter,
    },
    /// Say whether the log is as it was written, or which record is the first bad one (exit code 7)
    Verify {
        /// The log
        #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
        log: PathBuf,
        /// Open the log's secret with this key; repeat it [default: $ENVCTL_KEYS, or those that decrypt]
        #[arg(short, long = "key", value_name = "KEY", value_delimiter = ' ', conflicts_with = "public_key")]
        keys: Vec<String>,
        /// Verify without any secret, up to the last checkpoint: the public key of the log, as `create` showed it
        #[arg(long, value_name = "HEX")]
        public_key: Option<String>,
        /// Demand that the log is the one of these checkpoints, which were kept elsewhere; repeat it
        #[arg(long = "anchor", value_name = "FILE", value_hint = ValueHint::FilePath)]
        anchors: Vec<PathBuf>,
    },
    /// Say whether a report that the key of a log signed, such as that of `keys destroy`, is what was signed (exit code 7)
    VerifyReport {
        /// The report
        #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
        report: PathBuf,
        /// The log whose key should have signed it
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, required_unless_present = "public_key")]
        log: Option<PathBuf>,
        /// The public key of that log, as `create` showed it: whoever can change the report may change the log's files too
        #[arg(long, value_name = "HEX", conflicts_with = "log")]
        public_key: Option<String>,
    },
    /// Write records to standard output for other programs; nothing is verified
    Export {
        /// The log
        #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
        log: PathBuf,
        #[command(flatten)]
        filter: AuditFilter,
        /// As what
        #[arg(long, value_enum, default_value_t = AuditFormat::Json)]
        format: AuditFormat,
    },
    /// Sign the log up to here, and write the checkpoint to standard output: keep it where the writer cannot change it
    Checkpoint {
        /// The log
        #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
        log: PathBuf,
        /// Open the log's secret with this key; repeat it [default: $ENVCTL_KEYS, or those that decrypt]
        #[arg(short, long = "key", value_name = "KEY", value_delimiter = ' ')]
        keys: Vec<String>,
    },
    /// Remove whole old segments behind a signed checkpoint
    Prune {
        /// The log
        #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
        log: PathBuf,
        /// Open the log's secret with this key; repeat it [default: $ENVCTL_KEYS, or those that decrypt]
        #[arg(short, long = "key", value_name = "KEY", value_delimiter = ' ')]
        keys: Vec<String>,
        /// Remove the segments that have no record behind this one; this one goes with the last of its segment
        #[arg(long, value_name = "SEQ")]
        up_to: u64,
    },
}

/// Which records.
#[derive(Args)]
pub(crate) struct AuditFilter {
    /// Of this key (URI), with `*` for any characters
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<String>,
    /// Of this actor, with `*` for any characters
    #[arg(long, value_name = "ACTOR")]
    pub(crate) actor: Option<String>,
    /// Of this operation, with `*` for any characters
    #[arg(long, value_name = "OPERATION")]
    pub(crate) operation: Option<String>,
    /// From this day or moment on
    #[arg(long, value_name = "DATE")]
    pub(crate) since: Option<String>,
    /// Before this day or moment
    #[arg(long, value_name = "DATE")]
    pub(crate) until: Option<String>,
    /// With this outcome: ok, failed, denied, begun, not_offered, dropped
    #[arg(long, value_name = "OUTCOME")]
    pub(crate) outcome: Option<String>,
}

/// `envctl audit export --format`
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum AuditFormat {
    /// One JSON array
    Json,
    /// A table with a line of names (RFC 4180)
    Csv,
}

/// `envctl policy`
#[derive(Subcommand)]
pub(crate) enum Policy {
    /// Say whether a file is a policy, and which rules are never reached
    Check {
        /// The policy
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },
    /// Say what a policy decides, and by which rule: exit code 5 when it denies
    Test(PolicyTest),
}

/// `envctl policy test`
#[derive(Args)]
pub(crate) struct PolicyTest {
    /// The policy [default: that of the configuration]
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: Option<PathBuf>,
    /// Who: cli:USER, library:NAME or mcp:NAME
    #[arg(long, value_name = "ACTOR")]
    pub(crate) actor: String,
    /// What: wrap, unwrap, rewrap, list, describe, inspect, rotate, destroy, …
    #[arg(long = "op", value_name = "OPERATION")]
    pub(crate) operation: String,
    /// With which key (URI)
    #[arg(short, long, value_name = "KEY")]
    pub(crate) key: Option<String>,
    /// In which context
    #[arg(short, long, value_name = "NAME=VALUE")]
    pub(crate) context: Vec<String>,
    /// For whose data, if the program says so
    #[arg(long, value_name = "TENANT")]
    pub(crate) tenant: Option<String>,
    /// For so many recipients
    #[arg(long, value_name = "N")]
    pub(crate) recipients: Option<usize>,
    /// With a key in this state: active, suspended, …
    #[arg(long, value_name = "STATE")]
    pub(crate) state: Option<String>,
    /// At this moment, such as 2027-12-31T12:00:00Z [default: now]
    #[arg(long, value_name = "DATE")]
    pub(crate) at: Option<String>,
}

/// `envctl keystore …`
#[derive(Subcommand)]
pub(crate) enum Keystore {
    /// Create the keystore, protected by a passphrase
    Init,
    /// Change the passphrase of the keystore
    Passwd,
}

const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 other, 2 usage, 3 input or output, 4 tampered or wrong key, passphrase or context, \
5 key refused, 6 KMS unreachable, 7 audit log not as it was written, 128 and the number of a signal (130 interrupted, 143 terminated, \
129 hung up)";
