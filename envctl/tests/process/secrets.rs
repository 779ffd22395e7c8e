//! A secret is one line, and what follows it belongs to somebody else.

use super::{
    common::{PASSPHRASE, Sandbox, bytes},
    run_shell,
};

/// Longer than any buffer that might swallow it.
fn data(sandbox: &Sandbox) -> Vec<u8> {
    let data = bytes(300_000);
    sandbox.write("in", &data);
    data
}

#[test]
fn what_follows_the_passphrase_on_standard_input_is_the_data() {
    for option in ["--passphrase-fd 0", "--passphrase-file /dev/stdin", "--passphrase-file /dev/fd/0"] {
        let sandbox = Sandbox::new();
        let data = data(&sandbox);
        run_shell(&sandbox, &format!("(echo pw; cat in) | envctl {option} encrypt -o sealed"), 0);
        run_shell(&sandbox, &format!("(echo pw; cat sealed) | envctl {option} decrypt -o out"), 0);
        assert!(sandbox.read("out") == data, "{option}");
        run_shell(&sandbox, "envctl --passphrase-fd 3 decrypt sealed -o again 3< <(echo pw)", 0);
        assert!(sandbox.read("again") == data, "{option}");
    }
}

#[test]
fn the_first_line_of_a_file_on_standard_input_is_the_passphrase_and_the_rest_the_data() {
    let sandbox = Sandbox::new();
    let data = data(&sandbox);
    run_shell(&sandbox, "(echo pw; cat in) > both", 0);
    run_shell(&sandbox, "envctl --passphrase-fd 0 encrypt -o sealed < both", 0);
    run_shell(&sandbox, "envctl --passphrase-fd 3 decrypt sealed -o out 3<<< pw", 0);
    assert!(sandbox.read("out") == data);
}

#[test]
fn a_descriptor_is_read_on_from_where_it_stands_by_each_process() {
    let sandbox = Sandbox::new();
    sandbox.write("in", b"x");
    sandbox.write("lines", b"not this\nfirst\nsecond\n");
    run_shell(
        &sandbox,
        "exec 3<lines; read -r -u 3; for n in 1 2; do envctl --passphrase-fd 3 encrypt in -o $n || exit; done",
        0,
    );
    run_shell(&sandbox, "envctl --passphrase-fd 3 decrypt 1 -o one 3<<< first", 0);
    run_shell(&sandbox, "envctl --passphrase-fd 3 decrypt 2 -o two 3<<< second", 0);
}

#[test]
fn two_secrets_of_one_descriptor_are_two_lines_of_it() {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["main"]);
    sandbox.write("lines", format!("{PASSPHRASE}\nanother\n").as_bytes());
    for (nth, script) in [
        "--passphrase-fd 3 --new-passphrase-file /dev/fd/3 3<lines",
        "--passphrase-file /proc/self/fd/3 --new-passphrase-file /dev/fd/3 3< <(printf 'another\\nthird\\n')",
    ]
    .into_iter()
    .enumerate()
    {
        run_shell(&sandbox, &format!("envctl keystore passwd {script}"), 0);
        let now = ["another", "third"][nth];
        run_shell(&sandbox, &format!("envctl --passphrase-fd 0 keys list <<< {now}"), 0);
    }
}

#[test]
fn named_pipes_and_process_substitutions_give_a_secret() {
    let sandbox = Sandbox::new();
    sandbox.write("in", b"x");
    run_shell(
        &sandbox,
        "mkfifo pipe; echo pw > pipe & envctl --passphrase-file pipe encrypt in -o sealed && rm pipe",
        0,
    );
    run_shell(&sandbox, "envctl --passphrase-file <(echo pw) decrypt sealed -o out", 0);
    assert_eq!(sandbox.read("out"), b"x");
    run_shell(&sandbox, "envctl --passphrase-file <(echo pw) decrypt <(cat sealed) -o again", 0);
    assert_eq!(sandbox.read("again"), b"x");
}

#[test]
fn a_descriptor_that_is_not_open_is_told_by_its_number() {
    let sandbox = Sandbox::new();
    let ran = run_shell(&sandbox, "envctl --passphrase-fd 77 encrypt -o sealed", 3);
    ran.says("cannot read descriptor 77: no descriptor of this number was given")
        .says("--passphrase-fd 3 3<");
    let ran = run_shell(&sandbox, "envctl --passphrase-fd 3 encrypt -o sealed 3</dev/zero", 3);
    ran.says("the line is longer than 64 KiB");
}

#[test]
fn an_empty_variable_is_no_secret() {
    let sandbox = Sandbox::new();
    data(&sandbox);
    // There is no terminal, so that it says what it would ask for.
    let script = "export ENVCTL_PASSPHRASE=; setsid --wait \"$ENVCTL\" encrypt in -o sealed";
    run_shell(&sandbox, script, 2).says("a passphrase is needed, and there is no terminal to ask for it");
    let script = "export ENVCTL_PASSPHRASE=pw ENVCTL_KEYSTORE_PASSPHRASE=; envctl keystore init";
    run_shell(&sandbox, script, 0);
    run_shell(&sandbox, "export ENVCTL_KEYSTORE_PASSPHRASE=pw; envctl keys create main", 0);
}
