//! Files that others may have written choose nothing, and secrets that others may
//! have read are not used.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    path::Path,
};

use super::{
    STRANGER,
    common::{Ran, Sandbox},
    is_root, run_shell,
};

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_configuration_that_others_may_write_is_refused_with_the_command_that_mends_it() {
    let sandbox = Sandbox::new();
    sandbox.configure("keys = [\"passphrase:\"]");
    sandbox.write("in", b"x");
    let config = sandbox.file("../home/.config/envctl/config.toml").canonicalize().unwrap();
    let folder = config.parent().unwrap();
    for (place, mode) in [(&*config, 0o664), (&*config, 0o646), (folder, 0o777), (folder, 0o775)] {
        let before = fs::metadata(place).unwrap().permissions();
        set_mode(place, mode);
        let ran = sandbox.run(&["encrypt", "in"], 3);
        ran.says("is not trusted").says(&format!("`chmod go-w {}`", place.display()));
        assert_eq!(sandbox.files(), ["in"]);
        fs::set_permissions(place, before).unwrap();
    }
    sandbox.run(&["encrypt", "in"], 0);
}

#[test]
fn a_configuration_or_passphrase_of_another_user_is_refused() {
    if !is_root("a_configuration_or_passphrase_of_another_user_is_refused") {
        return;
    }
    let sandbox = Sandbox::new();
    let theirs = sandbox.write("theirs", b"");
    chown(&theirs, Some(STRANGER), None).unwrap();
    let ran = sandbox.run(&["--config", "theirs", "encrypt", "-o", "out"], 3);
    ran.says(&format!("theirs belongs to user {STRANGER}")).says("`chown 0 ");
    let ran = sandbox.run(&["--passphrase-file", "theirs", "encrypt", "-o", "out"], 3);
    ran.says("who could change it");
}

#[test]
fn a_configuration_is_a_regular_file_of_at_most_1_mib() {
    let sandbox = Sandbox::new();
    let refused = |name: &str| sandbox.run(&["--config", name, "encrypt", "-o", "out"], 3);
    for device in ["/dev/zero", "/dev/tty", "/"] {
        refused(device).says(&format!("{device} is not a regular file"));
    }
    run_shell(&sandbox, "mkfifo pipe", 0);
    refused("pipe").says("pipe is not a regular file");
    let comment = |len: usize| format!("#{}", "x".repeat(len - 1));
    sandbox.write("large", comment((1 << 20) + 1).as_bytes());
    refused("large").says("longer than 1048576 bytes");
    sandbox.write("largest", comment(1 << 20).as_bytes());
    sandbox.run(&["--config", "largest", "encrypt", "-o", "out"], 0);
    refused("missing").says("cannot read missing: No such file");
}

#[test]
fn a_passphrase_file_that_others_may_read_is_refused() {
    let sandbox = Sandbox::new();
    let path = sandbox.write("pw", b"secret words\n");
    for option in ["--passphrase-file", "--keystore-passphrase-file", "--new-passphrase-file"] {
        for mode in [0o640, 0o604] {
            set_mode(&path, mode);
            let ran = sandbox.run(&[option, "pw", "encrypt", "-o", "out"], 3);
            ran.says(&format!("group or others may read pw, which holds a secret (mode {mode:04o})"));
            ran.says("`chmod 600 pw`");
            assert!(!ran.stderr.contains("words"));
        }
        set_mode(&path, 0o400);
        sandbox.run(&[option, "pw", "encrypt", "-f", "-o", "out"], 0);
    }
}

#[test]
fn a_passphrase_of_the_administrator_is_read_where_the_administrator_lets_one() {
    if !is_root("a_passphrase_of_the_administrator_is_read_where_the_administrator_lets_one") {
        return;
    }
    use std::os::unix::process::CommandExt;
    let sandbox = Sandbox::new();
    super::give_away(&sandbox);
    let path = sandbox.write("pw", b"secret words\n");
    set_mode(&path, 0o644);
    let mut command = sandbox.envctl(&["--passphrase-file", "pw", "encrypt", "-o", "out"]);
    Ran::of(command.uid(STRANGER).gid(STRANGER).output().unwrap(), 0);
}
