//! Several processes, some of which die. The children are this test binary,
//! running [`child`] with a role in its environment.

use std::{
    env, fs,
    io::{self, BufRead, BufReader, Write},
    process::{Child, ChildStdout, Command, Stdio},
    time::{SystemTime, UNIX_EPOCH},
};

use envelope_sdk::{KeyAdmin, KeyChange, KeyState, http::find_cause};

use super::*;

const ROLE: &str = "ENVELOPE_LOCAL_TEST_ROLE";
const FILE: &str = "ENVELOPE_LOCAL_TEST_FILE";
const ME: [&str; 4] = ["processes::child", "--exact", "--nocapture", "--quiet"];

struct Process {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Process {
    fn start(mut command: Command, role: &str, store: &Store) -> Self {
        let mut child = command
            .env(ROLE, role)
            .env(FILE, store.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, output }
    }

    fn of_this_binary(role: &str, store: &Store) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(ME);
        Self::start(command, role, store)
    }

    fn say(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// The next line of ours; the test harness prints others.
    fn hear(&mut self) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(self.output.read_line(&mut line).unwrap(), 0, "the child ended");
            if let Some((_, said)) = line.trim_end().split_once("child: ") {
                return said.into();
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Not a test of its own: what the children run.
#[test]
fn child() {
    let (Ok(role), Some(path)) = (env::var(ROLE), env::var_os(FILE)) else { return };
    let keystore = Keystore::open(path, &passphrase(SECRET)).unwrap();
    let say = |line: &str| println!("\nchild: {line}");
    match role.as_str() {
        "write-for-ever" => {
            let uri = keystore.key_uri("a").unwrap();
            for round in 0_u64.. {
                let generation = keystore.generation();
                let next = if generation % 2 == 1 { KeyState::Suspended } else { KeyState::Active };
                block_on(keystore.change_key(&uri, None, KeyChange::State(next))).unwrap();
                if round == 0 {
                    say("writing");
                }
            }
        }
        "write-too-much" => {
            let error = block_on(keystore.create_key(&NewKey::named("one-more"))).unwrap_err();
            say(&error.to_string());
        }
        name => {
            say("ready");
            for line in io::stdin().lines() {
                block_on(keystore.create_key(&NewKey::named(format!("{name}-{}", line.unwrap())))).unwrap();
                say("done");
            }
        }
    }
}

#[test]
fn two_processes_that_write_at_once_lose_nothing() {
    let store = Store::new();
    let mut writers = ["left", "right"].map(|name| Process::of_this_binary(name, &store));
    for writer in &mut writers {
        assert_eq!(writer.hear(), "ready");
    }
    for round in 0..100 {
        for writer in &mut writers {
            writer.say(&round.to_string());
        }
        for writer in &mut writers {
            assert_eq!(writer.hear(), "done");
        }
        store.keystore.reload().unwrap();
        for name in ["left", "right"] {
            wrap(&store.keystore, &format!("local:{name}-{round}"), &dek()).unwrap();
        }
    }
    assert_eq!(store.open().generation(), 200);
    assert_eq!(store.names(), ["keys.json", "keys.json.lock"]);
}

#[test]
fn a_writer_killed_at_any_point_leaves_the_old_or_the_new_file() {
    let store = Store::new();
    block_on(store.keystore.create_key(&NewKey::named("a"))).unwrap();
    let wrapped_by = {
        let dek = dek();
        (wrap(&store.keystore, "local:a", &dek).unwrap(), dek)
    };
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos();
    println!("seed {seed}");
    let mut random = u64::from(seed) | 1;
    let mut last = store.keystore.generation();
    let mut left_behind = 0;
    for round in 0..200 {
        let mut writer = Process::of_this_binary("write-for-ever", &store);
        assert_eq!(writer.hear(), "writing");
        // xorshift64: where the blow falls is random, whether the file survives must not be.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        for _ in 0..random % 200_000 {
            std::hint::spin_loop();
        }
        writer.child.kill().unwrap();
        writer.child.wait().unwrap();
        left_behind += usize::from(store.names().iter().any(|name| name.ends_with("-tmp")));

        let keystore = store.open();
        let generation = keystore.generation();
        assert!(generation > last, "round {round}: generation {generation} after {last}");
        last = generation;
        let [key] = block_on(keystore.list_keys(None)).unwrap().keys.try_into().unwrap();
        let expected = if generation % 2 == 1 { KeyState::Active } else { KeyState::Suspended };
        assert_eq!(key.state, expected, "round {round}: generation and state are of one writing");
        if key.state == KeyState::Active {
            assert_eq!(unwrap(&keystore, &wrapped_by.0).unwrap().expose(), wrapped_by.1.expose());
        }
    }
    println!("{last} generations, {left_behind} of 200 killed with a temporary file half-way");
    block_on(store.open().create_key(&NewKey::named("after"))).unwrap();
    assert_eq!(store.names(), ["keys.json", "keys.json.lock"]);
}

/// A limit on the size of files stands for a full disk: the write fails
/// half-way through. `sh` sets it, and ignores the signal that comes with it.
#[test]
fn a_write_that_fails_half_way_leaves_the_old_file_and_nothing_else() {
    let store = Store::new();
    for name in 0..20 {
        block_on(store.keystore.create_key(&NewKey::named(format!("key-{name}")))).unwrap();
    }
    let before = store.text();
    assert!(before.len() > 4096);
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; ulimit -f 2; exec \"$@\"", "sh"]);
    command.arg(env::current_exe().unwrap()).args(ME);
    let mut writer = Process::start(command, "write-too-much", &store);
    let said = writer.hear();
    assert!(said.contains("cannot write") && said.contains(".keys.json.envelope-tmp"), "{said}");
    assert!(writer.child.wait().unwrap().success());
    assert_eq!(store.text(), before);
    assert_eq!(store.names(), ["keys.json", "keys.json.lock"]);
}

struct SmallDisk(TempDir);

impl SmallDisk {
    /// Mounted and with so many KiB of room, if this process may mount.
    fn mount(kib: u32) -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={kib}k"), "tmpfs"]).arg(folder.path());
        let mounted = mount.stderr(Stdio::null()).status().is_ok_and(|status| status.success());
        mounted.then_some(Self(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_leaves_the_old_file_and_nothing_else_if_the_test_may_mount_one() {
    let Some(disk) = SmallDisk::mount(16) else {
        println!("skipped: this process may not mount a file system");
        return;
    };
    let path = disk.0.path().join("keys.json");
    let keystore = Keystore::create_with(&path, &passphrase(SECRET), FAST).unwrap();
    let (before, error) = (0..1000)
        .find_map(|number| {
            let before = fs::read_to_string(&path).unwrap();
            let created = block_on(keystore.create_key(&NewKey::named(format!("key-{number}"))));
            created.err().map(|error| (before, error))
        })
        .expect("16 KiB are soon full");
    let source = find_cause::<io::Error>(&error).unwrap();
    assert_eq!(source.kind(), io::ErrorKind::StorageFull, "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), before);
    let mut names: Vec<_> =
        fs::read_dir(disk.0.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["keys.json", "keys.json.lock"]);
    let reopened = Keystore::open(&path, &passphrase(SECRET)).unwrap();
    assert_eq!(reopened.generation(), keystore.generation());
    wrap(&reopened, "local:key-0", &dek()).unwrap();
}
