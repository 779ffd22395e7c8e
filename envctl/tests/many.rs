//! Many files in one call of `encrypt` and `decrypt`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says so")]
#![allow(clippy::print_stdout, reason = "figures are said, and what is left out")]

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write,
    os::unix::{
        fs::{FileTypeExt, PermissionsExt, symlink},
        process::ExitStatusExt,
    },
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::common::{PASSPHRASE, Ran, Sandbox, bytes};

const MAIN: [&str; 2] = ["-k", "local:main"];

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["main", "other"]);
    sandbox
}

fn encrypt(sandbox: &Sandbox, args: &[&str], code: i32) -> Ran {
    sandbox.run(&[&["encrypt"], &MAIN[..], args].concat(), code)
}

fn decrypt(sandbox: &Sandbox, args: &[&str], code: i32) -> Ran {
    sandbox.run(&[&["decrypt"], &MAIN[..], args].concat(), code)
}

/// Everything below the working folder: the bytes of files, and what else there is.
fn all(sandbox: &Sandbox) -> BTreeMap<String, Vec<u8>> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![sandbox.file("")]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let kind = fs::symlink_metadata(&path).unwrap().file_type();
            if kind.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(sandbox.file("")).unwrap().to_str().unwrap().to_owned();
            let content = if kind.is_file() { fs::read(&path).unwrap() } else { b"special".to_vec() };
            found.insert(name, content);
        }
    }
    found
}

fn names(sandbox: &Sandbox) -> Vec<String> {
    all(sandbox).into_keys().collect()
}

/// A tree with hidden, empty and large files.
fn tree(sandbox: &Sandbox) -> BTreeMap<String, Vec<u8>> {
    fs::create_dir_all(sandbox.file("tree/sub/.hidden")).unwrap();
    sandbox.write("tree/a", b"a");
    sandbox.write("tree/sub/empty", b"");
    sandbox.write("tree/sub/.hidden/.b", b"hidden");
    // More than a file may have before it gets all cores.
    sandbox.write("tree/sub/large", &bytes(17 << 20));
    all(sandbox)
}

fn lines(ran: &Ran) -> Vec<Value> {
    ran.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn many_files_are_encrypted_and_decrypted_by_one_call_with_a_line_for_each() {
    let sandbox = sandbox();
    for name in ["a", "b", "c"] {
        sandbox.write(name, name.as_bytes());
    }
    let ran = encrypt(&sandbox, &["a", "b", "c"], 0);
    for name in ["a", "b", "c"] {
        ran.says(&format!("{name}.envelope: encrypted for local:"));
        fs::remove_file(sandbox.file(name)).unwrap();
    }
    assert_eq!(ran.stdout, b"");
    let ran = sandbox
        .run(&[&["--json", "decrypt"], &MAIN[..], &["a.envelope", "b.envelope", "c.envelope"]].concat(), 0);
    let mut told: Vec<_> = lines(&ran)
        .iter()
        .map(|line| ["input", "output", "plaintext_bytes"].map(|field| line[field].to_string()))
        .collect();
    told.sort();
    let expected =
        ["a", "b", "c"].map(|name| [format!("\"{name}.envelope\""), format!("\"{name}\""), "1".into()]);
    assert_eq!(told, expected);
    assert_eq!(ran.stderr, "");
    assert_eq!(sandbox.read("b"), b"b");
}

#[test]
fn a_folder_is_encrypted_and_decrypted_whole_and_a_second_time_nothing_is_done() {
    let sandbox = sandbox();
    let before = tree(&sandbox);
    encrypt(&sandbox, &["-r", "--rm", "tree"], 0).says("4 encrypted, 0 passed over");
    let sealed = names(&sandbox);
    assert_eq!(sealed, before.keys().map(|name| format!("{name}.envelope")).collect::<Vec<_>>());
    encrypt(&sandbox, &["-r", "tree"], 0).says("0 encrypted, 4 passed over");
    assert_eq!(names(&sandbox), sealed);
    decrypt(&sandbox, &["-r", "--rm", "tree"], 0).says("4 decrypted, 0 passed over");
    assert_eq!(all(&sandbox), before);
}

#[test]
fn outputs_go_into_a_folder_that_is_there_as_cp_has_it() {
    let sandbox = sandbox();
    let before = tree(&sandbox);
    sandbox.write("one", b"1");
    encrypt(&sandbox, &["-r", "tree", "one", "-o", "out"], 2).says("need a folder, and out is none");
    fs::create_dir(sandbox.file("out")).unwrap();
    encrypt(&sandbox, &["-r", "tree", "one", "-o", "out"], 0);
    assert!(
        sandbox.file("out/tree/sub/.hidden/.b.envelope").exists()
            && sandbox.file("out/one.envelope").exists()
    );
    fs::create_dir(sandbox.file("back")).unwrap();
    // What stands in the folder itself is named by the folder as little as by `cp -r out/. back`.
    let ran = sandbox
        .envctl(&["decrypt", "-k", "local:main", "-r", ".", "-o", "../back"])
        .current_dir(sandbox.file("out"))
        .output();
    Ran::of(ran.unwrap(), 0);
    for (name, content) in before {
        assert_eq!(sandbox.read(&format!("back/{name}")), content, "{name}");
    }
    // One file too, when the folder is meant without a doubt.
    encrypt(&sandbox, &["one", "-o", "out"], 3).says("directory");
    encrypt(&sandbox, &["one", "-o", "back/"], 0);
    assert!(sandbox.file("back/one.envelope").exists());
}

#[test]
fn the_folder_of_the_outputs_is_no_input() {
    let sandbox = sandbox();
    sandbox.write("a", b"a");
    fs::create_dir(sandbox.file("out")).unwrap();
    sandbox.write("out/b", b"b");
    encrypt(&sandbox, &["-r", ".", "-o", "out"], 0).says("1 encrypted, 0 passed over");
    assert_eq!(names(&sandbox), ["a", "out/a.envelope", "out/b"]);
}

#[test]
fn links_in_a_folder_are_not_followed_and_pipes_are_not_waited_for() {
    let sandbox = sandbox();
    fs::create_dir_all(sandbox.file("tree/sub")).unwrap();
    fs::create_dir(sandbox.file("elsewhere")).unwrap();
    sandbox.write("elsewhere/secret", b"x");
    sandbox.write("tree/a", b"a");
    symlink("../elsewhere", sandbox.file("tree/folder")).unwrap();
    symlink("../elsewhere/secret", sandbox.file("tree/file")).unwrap();
    symlink("..", sandbox.file("tree/sub/round")).unwrap();
    assert!(Command::new("mkfifo").arg(sandbox.file("tree/pipe")).status().unwrap().success());
    encrypt(&sandbox, &["-r", "tree"], 0).says("1 encrypted");
    let found = names(&sandbox);
    assert!(
        found.contains(&"tree/a.envelope".into())
            && found.iter().filter(|name| name.ends_with(".envelope")).count() == 1,
        "{found:?}"
    );
    // Named, a link is followed when it is read, as of one file; what it writes stands beside the link.
    encrypt(&sandbox, &["-r", "tree/folder", "tree/file"], 0);
    assert!(
        sandbox.file("elsewhere/secret.envelope").exists() && sandbox.file("tree/file.envelope").exists()
    );
    // An output is never written through a link, nor into a pipe that stands there.
    sandbox.write("b", b"b");
    sandbox.write("c", b"c");
    symlink("b", sandbox.file("c.envelope")).unwrap();
    fs::rename(sandbox.file("tree/pipe"), sandbox.file("b.envelope")).unwrap();
    encrypt(&sandbox, &["-f", "b", "c"], 2)
        .says("b.envelope is not a regular file")
        .says("c.envelope is a symbolic link")
        .says("2 of 2 files failed");
    assert!(fs::symlink_metadata(sandbox.file("b.envelope")).unwrap().file_type().is_fifo());
    assert_eq!(sandbox.read("b"), b"b");
}

#[test]
fn one_that_fails_does_not_stop_the_others_and_the_exit_code_is_that_of_the_first_of_the_call() {
    let sandbox = sandbox();
    fs::create_dir(sandbox.file("tree")).unwrap();
    for number in 0..1000 {
        sandbox.write(&format!("tree/{number:03}"), number.to_string().as_bytes());
    }
    encrypt(&sandbox, &["-r", "--rm", "tree"], 0).says("1000 encrypted, 0 passed over");
    let break_at = |number: u32, change: &dyn Fn(&mut Vec<u8>)| {
        let name = format!("tree/{number:03}.envelope");
        let mut sealed = sandbox.read(&name);
        change(&mut sealed);
        sandbox.write(&name, &sealed);
    };
    // One is changed in its payload, one is no envelope, one is cut off, and of one the output is there.
    break_at(500, &|sealed| *sealed.last_mut().unwrap() ^= 1);
    break_at(501, &|sealed| *sealed = b"notes".to_vec());
    break_at(502, &|sealed| sealed.truncate(100));
    sandbox.write("tree/900", b"kept");
    let ran = decrypt(&sandbox, &["-r", "tree"], 4);
    ran.says("tree/500.envelope: ").says("tree/502.envelope").says("tree/900 is there already");
    ran.says("996 decrypted, 2 passed over").says("3 of 999 files failed");
    for number in 0..1000 {
        let there = fs::read(sandbox.file(&format!("tree/{number:03}"))).ok();
        let expected = match number {
            500..=502 => None,
            900 => Some(b"kept".to_vec()),
            _ => Some(number.to_string().into_bytes()),
        };
        assert_eq!(there, expected, "{number}");
    }
    // Named, the one that is no envelope is an error; the first of the call counts, whichever is told first.
    sandbox.run(&["--json", "decrypt", "-k", "local:main", "tree/900.envelope", "tree/500.envelope"], 3);
    sandbox.run(&["--json", "decrypt", "-k", "local:main", "tree/500.envelope", "tree/900.envelope"], 4);
    decrypt(&sandbox, &["tree/501.envelope", "tree/900.envelope"], 4).says("tree/501.envelope: ");
    assert!(!names(&sandbox).iter().any(|name| name.contains(".envctl-")), "nothing is left over");
}

#[test]
fn keys_that_do_not_work_are_told_once_and_nothing_is_written() {
    let sandbox = sandbox();
    fs::create_dir(sandbox.file("tree")).unwrap();
    for number in 0..100 {
        sandbox.write(&format!("tree/{number}"), b"x");
    }
    for (keys, code, says) in [("local:absent", 5, "absent"), ("local:main", 4, "passphrase")] {
        let mut command = sandbox.envctl(&["encrypt", "-k", keys, "-r", "tree"]);
        if keys == "local:main" {
            command.env("ENVCTL_PASSPHRASE", "wrong");
        }
        let output = command.output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{told}");
        assert!(told.contains(says), "{told}");
        assert_eq!(told.matches("error").count(), 1, "{told}");
        assert_eq!(names(&sandbox).len(), 100);
    }
}

#[test]
fn one_passphrase_is_hashed_once_for_all_that_is_encrypted() {
    let sandbox = Sandbox::new();
    for name in ["a", "b"] {
        sandbox.write(name, name.as_bytes());
    }
    sandbox.run(&["encrypt", "a", "b"], 0);
    let salt = |name: &str| {
        let ran = sandbox.run(&["--json", "inspect", name], 0);
        assert_eq!(ran.json()["recipients"][0]["key"], "passphrase:");
        let bytes = sandbox.read(name);
        let header = envelope_sdk::Envelope::inspect(&bytes).unwrap();
        header.recipients()[0].ciphertext()[9..25].to_vec()
    };
    assert_eq!(salt("a.envelope"), salt("b.envelope"), "one salt, one hash");
    fs::remove_file(sandbox.file("a")).unwrap();
    fs::remove_file(sandbox.file("b")).unwrap();
    sandbox.run(&["decrypt", "a.envelope", "b.envelope"], 0);
    assert_eq!(sandbox.read("a"), b"a");
}

#[test]
fn a_file_that_is_named_twice_is_done_once() {
    let sandbox = sandbox();
    fs::create_dir(sandbox.file("tree")).unwrap();
    sandbox.write("tree/a", b"a");
    symlink("tree", sandbox.file("link")).unwrap();
    let ran = encrypt(&sandbox, &["tree/a", "./tree/../tree/a", "link/a"], 0);
    assert_eq!(ran.stderr.matches("encrypted for").count(), 1, "{}", ran.stderr);
    fs::remove_file(sandbox.file("tree/a.envelope")).unwrap();
    encrypt(&sandbox, &["-r", "tree/a", "tree", "link", "."], 0).says("1 encrypted, 0 passed over");
    assert_eq!(names(&sandbox), ["link", "tree/a", "tree/a.envelope"]);
}

#[test]
fn what_is_named_below_a_folder_and_not_found_there_is_done_or_told() {
    let sandbox = sandbox();
    fs::create_dir(sandbox.file("tree")).unwrap();
    sandbox.write("tree/a", b"a");
    sandbox.write("b", b"b");
    symlink("../b", sandbox.file("tree/link")).unwrap();
    encrypt(&sandbox, &["-r", "tree", "tree/a", "tree/link", "tree/missing"], 3)
        .says("tree/missing")
        .says("tree/link.envelope: encrypted for")
        .says("2 encrypted");
    assert_eq!(names(&sandbox), ["b", "tree/a", "tree/a.envelope", "tree/link", "tree/link.envelope"]);
}

#[test]
fn no_output_replaces_an_input_of_the_same_call() {
    let sandbox = sandbox();
    fs::create_dir(sandbox.file("tree")).unwrap();
    let (plain, odd) = (b"plain", b"a plaintext that is called so");
    sandbox.write("tree/a", plain);
    sandbox.write("tree/a.envelope", odd);
    encrypt(&sandbox, &["-f", "tree/a", "tree/a.envelope"], 2)
        .says("tree/a.envelope is input and output at once");
    assert_eq!(sandbox.read("tree/a.envelope"), odd);
    fs::remove_file(sandbox.file("tree/a.envelope.envelope")).unwrap();
    encrypt(&sandbox, &["-f", "-r", "tree"], 2).says("tree/a.envelope is input and output at once");
    assert_eq!(sandbox.read("tree/a.envelope"), odd);
    assert_eq!(names(&sandbox), ["tree/a", "tree/a.envelope", "tree/a.envelope.envelope"]);
    // What is encrypted already is no input, and is replaced when that is asked for.
    sandbox.write("b", b"new");
    encrypt(&sandbox, &["b"], 0);
    encrypt(&sandbox, &["-f", "-r", "."], 2).says("b.envelope: encrypted for");
}

#[test]
fn two_inputs_of_one_name_are_refused_for_one_folder_before_anything_is_written() {
    let sandbox = sandbox();
    for folder in ["x", "y", "out"] {
        fs::create_dir(sandbox.file(folder)).unwrap();
    }
    sandbox.write("x/a", b"1");
    sandbox.write("y/a", b"2");
    for args in [&["-f", "x/a", "y/a", "-o", "out"][..], &["-r", "x", "y/../x/../y", ".", "-o", "out"]] {
        let code = if args[0] == "-f" { 2 } else { 0 };
        encrypt(&sandbox, args, code);
    }
    let into = |name: &str| fs::read_dir(sandbox.file(name)).unwrap().count();
    // `.` has the other two in it.
    assert_eq!((into("x"), into("y")), (1, 1));
    assert!(sandbox.file("out/x/a.envelope").exists() && sandbox.file("out/y/a.envelope").exists());
}

#[test]
fn standard_input_and_a_payload_are_refused_among_many() {
    let sandbox = sandbox();
    sandbox.write("a", b"a");
    for args in
        [&["encrypt", "-k", "local:main", "a", "-"][..], &["decrypt", "-k", "local:main", "a", "/dev/stdin"]]
    {
        sandbox.run(args, 2).says("one by one");
    }
    decrypt(&sandbox, &["--payload", "p", "a", "b"], 2).says("--payload names the payload of one header");
    assert_eq!(names(&sandbox), ["a"]);
    encrypt(&sandbox, &["a", "tree"], 3).says("tree");
    fs::create_dir(sandbox.file("tree")).unwrap();
    encrypt(&sandbox, &["-f", "a", "tree"], 3).says("with -r each file below it");
}

#[test]
fn detached_envelopes_of_a_folder_come_back_and_their_parts_are_passed_over() {
    let sandbox = sandbox();
    fs::create_dir(sandbox.file("tree")).unwrap();
    sandbox.write("tree/a", b"a");
    sandbox.write("tree/b.sealed", b"a plaintext that is called so");
    encrypt(&sandbox, &["-r", "--detached", "tree"], 0).says("2 encrypted");
    encrypt(&sandbox, &["-r", "tree"], 3).says("0 encrypted, 4 passed over").says("is there already");
    fs::remove_file(sandbox.file("tree/a")).unwrap();
    fs::remove_file(sandbox.file("tree/b.sealed")).unwrap();
    decrypt(&sandbox, &["-r", "tree"], 0).says("2 decrypted, 2 passed over");
    assert_eq!(
        (sandbox.read("tree/a"), sandbox.read("tree/b.sealed")),
        (b"a".to_vec(), b"a plaintext that is called so".to_vec())
    );
}

/// Encrypted and removed, it would be lost for the envelope beside it.
#[test]
fn journals_of_a_rewrap_or_reencryption_are_no_files_of_a_user() {
    use envelope_files::Journal;
    let sandbox = sandbox();
    fs::create_dir(sandbox.file("tree")).unwrap();
    sandbox.write("tree/a", b"a");
    encrypt(&sandbox, &["--rm", "tree/a", "-o", "tree/a.envelope"], 0);
    let old = envelope_sdk::Envelope::inspect(&sandbox.read("tree/a.envelope")).unwrap();
    sandbox.run(&["rewrap", "-k", "local:other", "--from", "local:main", "tree/a.envelope"], 0);
    let new = envelope_sdk::Envelope::inspect(&sandbox.read("tree/a.envelope")).unwrap();
    let journal = Journal::new(old, new).unwrap().to_bytes();
    sandbox.write("tree/a.envelope.rewrap-journal", &journal);
    sandbox.write("tree/notes.rewrap-journal", b"a plaintext that is called so");
    encrypt(&sandbox, &["-r", "--rm", "tree"], 0).says("1 encrypted, 2 passed over");
    assert_eq!(
        names(&sandbox),
        ["tree/a.envelope", "tree/a.envelope.rewrap-journal", "tree/notes.rewrap-journal.envelope"]
    );
}

#[test]
fn folders_that_cannot_be_read_are_told_and_the_rest_is_done() {
    let sandbox = sandbox();
    let before = tree(&sandbox);
    fs::set_permissions(sandbox.file("tree/sub/.hidden"), fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read_dir(sandbox.file("tree/sub/.hidden")).is_ok() {
        println!("skipped: folders_that_cannot_be_read: root may read everything");
        return;
    }
    encrypt(&sandbox, &["-r", "tree"], 3).says("cannot list tree/sub/.hidden").says("3 encrypted");
    fs::set_permissions(sandbox.file("tree/sub/.hidden"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(names(&sandbox).len(), before.len() + 3);
}

/// Whatever ends it, each output is whole or not there.
#[test]
fn a_signal_leaves_whole_outputs_alone() {
    let sandbox = sandbox();
    fs::create_dir(sandbox.file("tree")).unwrap();
    for number in 0..300 {
        sandbox.write(&format!("tree/{number}"), &bytes(100_000));
    }
    let begun = Instant::now();
    encrypt(&sandbox, &["-r", "tree"], 0);
    let whole = begun.elapsed();
    for (part, signal) in [(3, Signal::TERM), (2, Signal::INT), (5, Signal::KILL), (4, Signal::HUP)] {
        fs::remove_dir_all(sandbox.file("tree")).unwrap();
        fs::create_dir(sandbox.file("tree")).unwrap();
        for number in 0..300 {
            sandbox.write(&format!("tree/{number}"), &bytes(100_000));
        }
        let mut child = sandbox
            .envctl(&["encrypt", "-k", "local:main", "-r", "tree"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // At any moment of a run: what must hold does not depend on which.
        std::thread::sleep(whole.mul_f64(f64::from(part) / 6.0));
        let _ = kill_process(Pid::from_child(&child), signal);
        let status = child.wait().unwrap();
        assert!(status.success() || status.signal() == Some(signal.as_raw()), "{status:?}");
        let left = all(&sandbox);
        assert!(left.keys().all(|name| !name.contains(".envctl-")), "{signal:?}: nothing is left over");
        let sealed: Vec<_> =
            left.keys().filter(|name| name.ends_with(".envelope")).map(String::as_str).collect();
        println!("{signal:?} after {:?}: {} outputs", whole * part / 6, sealed.len());
        if !sealed.is_empty() {
            fs::create_dir(sandbox.file("out")).unwrap();
            decrypt(&sandbox, &[&["-o", "out/"], &sealed[..]].concat(), 0);
            assert_eq!(fs::read_dir(sandbox.file("out")).unwrap().count(), sealed.len());
            fs::remove_dir_all(sandbox.file("out")).unwrap();
        }
    }
}

#[test]
fn memory_does_not_grow_with_the_number_of_files() {
    let sandbox = sandbox();
    let peak = |count: u32| {
        let folder = sandbox.file("many");
        let _ = fs::remove_dir_all(&folder);
        for number in 0..count {
            let sub = folder.join((number / 500).to_string());
            fs::create_dir_all(&sub).unwrap();
            File::create(sub.join(number.to_string())).unwrap().write_all(&bytes(2048)).unwrap();
        }
        let mut command = sandbox.envctl(&["encrypt", "-k", "local:main", "-r", "many"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let status = Path::new("/proc").join(child.id().to_string()).join("status");
        let (mut most, begun) = (0, Instant::now());
        while child.try_wait().unwrap().is_none() {
            let text = fs::read_to_string(&status).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").trim().parse::<u64>().ok());
            most = most.max(kib.unwrap_or(0));
            assert!(begun.elapsed() < Duration::from_secs(300));
            // The kernel keeps the most there was: only what comes in the last of these is missed.
            std::thread::sleep(Duration::from_millis(2));
        }
        assert!(child.wait().unwrap().success());
        most
    };
    let (few, many) = (peak(100), peak(4000));
    println!("{few} KiB for 100 files, {many} KiB for 4,000");
    assert!(many < few + 8 * 1024, "{few} KiB for 100 files, {many} KiB for 4,000");
}

#[test]
fn what_opens_the_keys_is_not_removed_with_what_they_encrypt() {
    let sandbox = sandbox();
    fs::create_dir(sandbox.file("home")).unwrap();
    let (keystore, passphrase) = ("home/keystore.json", "home/passphrase");
    fs::rename(sandbox.keystore_path(), sandbox.file(keystore)).unwrap();
    sandbox.write(passphrase, format!("{PASSPHRASE}\n").as_bytes());
    sandbox.write("home/notes", b"notes");
    let opened_with =
        ["--keystore", keystore, "--passphrase-file", passphrase, "encrypt", "-k", "local:main"];
    let ran = sandbox.run(&[&opened_with[..], &["-r", "--rm", "home"]].concat(), 2);
    ran.says("home/keystore.json is needed to decrypt").says("1 encrypted");
    sandbox.run(&[&opened_with[..], &["--rm", passphrase]].concat(), 2).says("it is not removed");
    assert_eq!(names(&sandbox), [keystore, "home/notes.envelope", passphrase]);
    // A copy of it takes nothing away.
    sandbox.run(&[&opened_with[..], &[keystore]].concat(), 0);
}

#[test]
fn what_the_configuration_opens_its_keys_with_and_the_audit_log_are_not_removed() {
    let sandbox = sandbox();
    fs::create_dir(sandbox.file("home")).unwrap();
    let passphrase = sandbox.write("home/passphrase", format!("{PASSPHRASE}\n").as_bytes());
    let configuration =
        format!("keys = ['local:main']\n[local]\npassphrase-file = '{}'\n", passphrase.display());
    sandbox.write("home/config.toml", configuration.as_bytes());
    sandbox.write("home/notes", b"notes");
    let run = |args: &[&str], code| {
        let mut command = sandbox.envctl(&["--config", "home/config.toml"]);
        Ran::of(command.args(args).env_remove("ENVCTL_PASSPHRASE").output().unwrap(), code)
    };
    run(&["audit", "create", "home/log"], 0);
    let ran = run(&["--audit-log", "home/log", "encrypt", "-r", "--rm", "home"], 2);
    ran.says("home/passphrase is needed to decrypt").says("home/log.key is needed to decrypt");
    ran.says("1 encrypted").says("6 of 7 files failed");
    let left = ["config.toml", "log", "log.head", "log.key", "log.lock", "notes.envelope", "passphrase"];
    assert_eq!(names(&sandbox), left.map(|name| format!("home/{name}")));
    run(&["--audit-log", "home/log", "decrypt", "home/notes.envelope"], 0);
    assert_eq!(sandbox.read("home/notes"), b"notes");
}

/// Without one of them the log does not verify.
#[test]
fn closed_segments_of_the_audit_log_are_not_removed() {
    let sandbox = sandbox();
    fs::create_dir(sandbox.file("home")).unwrap();
    sandbox.run(&[&["audit", "create"], &MAIN[..], &["home/log"]].concat(), 0);
    let log = sandbox.file("home/log");
    let configure = |more: &str| sandbox.configure(&format!("[audit]\nfile = {log:?}\n{more}\n"));
    configure("segment-bytes = 65536");
    sandbox.write("home/notes", b"notes");
    sandbox.write("home/log.txt", b"of somebody else");
    for folder in ["many", "elsewhere"] {
        fs::create_dir(sandbox.file(folder)).unwrap();
    }
    for number in 0..100 {
        sandbox.write(&format!("many/{number}"), b"");
    }
    let closed = "home/log.00000001";
    while !sandbox.file(closed).exists() {
        encrypt(&sandbox, &["-f", "-r", "many", "-o", "elsewhere"], 0);
    }
    configure("");
    let before = sandbox.read(closed);
    encrypt(&sandbox, &["-r", "--rm", "home"], 2)
        .says("home/log.00000001 is needed to decrypt")
        .says("2 encrypted");
    assert_eq!(sandbox.read(closed), before);
    assert!(!sandbox.file("home/log.txt").exists());
    sandbox.run(&[&["audit", "verify"], &MAIN[..], &["home/log"]].concat(), 0);
}

/// Each change writes the keystore anew, as another file.
#[test]
fn a_keystore_that_is_changed_meanwhile_is_not_removed_either() {
    let sandbox = sandbox();
    fs::rename(sandbox.keystore_path(), sandbox.file("keystore.json")).unwrap();
    // One more than are under way at once: each is waited for until somebody writes to it.
    let pipes: Vec<_> = (1..=17).map(|number| format!("pipe-{number}")).collect();
    for pipe in &pipes {
        assert!(Command::new("mkfifo").arg(sandbox.file(pipe)).status().unwrap().success());
    }
    let with = ["--keystore", "keystore.json"];
    let child = sandbox
        .envctl(&[&with[..], &["encrypt", "--rm"], &MAIN[..]].concat())
        .args(&pipes)
        .arg("keystore.json")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let let_go = |pipe: &String| drop(File::options().write(true).open(sandbox.file(pipe)).unwrap());
    let_go(&pipes[0]);
    sandbox.run(&[&with[..], &["keys", "rotate", "main"]].concat(), 0);
    pipes[1..].iter().for_each(let_go);
    let ran = Ran::of(child.wait_with_output().unwrap(), 2);
    ran.says("keystore.json is needed to decrypt").says("18 of 18 files failed");
    assert!(!sandbox.file("keystore.json.envelope").exists());
    sandbox.run(&[&with[..], &["keys", "describe", "main"]].concat(), 0);
}

#[test]
fn a_wrong_passphrase_of_one_file_is_told_of_that_file() {
    let sandbox = Sandbox::new();
    sandbox.write("a", b"a");
    sandbox.write("b", b"b");
    sandbox.run(&["encrypt", "a"], 0);
    let another = sandbox.envctl(&["encrypt", "b"]).env("ENVCTL_PASSPHRASE", "another").output().unwrap();
    Ran::of(another, 0);
    fs::remove_file(sandbox.file("a")).unwrap();
    fs::remove_file(sandbox.file("b")).unwrap();
    assert_ne!(PASSPHRASE, "another");
    sandbox.run(&["decrypt", "a.envelope", "b.envelope"], 4).says("b.envelope: ").says("1 of 2 files failed");
    assert_eq!(sandbox.files(), ["a", "a.envelope", "b.envelope"]);
}
