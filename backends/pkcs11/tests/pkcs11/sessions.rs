use std::{
    env, fs,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Instant,
};

use cryptoki::types::AuthPin;
use envelope_sdk::ProviderErrorKind::Unavailable;

use super::*;

on_each_token!(
    an_expired_login_is_renewed,
    a_token_that_is_busy_for_a_moment_is_asked_again,
    a_module_that_was_shut_down_is_started_again,
    a_token_that_was_removed_is_unavailable_and_used_again_when_it_is_back,
    sixty_four_threads_of_a_thousand_wraps_leave_no_session,
    dropped_calls_leave_no_session,
);

/// That every session is closed: a token with an open one cannot be initialised.
fn assert_no_session_is_left(token: &Token) {
    let count = token.context().get_token_info(token.slot()).unwrap().session_count();
    // SoftHSM does not count.
    assert!(count.is_none_or(|count| count == 0), "{count:?} sessions are left");
    token
        .context()
        .init_token(token.slot(), &AuthPin::from(tokens::SO_PIN.to_owned()), &token.label)
        .unwrap();
}

fn an_expired_login_is_renewed(token: &Token) {
    let (provider, key) = with_key(token);
    let dek = dek();
    let wrapped = wrap(&provider, &key, &dek).unwrap();
    for _ in 0..3 {
        // Another part of the process logs everybody out.
        token.session().logout().unwrap();
        assert_eq!(unwrap(&provider, &wrapped).unwrap().expose(), dek.expose());
        token.session().logout().unwrap();
        wrap(&provider, &key, &dek).unwrap();
        token.session().logout().unwrap();
        block_on(provider.rotate_key(&key)).unwrap();
        // Without a login the keys are hidden, not absent.
        token.session().logout().unwrap();
        assert_eq!(list(&provider).len(), 1);
        token.session().logout().unwrap();
        block_on(provider.describe_key(&key)).unwrap();
    }
}

/// A software token says so while another process writes it.
fn a_token_that_is_busy_for_a_moment_is_asked_again(token: &Token) {
    let (_, key) = with_key(token);
    let [find_objects_init, encrypt_init] = [26, 29];
    for function in [find_objects_init, encrypt_init] {
        let folder = tempfile::tempdir().unwrap();
        let module = folder.path().join("module.so");
        tokens::in_front_of(&token.module(), tokens::BUSY_ONCE, &[format!("-DBUSY={function}")], &module);
        let pin = PinSource::pin(pin(PIN));
        let config = Pkcs11Config::new(module, TokenSelector::label(&token.label)).pin(pin);
        wrap(&Pkcs11Provider::open(config).unwrap(), &key, &dek()).unwrap();
    }
}

/// The rest of the test's process goes on with the module, so that a child does this.
pub(super) fn in_a_child(module: &str, test: &str, token: &Token, job: impl FnOnce(&Token)) {
    if env::var("ENVELOPE_PKCS11_CHILD").as_deref() == Ok(test) {
        return job(token);
    }
    let kind = match token.kind {
        Kind::SoftHsm => "softhsm",
        Kind::Kryoptic => "kryoptic",
    };
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    fs::create_dir(at("softhsm")).unwrap();
    fs::write(at("softhsm.conf"), format!("directories.tokendir = {}\nlog.level = ERROR\n", at("softhsm")))
        .unwrap();
    let slot = |slot: u8| {
        let file = at(&format!("{slot}.sql"));
        format!("[[slots]]\nslot = {slot}\ndbtype = \"sqlite\"\ndbargs = \"{file}\"\n")
    };
    fs::write(at("kryoptic.conf"), (0..4).map(slot).collect::<String>()).unwrap();
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", &format!("{module}::{kind}::{test}"), "--nocapture"])
        .env("ENVELOPE_PKCS11_CHILD", test)
        .env("SOFTHSM2_CONF", at("softhsm.conf"))
        .env("KRYOPTIC_CONF", at("kryoptic.conf"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("1 passed"), "{said}");
}

fn a_module_that_was_shut_down_is_started_again(token: &Token) {
    in_a_child("sessions", "a_module_that_was_shut_down_is_started_again", token, |token| {
        let (provider, key) = with_key(token);
        let dek = dek();
        let wrapped = wrap(&provider, &key, &dek).unwrap();
        for _ in 0..3 {
            token.context().clone().finalize().unwrap();
            assert_eq!(unwrap(&provider, &wrapped).unwrap().expose(), dek.expose());
            token.context().clone().finalize().unwrap();
            wrap(&provider, &key, &dek).unwrap();
            token.context().clone().finalize().unwrap();
            block_on(provider.rotate_key(&key)).unwrap();
        }
    });
}

/// The tokens' files are their hardware. What a module has read it may keep until it is shut down.
fn a_token_that_was_removed_is_unavailable_and_used_again_when_it_is_back(token: &Token) {
    let test = "a_token_that_was_removed_is_unavailable_and_used_again_when_it_is_back";
    in_a_child("sessions", test, token, |token| {
        let (provider, key) = with_key(token);
        let dek = dek();
        let wrapped = wrap(&provider, &key, &dek).unwrap();
        let conf = env::var(match token.kind {
            Kind::SoftHsm => "SOFTHSM2_CONF",
            Kind::Kryoptic => "KRYOPTIC_CONF",
        })
        .unwrap();
        let kept = fs::read_to_string(&conf).unwrap();
        for _ in 0..2 {
            let elsewhere = kept.replace("softhsm\n", "none\n").replace(".sql", ".other");
            fs::create_dir_all(std::path::Path::new(&conf).with_file_name("none")).unwrap();
            fs::write(&conf, elsewhere).unwrap();
            token.context().clone().finalize().unwrap();
            let error = refused(unwrap(&provider, &wrapped), Unavailable, "the token was removed");
            assert!(error.is_retryable(), "{error}");
            refused(wrap(&provider, &key, &dek), Unavailable, "the token was removed");
            fs::write(&conf, &kept).unwrap();
            token.context().clone().finalize().unwrap();
            assert_eq!(unwrap(&provider, &wrapped).unwrap().expose(), dek.expose());
        }
    });
}

fn sixty_four_threads_of_a_thousand_wraps_leave_no_session(token: &Token) {
    let provider = Pkcs11Provider::open(config(token).sessions(8)).unwrap();
    let key = create(&provider, "db").uri;
    let (begun, wraps) = (Instant::now(), AtomicU32::new(0));
    thread::scope(|scope| {
        for thread in 0..64 {
            let (provider, key, wraps) = (&provider, &key, &wraps);
            scope.spawn(move || {
                let context = context(&thread.to_string());
                for round in 0..1000 {
                    let dek = dek();
                    let wrapped = block_on(provider.wrap_dek(key, &dek, &context)).unwrap();
                    wraps.fetch_add(1, Ordering::SeqCst);
                    if round % 100 == 0 {
                        let opened = block_on(provider.unwrap_dek(&wrapped, &context)).unwrap();
                        assert_eq!(opened.expose(), dek.expose());
                    }
                }
            });
        }
    });
    assert_eq!(wraps.load(Ordering::SeqCst), 64_000);
    println!("{:?}: 64 threads of 1000 wraps took {:?}", token.kind, begun.elapsed());
    if let Some(count) = token.context().get_token_info(token.slot()).unwrap().session_count() {
        assert!(count <= 8, "{count} sessions are open");
    }
    drop(provider);
    assert_no_session_is_left(token);
}

fn dropped_calls_leave_no_session(token: &Token) {
    let (provider, key) = with_key(token);
    for _ in 0..200 {
        let dek = dek();
        let context = context("42");
        let mut wrapping = provider.wrap_dek(&key, &dek, &context);
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        // Begun, and never asked for again.
        let _ = wrapping.as_mut().poll(&mut cx);
    }
    wrap(&provider, &key, &dek()).unwrap();
    drop(provider);
    assert_no_session_is_left(token);
}
