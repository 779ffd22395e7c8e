//! Standard streams that are closed or full.

use super::{
    common::{Sandbox, bytes},
    run_shell,
};

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("pw", b"words\n");
    sandbox.write("new", b"other words\n");
    sandbox.write("in", &bytes(1000));
    run_shell(&sandbox, "for n in 1 2 3; do envctl --passphrase-file pw encrypt in -o $n || exit; done", 0);
    sandbox
}

#[test]
fn standard_error_that_is_full_or_closed_does_not_stop_a_batch() {
    for stream in ["2>/dev/full", "2>&-"] {
        let sandbox = sandbox();
        let rewrap = "envctl --passphrase-file pw --new-passphrase-file new rewrap";
        run_shell(&sandbox, &format!("{rewrap} 1 2 3 {stream}"), 0);
        for name in ["1", "2", "3"] {
            let out = format!("{name}.out");
            run_shell(&sandbox, &format!("envctl --passphrase-file new decrypt {name} -o {out}"), 0);
            assert_eq!(sandbox.read(&out), sandbox.read("in"), "{stream}");
        }
    }
}

#[test]
fn a_failure_is_still_told_by_the_exit_code_where_standard_error_is_full() {
    let sandbox = sandbox();
    let rewrap = "envctl --passphrase-file pw --new-passphrase-file new rewrap 1 missing 3 2>/dev/full";
    run_shell(&sandbox, rewrap, 3);
    run_shell(&sandbox, "envctl --passphrase-file new decrypt 3 -o out", 0);
}

#[test]
fn data_for_a_standard_output_that_is_closed_is_refused() {
    let sandbox = sandbox();
    for command in ["encrypt in -o -", "decrypt 1 -o -", "encrypt < in", "encrypt -a in -o -"] {
        let ran = run_shell(&sandbox, &format!("envctl --passphrase-file pw {command} >&-"), 3);
        ran.says("cannot write to standard output: it is closed").says("-o /dev/null");
    }
    run_shell(&sandbox, "envctl --passphrase-file pw decrypt 1 -o - >/dev/null", 0);
    run_shell(&sandbox, "envctl --passphrase-file pw decrypt 1 -o /dev/null >&-", 0);
}

#[test]
fn records_of_an_audit_log_are_not_lost_with_standard_output() {
    let sandbox = sandbox();
    run_shell(&sandbox, "envctl --passphrase-file pw audit create -k passphrase: log", 0);
    for format in ["json", "csv"] {
        let export = format!("envctl audit export --format {format} log");
        run_shell(&sandbox, &format!("{export} >&-"), 3)
            .says("cannot write to standard output: it is closed");
        run_shell(&sandbox, &format!("{export} 1</dev/null"), 3).says("cannot write the output");
        run_shell(&sandbox, &format!("{export} >/dev/full"), 3)
            .says("cannot write the output: No space left");
        run_shell(&sandbox, &format!("{export} >/dev/null"), 0);
    }
    run_shell(&sandbox, "envctl audit list log >/dev/full", 3).says("cannot write the output: No space left");
}

/// Once nobody reads, the rest of a list is not wanted.
#[test]
fn a_list_of_records_whose_reader_is_gone_is_no_failure() {
    let sandbox = sandbox();
    run_shell(&sandbox, "envctl --passphrase-file pw audit create -k passphrase: log", 0);
    // The pipe has lost its reader before anything is written.
    let list = "mkfifo pipe; (: <pipe) & exec 3>pipe; wait; envctl audit list log >&3";
    assert_eq!(run_shell(&sandbox, list, 0).stderr, "");
}

#[test]
fn names_from_a_standard_input_that_is_closed_are_not_none() {
    let sandbox = sandbox();
    for command in ["keys usage -", "rotate --to passphrase: -"] {
        let ran = run_shell(&sandbox, &format!("envctl --passphrase-file pw {command} <&-"), 3);
        ran.says("cannot read standard input: it is closed");
    }
    run_shell(&sandbox, "envctl keys usage - </dev/null", 0);
}

#[test]
fn with_all_streams_closed_no_file_takes_their_place() {
    let sandbox = sandbox();
    run_shell(&sandbox, "envctl --passphrase-file pw encrypt in -o out >&- 2>&- <&-", 0);
    run_shell(&sandbox, "envctl --passphrase-file pw decrypt out -o back", 0);
    assert_eq!(sandbox.read("back"), sandbox.read("in"));
    run_shell(&sandbox, "envctl --passphrase-file pw encrypt missing -o none >&- 2>&- <&-", 3);
    assert!(!sandbox.file("none").exists());
}

#[test]
fn results_for_a_full_disk_are_an_error_of_output() {
    let sandbox = sandbox();
    for command in ["inspect 1", "inspect --json 1", "completions bash", "man"] {
        run_shell(&sandbox, &format!("envctl {command} >/dev/full"), 3).says("No space left");
    }
}

#[test]
fn results_for_a_full_disk_hide_no_worse_error() {
    let sandbox = sandbox();
    sandbox.write("cut", &sandbox.read("1")[..60]);
    run_shell(&sandbox, "envctl keys usage cut 1 >/dev/full", 4)
        .says("1 items could not be read")
        .says("No space left");
    sandbox.write("policy.toml", b"version = 1\n[[rule]]\nname = 'no'\neffect = 'deny'\n");
    let denied =
        "envctl --json policy test policy.toml --actor cli:x --op unwrap --key local:main >/dev/full";
    run_shell(&sandbox, denied, 5).says("denied by rule `no`").says("No space left");
}

/// What envctl opens itself has numbers too, and takes bytes that nobody ever sees.
#[test]
fn a_descriptor_that_was_not_given_is_refused_whatever_has_its_number_inside() {
    let sandbox = sandbox();
    let secrets = ["--passphrase-file pw", "", "--passphrase-fd 9 9<pw"];
    for (number, secret) in (3..9).flat_map(|number| secrets.map(|secret| (number, secret))) {
        // By the environment the secret is handed over in a descriptor of envctl's own.
        let envctl = if secret.is_empty() { "export ENVCTL_PASSPHRASE=words; envctl" } else { "envctl" };
        let nothing = "3>&- 4>&- 5>&- 6>&- 7>&- 8>&-";
        for (words, doing) in [
            (format!("encrypt in -o /dev/fd/{number}"), "write to"),
            (format!("encrypt /dev/fd/{number} -o out"), "read"),
        ] {
            run_shell(&sandbox, &format!("{envctl} {words} {secret} {nothing}"), 3)
                .says(&format!("cannot {doing} /dev/fd/{number}: no descriptor of this number was given"));
        }
    }
    assert!(!sandbox.file("out").exists());
    run_shell(&sandbox, "export ENVCTL_PASSPHRASE=words; envctl encrypt in -o /dev/fd/3 3>out", 0);
    run_shell(&sandbox, "envctl --passphrase-file pw decrypt out -o in.again", 0);
    assert_eq!(sandbox.read("in.again"), sandbox.read("in"));
}
