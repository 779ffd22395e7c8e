//! Where no threads are to be had there is an error, or fewer threads, and never a panic.

use super::{common::Sandbox, is_root};

#[test]
fn with_few_threads_to_be_had_nothing_panics_and_nothing_is_left_half_done() {
    use std::os::unix::process::CommandExt;
    if !is_root("with_few_threads_to_be_had_nothing_panics_and_nothing_is_left_half_done") {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.keystore(&["main"]);
    sandbox.write("in", &super::common::bytes(3 << 20));
    sandbox.run(&["encrypt", "-k", "local:main", "in", "-o", "sealed"], 0);
    super::give_away(&sandbox);
    let mut worked = [0; 5];
    for limit in 1..=8 {
        let commands = [
            "encrypt -k local:main in -o out",
            "encrypt -k local:main - -o out < in",
            "decrypt -k local:main sealed -o out",
            "decrypt -k local:main - -o out < sealed",
            "keys list",
        ];
        for (command, worked) in commands.iter().zip(&mut worked) {
            let script = format!("ulimit -u {limit}; exec \"$ENVCTL\" --passphrase-file pw {command}");
            std::fs::write(sandbox.file("pw"), super::common::PASSPHRASE).unwrap();
            let mut shell = super::shell(&sandbox, &script);
            // Of root, the limit does not count.
            let output = shell.uid(super::STRANGER).gid(super::STRANGER).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(!said.contains("panicked"), "{limit}, {command}: {said}");
            match output.status.code() {
                Some(0) => *worked += 1,
                Some(1) => {
                    assert!(
                        said.contains("thread") || said.contains("signals"),
                        "{limit}, {command}: {said}"
                    );
                    assert!(!sandbox.file("out").exists(), "{limit}, {command}");
                }
                code => panic!("{limit}, {command}: {code:?}: {said}"),
            }
            let left = sandbox.files().into_iter().filter(|name| name.starts_with('.')).collect::<Vec<_>>();
            assert_eq!(left, [""; 0], "{limit}, {command}");
            let _ = std::fs::remove_file(sandbox.file("out"));
        }
    }
    assert!(worked.iter().all(|worked| *worked > 0), "a few threads are enough: {worked:?}");
    assert!(worked.iter().all(|worked| *worked < 8), "the limit counted: {worked:?}");
}

#[test]
fn too_few_descriptors_are_an_error() {
    let sandbox = Sandbox::new();
    sandbox.write("in", b"x");
    sandbox.write("pw", b"words\n");
    // With fewer than these, the shell and the loader have too few themselves.
    for most in 6..40 {
        let limited = format!("ulimit -n {most}; exec \"$ENVCTL\" --passphrase-file pw encrypt in -f -o out");
        let output = super::shell(&sandbox, &limited).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(matches!(output.status.code(), Some(0 | 1 | 3)), "{most}: {:?} {said}", output.status);
        assert!(output.status.success() || said.contains("Too many open files"), "{most}: {said}");
    }
}
