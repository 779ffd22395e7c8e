//! Encrypting and decrypting files and pipes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says so")]

use std::{
    fs,
    io::{Read, Write},
    os::unix::{
        fs::{PermissionsExt, symlink},
        process::ExitStatusExt,
    },
    path::Path,
    process::Stdio,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::common::{PASSPHRASE, Ran, Sandbox, bytes, mode};

#[test]
fn with_nothing_configured_a_passphrase_encrypts_and_gives_the_file_back() {
    let sandbox = Sandbox::new();
    let plaintext = bytes(100_000);
    sandbox.write("letter.txt", &plaintext);
    sandbox.run(&["encrypt", "letter.txt"], 0).says("encrypted for passphrase:");
    fs::remove_file(sandbox.file("letter.txt")).unwrap();
    sandbox.run(&["decrypt", "letter.txt.envelope"], 0);
    assert_eq!(sandbox.read("letter.txt"), plaintext);
    assert_eq!(sandbox.files(), ["letter.txt", "letter.txt.envelope"]);
}

#[test]
fn every_length_around_a_chunk_comes_back_through_files_and_armor() {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["main"]);
    for len in [0, 1, 16_383, 16_384, 16_385, 64 * 16_384, 64 * 16_384 + 1] {
        let plaintext = bytes(len);
        sandbox.write("in", &plaintext);
        for armor in [&[][..], &["--armor"]] {
            let args = ["encrypt", "-f", "-k", "local:main", "in", "-o", "sealed"];
            sandbox.run(&[&args, armor].concat(), 0);
            sandbox.run(&["decrypt", "-f", "-k", "local:main", "sealed", "-o", "out"], 0);
            assert_eq!(sandbox.read("out"), plaintext, "{len} bytes, {armor:?}");
        }
    }
}

#[test]
fn pipes_go_through_standard_input_and_output() {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["main"]);
    let plaintext = bytes(40_000);
    let through = |args: &[&str], input: &[u8]| {
        let mut child = sandbox
            .envctl(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_owned();
        let writer = std::thread::spawn(move || stdin.write_all(&input));
        let ran = Ran::of(child.wait_with_output().unwrap(), 0);
        writer.join().unwrap().unwrap();
        ran.stdout
    };
    let sealed = through(&["encrypt", "-k", "local:main"], &plaintext);
    assert_eq!(through(&["decrypt", "-k", "local:main"], &sealed), plaintext);
    let armored = through(&["encrypt", "-a", "-k", "local:main"], &plaintext);
    assert!(armored.starts_with(b"-----BEGIN ENVELOPE-----\n"));
    assert_eq!(through(&["decrypt", "-k", "local:main", "-"], &armored), plaintext);
}

#[test]
fn plaintext_and_keystore_are_for_the_owner_alone() {
    let sandbox = Sandbox::new();
    let keystore = sandbox.keystore(&["main"]);
    assert_eq!(mode(keystore.path()), 0o600);
    sandbox.write("in", b"x");
    sandbox.run(&["encrypt", "-k", "local:main", "in"], 0);
    sandbox.run(&["decrypt", "-k", "local:main", "in.envelope", "-o", "out"], 0);
    assert_eq!(mode(&sandbox.file("out")), 0o600);
}

#[test]
fn an_existing_output_is_kept_unless_forced() {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["main"]);
    sandbox.write("in", b"new");
    sandbox.write("in.envelope", b"old");
    sandbox.run(&["encrypt", "-k", "local:main", "in"], 3).says("is there already").says("--force");
    assert_eq!(sandbox.read("in.envelope"), b"old");
    sandbox.run(&["encrypt", "-k", "local:main", "in", "--force"], 0);
    sandbox.run(&["decrypt", "-k", "local:main", "in.envelope"], 3).says("is there already");
    assert_eq!(sandbox.read("in"), b"new");
}

#[test]
fn a_file_is_never_input_and_output_at_once() {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["main"]);
    sandbox.write("in", b"precious");
    symlink("in", sandbox.file("link")).unwrap();
    for (input, output) in [("in", "in"), ("in", "./in"), ("link", "in"), ("./link", "../work/in")] {
        sandbox
            .run(&["encrypt", "-f", "-k", "local:main", input, "-o", output], 2)
            .says("is input and output at once");
        assert_eq!(sandbox.read("in"), b"precious");
    }
    // Nor through a stream: this would read what it writes.
    let append = fs::File::options().append(true).open(sandbox.file("in")).unwrap();
    for (args, stdin) in
        [(&["in"][..], Stdio::null()), (&[], fs::File::open(sandbox.file("in")).unwrap().into())]
    {
        let mut command = sandbox.envctl(&[&["encrypt", "-k", "local:main", "-o", "-"], args].concat());
        let output = command.stdin(stdin).stdout(append.try_clone().unwrap()).output().unwrap();
        Ran::of(output, 2).says("is input and output at once");
        assert_eq!(sandbox.read("in"), b"precious");
    }
}

#[test]
fn a_link_is_read_through_and_never_written_through_replaced_or_removed() {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["main", "new"]);
    sandbox.write("in", b"plain");
    sandbox.write("target", b"old");
    symlink("in", sandbox.file("to-in")).unwrap();
    symlink("target", sandbox.file("to-target")).unwrap();
    symlink("nowhere", sandbox.file("dangling")).unwrap();
    sandbox.run(&["encrypt", "-k", "local:main", "to-in", "-o", "sealed"], 0);
    symlink("sealed", sandbox.file("to-sealed")).unwrap();
    for link in ["to-target", "dangling"] {
        for force in [&[][..], &["--force"]] {
            for args in [
                &["encrypt", "-k", "local:main", "in", "-o", link][..],
                &["decrypt", "-k", "local:main", "to-sealed", "-o", link],
            ] {
                sandbox
                    .run(&[args, force].concat(), 2)
                    .says("is a symbolic link")
                    .says("name the file itself");
            }
        }
        sandbox
            .run(&["encrypt", "--detached", "-k", "local:main", "in", "-o", link], 2)
            .says("is a symbolic link");
    }
    sandbox
        .run(&["rewrap", "-k", "local:new", "--from", "local:main", "to-sealed"], 2)
        .says("is a symbolic link");
    sandbox.run(&["encrypt", "--rm", "-k", "local:main", "to-in", "-o", "out"], 2).says("is a symbolic link");
    assert_eq!(sandbox.read("target"), b"old");
    for link in ["to-in", "to-target", "to-sealed", "dangling"] {
        assert!(fs::symlink_metadata(sandbox.file(link)).unwrap().is_symlink(), "{link}");
    }
    assert_eq!(sandbox.files(), ["dangling", "in", "sealed", "target", "to-in", "to-sealed", "to-target"]);
}

#[test]
fn descriptors_pipes_and_devices_are_written_as_they_are() {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["main"]);
    sandbox.write("in", b"plaintext");
    sandbox.run(&["encrypt", "-k", "local:main", "in"], 0);
    let decrypt = format!("{} decrypt -k local:main in.envelope", env!("CARGO_BIN_EXE_envctl"));
    let shell = |script: &str, code| {
        let mut bash = std::process::Command::new("bash");
        bash.args(["-c", script]).current_dir(sandbox.file(".")).env_clear();
        bash.env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", sandbox.file("../home"));
        Ran::of(bash.env("ENVCTL_PASSPHRASE", PASSPHRASE).output().unwrap(), code)
    };
    for out in ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "-"] {
        for force in ["", "-f"] {
            assert_eq!(shell(&format!("{decrypt} {force} -o {out} | cat"), 0).stdout, b"plaintext", "{out}");
            // Appended, and not from the front of a file that was opened anew.
            shell(&format!("(echo -n head-; {decrypt} {force} -o {out}; echo -n -tail) > log"), 0);
            assert_eq!(sandbox.read("log"), b"head-plaintext-tail", "{out} {force}");
            shell(&format!("{decrypt} {force} -o {out} >> log"), 0);
            assert_eq!(sandbox.read("log"), b"head-plaintext-tailplaintext", "{out} {force}");
        }
    }
    shell(&format!("{decrypt} -f -o /dev/fd/7 7>> log"), 0);
    assert!(sandbox.read("log").ends_with(b"-tailplaintextplaintext"));
    shell(&format!("{decrypt} -o /dev/fd/77"), 3).says("no descriptor of this number");
    // A descriptor that envctl opened itself, the input's, is none that it was given.
    shell(&format!("for n in 3 4 5 6 7 8 9; do {decrypt} -o /dev/fd/$n && exit 9; done; exit 3"), 3);
    shell(&format!("mkfifo pipe; cat pipe > out & {decrypt} -f -o pipe && wait"), 0);
    assert_eq!(sandbox.read("out"), b"plaintext");
    for stream in ["/dev/stdout", "/dev/null", "pipe", "-"] {
        shell(&format!("{decrypt} --rm -o {stream} > /dev/null"), 2).says("--rm needs");
    }
    assert_eq!(sandbox.files(), ["in", "in.envelope", "log", "out", "pipe"]);
}

#[test]
fn an_input_that_is_a_descriptor_is_read_from_where_it_stands() {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["main"]);
    sandbox.write("in", b"first line\nthe rest");
    let encrypt = format!("{} encrypt -k local:main", env!("CARGO_BIN_EXE_envctl"));
    for input in ["/dev/stdin", "/dev/fd/0", "-", "/dev/fd/3"] {
        let script = format!("exec 3<&0; read -r line; {encrypt} {input} -f -o sealed");
        let mut bash = std::process::Command::new("bash");
        bash.args(["-c", &script]).current_dir(sandbox.file(".")).env("HOME", sandbox.file("../home"));
        bash.env("ENVCTL_PASSPHRASE", PASSPHRASE).stdin(fs::File::open(sandbox.file("in")).unwrap());
        Ran::of(bash.output().unwrap(), 0);
        sandbox.run(&["decrypt", "-k", "local:main", "sealed", "-fo", "out"], 0);
        assert_eq!(sandbox.read("out"), b"the rest", "{input}");
    }
}

/// Stops a process as soon as it has `work/in` open and has begun its output: before that it has not yet noted which file
/// it reads. False when it ended before.
fn stopped_while_it_writes(id: u32) -> bool {
    let is_open = || {
        let Ok(fds) = fs::read_dir(format!("/proc/{id}/fd")) else { return false };
        let open: Vec<_> = fds.flatten().filter_map(|fd| fs::read_link(fd.path()).ok()).collect();
        let is_output = |path: &Path| path.parent().is_some_and(|folder| folder.ends_with("work"));
        let (inputs, others): (Vec<_>, Vec<_>) = open.into_iter().partition(|path| path.ends_with("work/in"));
        !inputs.is_empty() && others.iter().any(|path| is_output(path))
    };
    let state = || {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        stat.rsplit(") ").next().and_then(|rest| rest.chars().next())
    };
    while !is_open() {
        if matches!(state(), None | Some('Z')) {
            return false;
        }
        std::thread::yield_now();
    }
    let process = Pid::from_raw(id.cast_signed()).unwrap();
    kill_process(process, Signal::STOP).unwrap();
    while !matches!(state(), None | Some('Z' | 'T')) {
        std::thread::yield_now();
    }
    is_open() || {
        let _ = kill_process(process, Signal::CONT);
        false
    }
}

#[test]
fn only_the_file_that_was_read_is_removed() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only_the_file_that_was_read: who is not root does not see when the input is open");
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.keystore(&["main"]);
    sandbox.write("in", b"x");
    // Stopped between its first byte and its last. It comes and goes: until it was caught at that.
    let child = loop {
        let child = sandbox.envctl(&["encrypt", "-f", "--rm", "in"]).stderr(Stdio::piped()).spawn().unwrap();
        if stopped_while_it_writes(child.id()) {
            break child;
        }
        Ran::of(child.wait_with_output().unwrap(), 0);
        sandbox.write("in", b"x");
    };
    fs::rename(sandbox.file("in"), sandbox.file("moved")).unwrap();
    sandbox.write("in", b"another");
    kill_process(Pid::from_child(&child), Signal::CONT).unwrap();
    Ran::of(child.wait_with_output().unwrap(), 3).says("is not the file any more that was read");
    assert_eq!(sandbox.read("in"), b"another");
    assert_eq!(sandbox.files(), ["in", "in.envelope", "moved"]);
}

#[test]
fn a_folder_that_can_be_written_and_not_read_is_no_error_after_the_fact() {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["main"]);
    sandbox.write("in", b"x");
    let folder = sandbox.file("drop");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o300)).unwrap();
    let run = |args: &[&str]| {
        let mut command = sandbox.envctl(args);
        if rustix::process::geteuid().is_root() {
            // Whom no mode binds. The folder is somebody else's then.
            std::os::unix::fs::chown(&folder, Some(65_534), Some(65_534)).unwrap();
            let envctl = command;
            fs::set_permissions(sandbox.file(".."), fs::Permissions::from_mode(0o755)).unwrap();
            command = std::process::Command::new("setpriv");
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
            command.arg(envctl.get_program()).args(envctl.get_args());
            command.current_dir(sandbox.file("."));
            command.env("ENVCTL_PASSPHRASE", PASSPHRASE).env("HOME", "/nonexistent");
        }
        command.output().unwrap()
    };
    let first = run(&["encrypt", "in", "-o", "drop/sealed"]);
    if String::from_utf8_lossy(&first.stderr).contains("Permission denied") && !folder_is_reached(&sandbox) {
        println!("skipped: a_folder_that_can_be_written_and_not_read: another user does not reach it here");
        return;
    }
    Ran::of(first, 0);
    Ran::of(run(&["encrypt", "--detached", "in", "-o", "drop/apart"]), 0);
    Ran::of(run(&["encrypt", "--detached", "in", "-o", "drop/apart"]), 3).says("is there already");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
    let mut names: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["apart", "apart.sealed", "sealed"]);
}

/// Temporary folders are closed to others, program and all.
fn folder_is_reached(sandbox: &Sandbox) -> bool {
    let mut test = std::process::Command::new("setpriv");
    test.args(["--reuid=65534", "--regid=65534", "--clear-groups", env!("CARGO_BIN_EXE_envctl"), "inspect"]);
    let output = test.arg(sandbox.file("in")).output().unwrap();
    !String::from_utf8_lossy(&output.stderr).contains("Permission denied")
}

#[test]
fn the_input_is_removed_only_on_request_and_only_after_success() {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["main"]);
    sandbox.write("in", b"x");
    sandbox.run(&["encrypt", "--rm", "-k", "local:main", "in", "-o", "-"], 2).says("--rm needs");
    sandbox.run(&["encrypt", "--rm", "-k", "local:nobody", "in"], 5);
    assert_eq!(sandbox.files(), ["in"]);
    sandbox.run(&["encrypt", "--rm", "-k", "local:main", "in"], 0);
    assert_eq!(sandbox.files(), ["in.envelope"]);
}

#[test]
fn passphrases_come_from_files_descriptors_and_the_environment() {
    let sandbox = Sandbox::new();
    sandbox.write("in", b"x");
    sandbox.write("passphrase", b"from a file\r\nsecond line");
    sandbox.run(&["encrypt", "in", "--passphrase-file", "passphrase"], 0);
    let opened = |command: &mut std::process::Command, code| {
        Ran::of(command.output().unwrap(), code);
        fs::remove_file(sandbox.file("out")).is_ok()
    };
    let decrypt = ["decrypt", "in.envelope", "-o", "out"];
    assert!(opened(sandbox.envctl(&decrypt).env("ENVCTL_PASSPHRASE", "from a file"), 0));
    assert!(!opened(sandbox.envctl(&decrypt).env("ENVCTL_PASSPHRASE", "second line"), 4));
    let descriptor = [&decrypt[..], &["--passphrase-fd", "0"]].concat();
    let file = fs::File::open(sandbox.file("passphrase")).unwrap();
    assert!(opened(sandbox.envctl(&descriptor).stdin(file), 0), "a descriptor goes before the environment");
    sandbox
        .run(&["decrypt", "in.envelope", "-o", "out", "--passphrase-fd", "77"], 3)
        .says("--passphrase-fd 3 3<");
    let shell = format!(
        "{} decrypt in.envelope -o out --passphrase-file <(cat passphrase)",
        env!("CARGO_BIN_EXE_envctl")
    );
    let mut bash = std::process::Command::new("bash");
    assert!(opened(bash.args(["-c", &shell]).current_dir(sandbox.file(".")).env("HOME", "/nonexistent"), 0));
}

#[test]
fn without_a_terminal_a_missing_passphrase_is_a_clear_error() {
    let sandbox = Sandbox::new();
    sandbox.write("in", b"x");
    let mut command = std::process::Command::new("setsid");
    command.args(["-w", env!("CARGO_BIN_EXE_envctl"), "encrypt", "in"]).current_dir(sandbox.file("."));
    command.env_remove("ENVCTL_PASSPHRASE").stdin(Stdio::null());
    Ran::of(command.output().unwrap(), 2).says("a passphrase is needed").says("--passphrase-file");
    assert_eq!(sandbox.files(), ["in"]);
    // An empty variable is as good as none; an empty line is a passphrase that was given.
    Ran::of(command.env("ENVCTL_PASSPHRASE", "").output().unwrap(), 2).says("a passphrase is needed");
    sandbox.write("line", b"\n");
    Ran::of(command.args(["--passphrase-file", "line"]).output().unwrap(), 2).says("empty");
}

#[test]
fn a_stream_that_is_read_only_in_part_does_not_hang_or_complain() {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["main"]);
    sandbox.write("in", &bytes(4 << 20));
    let mut child = sandbox
        .envctl(&["encrypt", "-k", "local:main", "in", "-o", "-"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut start = [0; 8];
    child.stdout.take().unwrap().read_exact(&mut start).unwrap();
    assert_eq!(start, *b"\x89ENV\r\n\x1a\n");
    let ran = Ran::of(child.wait_with_output().unwrap(), 3);
    ran.says("writing failed");
}

#[test]
fn folders_devices_and_missing_files_are_told_apart() {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["main"]);
    fs::create_dir(sandbox.file("folder")).unwrap();
    sandbox.write("in", b"x");
    sandbox.run(&["encrypt", "-k", "local:main", "folder"], 3).says("tar -c");
    sandbox.run(&["encrypt", "-k", "local:main", "nothing"], 3).says("nothing: No such file");
    sandbox.run(&["encrypt", "-f", "-k", "local:main", "in", "-o", "folder"], 3).says("folder");
    sandbox.run(&["encrypt", "-k", "local:main", "in", "-o", "no/where"], 3).says("cannot write into no");
    sandbox.run(&["encrypt", "-k", "local:main", "in", "-o", "/dev/null"], 0);
    sandbox.run(&["decrypt", "-k", "local:main", "in"], 2).says("does not end with .envelope");
    assert_eq!(sandbox.files(), ["folder", "in"]);
}

#[test]
fn a_full_disk_is_an_error_and_leaves_nothing_behind() {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["main", "b", "c", "d"]);
    sandbox.write("in", &bytes(300_000));
    sandbox.run(&["encrypt", "-k", "local:main", "in", "-o", "/dev/full"], 3).says("No space left");
    // A file size limit fails a write half-way, as a full disk does.
    let limited_to = |blocks: u32, arguments: &str| {
        let shell =
            format!("trap '' XFSZ; ulimit -f {blocks}; exec {} {arguments}", env!("CARGO_BIN_EXE_envctl"));
        let mut bash = std::process::Command::new("bash");
        bash.args(["-c", &shell]).current_dir(sandbox.file("."));
        bash.env("HOME", sandbox.file("../home")).env("ENVCTL_PASSPHRASE", PASSPHRASE);
        bash.env("ENVCTL_NEW_PASSPHRASE", "another passphrase");
        bash.output().unwrap()
    };
    let limited = |arguments: &str| limited_to(100, arguments);
    // One exit code wherever there is no room.
    for command in ["keys create more", "keys rotate main", "keystore passwd", "encrypt -k local:main in"] {
        let mut ran = limited_to(0, command);
        ran.stdout.clear();
        Ran::of(ran, 3).says("File too large");
        assert_eq!(sandbox.files(), ["in"]);
    }
    Ran::of(limited("encrypt -k local:main in"), 3).says("File too large");
    assert_eq!(sandbox.files(), ["in"]);
    // So long a header that the one of a rewrap for four keys does not fit in place.
    let long = format!("long={}", "x".repeat(3_600));
    sandbox.run(&["encrypt", "-k", "local:main", "-c", &long, "in"], 0);
    let sealed = sandbox.read("in.envelope");
    Ran::of(limited("decrypt -k local:main in.envelope -o out"), 3).says("File too large");
    Ran::of(limited("rewrap -k local:main -k local:b -k local:c -k local:d in.envelope"), 3)
        .says("File too large");
    assert_eq!(sandbox.read("in.envelope"), sealed);
    assert_eq!(sandbox.files(), ["in", "in.envelope"]);
}

#[test]
fn no_permission_is_an_error_and_leaves_nothing_behind() {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["main"]);
    let path = sandbox.write("in", b"x");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read(&path).is_ok() {
        println!("skipped: no_permission_is_an_error: root may read everything");
        return;
    }
    sandbox.run(&["encrypt", "-k", "local:main", "in"], 3).says("Permission denied");
    assert_eq!(sandbox.files(), ["in"]);
}

#[test]
fn an_interrupt_or_a_kill_leaves_nothing_behind() {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["main"]);
    sandbox.write("old", b"old");
    for signal in [Signal::INT, Signal::KILL] {
        for args in [&["-o", "out"][..], &["-f", "-o", "old"], &["--detached", "-o", "out"]] {
            let mut command = sandbox.envctl(&[&["encrypt", "-k", "local:main"], args].concat());
            let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
            let mut stdin = child.stdin.take().unwrap();
            // More than the pipe and the first block hold: when this returns, it writes.
            stdin.write_all(&bytes(4 << 20)).unwrap();
            let at_work = sandbox.files();
            kill_process(Pid::from_child(&child), signal).unwrap();
            assert_eq!(child.wait().unwrap().signal(), Some(signal.as_raw()));
            // Where files can be unnamed there never was one.
            if signal == Signal::INT || at_work == ["old"] {
                assert_eq!(sandbox.files(), ["old"]);
            } else {
                println!("skipped: a part of an_interrupt_or_a_kill: this file system has no unnamed files");
                at_work.iter().filter(|name| *name != "old").for_each(|name| {
                    fs::remove_file(sandbox.file(name)).unwrap();
                });
            }
            assert_eq!(sandbox.read("old"), b"old");
        }
    }
}

#[test]
fn an_input_that_says_no_length_is_read_to_its_end() {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["main"]);
    // A regular file of 0 bytes, which has some when it is read.
    sandbox.run(&["encrypt", "-k", "local:main", "/proc/version", "-o", "sealed"], 0);
    sandbox.run(&["decrypt", "-k", "local:main", "sealed", "-o", "out"], 0);
    assert_eq!(sandbox.read("out"), fs::read("/proc/version").unwrap());
}

#[test]
fn an_input_that_changes_its_length_meanwhile_is_refused_and_nothing_is_left() {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["main"]);
    let len = 256 << 20;
    for (to, said) in [(len + 1, "now has more"), (len / 4, "now has fewer")] {
        // It may be done before its input is changed; then it is tried again.
        let mut tries = (0..50).map(|_| encrypt_while_changed(&sandbox, len, to));
        let refused = tries.find(|output| !output.status.success()).unwrap();
        Ran::of(refused, 3).says(said).says("snapshot");
        let _ = fs::remove_file(sandbox.file("out"));
        assert_eq!(sandbox.files(), ["in"]);
    }
}

/// Encrypts a file of `len` bytes whose length is set to another one as soon as
/// envctl has read of it, and so has asked for it.
fn encrypt_while_changed(sandbox: &Sandbox, len: u64, to: u64) -> std::process::Output {
    use rustix::fs::inotify;
    let path = sandbox.file("in");
    let input = fs::File::create(&path).unwrap();
    input.set_len(len).unwrap();
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC).unwrap();
    inotify::add_watch(&watch, &path, inotify::WatchFlags::ACCESS).unwrap();
    let mut command = sandbox.envctl(&["encrypt", "-f", "-k", "local:main", "in", "-o", "out"]);
    let child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut buffer = [std::mem::MaybeUninit::uninit(); 1024];
    inotify::Reader::new(&watch, &mut buffer).next().unwrap();
    input.set_len(to).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn a_small_file_system_that_is_full_leaves_nothing_behind() {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["main"]);
    sandbox.write("in", &bytes(3 << 20));
    sandbox.run(&["encrypt", "-k", "local:main", "in"], 0);
    let small = sandbox.file("small");
    fs::create_dir(&small).unwrap();
    let mount = |args: &[&str]| {
        std::process::Command::new(args[0]).args(&args[1..]).arg(&small).stderr(Stdio::null()).status()
    };
    if !mount(&["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs"]).is_ok_and(|status| status.success()) {
        println!("skipped: a_small_file_system_that_is_full: a tmpfs cannot be mounted here");
        return;
    }
    let encrypt = sandbox.envctl(&["encrypt", "-k", "local:main", "in", "-o", "small/out"]).output();
    let decrypt = sandbox.envctl(&["decrypt", "-k", "local:main", "in.envelope", "-o", "small/out"]).output();
    let left = fs::read_dir(&small).unwrap().count();
    // On another file system than the input, with room for it.
    sandbox.write("little", b"little");
    let other = sandbox.envctl(&["encrypt", "-k", "local:main", "little", "-o", "small/out"]).output();
    mount(&["umount"]).unwrap();
    Ran::of(encrypt.unwrap(), 3).says("No space left");
    Ran::of(decrypt.unwrap(), 3).says("No space left");
    assert_eq!(left, 0);
    Ran::of(other.unwrap(), 0);
}

#[test]
fn not_a_byte_of_a_truncated_file_goes_down_a_pipe() {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["main"]);
    sandbox.write("in", &bytes(300_000));
    sandbox.run(&["encrypt", "-k", "local:main", "in"], 0);
    let sealed = sandbox.read("in.envelope");
    sandbox.write("in.envelope", &sealed[..sealed.len() - 20_000]);
    let ran = sandbox.run(&["decrypt", "-k", "local:main", "in.envelope", "-o", "-"], 4);
    assert_eq!(ran.stdout, b"");
}
