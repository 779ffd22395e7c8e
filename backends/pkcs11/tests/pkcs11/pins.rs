use std::{
    fs,
    io::Cursor,
    os::unix::fs::PermissionsExt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use cryptoki::{session::UserType, types::AuthPin};
use envelope_pkcs11::{Pin, PinError, PinTries, RefusedPins};
use envelope_sdk::ProviderErrorKind::AccessDenied;

use super::*;

on_each_token!(
    a_wrong_stored_pin_is_tried_once_by_all_sessions_together,
    a_person_who_mistypes_the_pin_is_asked_again_by_the_next_call,
    a_crowd_of_calls_asks_a_person_once,
    whoever_is_asked_may_panic_and_the_token_is_used_again,
    a_pin_that_one_token_refused_is_tried_on_another_one_in_its_slot,
    a_wrong_pin_is_tried_once_on_a_token_that_is_named_in_two_ways,
    a_stored_pin_is_not_tried_when_few_tries_are_left,
    a_pin_is_shown_to_the_token_that_it_is_for_and_to_no_other,
    a_missing_pin_says_where_one_may_come_from,
    a_pin_comes_from_a_file_a_descriptor_or_a_prompt,
    a_pin_that_nobody_gives_says_why,
    a_locked_pin_is_told_as_locked,
    no_pin_is_in_an_error,
);

fn with_pin(token: &Token, pin: PinSource) -> Pkcs11Provider {
    Pkcs11Provider::open(config(token).pin(pin)).unwrap()
}

/// Any use of the token that needs a login.
fn log_in(provider: &Pkcs11Provider) -> Result<(), ProviderError> {
    block_on(provider.list_keys(None)).map(drop)
}

fn counted(text: &'static str) -> (PinSource, Arc<AtomicU32>) {
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    let source = PinSource::ask(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        Pin::new(text.into())
    });
    (source, asked)
}

fn a_wrong_stored_pin_is_tried_once_by_all_sessions_together(token: &Token) {
    let provider = with_pin(token, PinSource::pin(pin("wrong-pin-0815")));
    refused(log_in(&provider), AccessDenied, "the PIN is wrong");
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| refused(log_in(&provider), AccessDenied, "is not tried again"));
        }
    });
    let (right, _) = counted(PIN);
    log_in(&with_pin(token, right)).unwrap();
}

fn a_person_who_mistypes_the_pin_is_asked_again_by_the_next_call(token: &Token) {
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    let person = PinSource::ask(move |_| {
        let first = count.fetch_add(1, Ordering::SeqCst) == 0;
        Pin::new(if first { "wrong-pin-0815" } else { PIN }.into())
    });
    let provider = with_pin(token, person);
    refused(log_in(&provider), AccessDenied, "the PIN is wrong");
    log_in(&provider).unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

/// Or they would use up its tries.
fn a_crowd_of_calls_asks_a_person_once(token: &Token) {
    let (all_called, called) = std::sync::mpsc::channel::<()>();
    let called = Mutex::new(called);
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    let person = PinSource::ask(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        let _ = called.lock().unwrap().recv();
        Pin::new("wrong-pin-0815".into())
    });
    let provider = with_pin(token, person);
    let mut calls: Vec<_> = (0..16).map(|_| provider.list_keys(None)).collect();
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    for call in &mut calls {
        assert!(call.as_mut().poll(&mut cx).is_pending());
    }
    drop(all_called);
    for call in calls {
        refused(block_on(call), AccessDenied, "the PIN is wrong");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    // The one call of now.
    refused(log_in(&provider), AccessDenied, "the PIN is wrong");
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

/// Each would end a thread of the pool, and after as many there would be none.
fn whoever_is_asked_may_panic_and_the_token_is_used_again(token: &Token) {
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    let person = PinSource::ask(move |_| {
        assert!(count.fetch_add(1, Ordering::SeqCst) >= 5, "the terminal is on fire");
        Pin::new(PIN.into())
    });
    let provider = Pkcs11Provider::open(config(token).pin(person).sessions(2)).unwrap();
    for _ in 0..5 {
        refused(log_in(&provider), ProviderErrorKind::Other, "what was called panicked");
    }
    let key = create(&provider, "db").uri;
    wrap(&provider, &key, &dek()).unwrap();
}

/// A token that is initialised anew may stay in its slot, and has another serial number.
fn a_pin_that_one_token_refused_is_tried_on_another_one_in_its_slot(token: &Token) {
    sessions::in_a_child(
        "pins",
        "a_pin_that_one_token_refused_is_tried_on_another_one_in_its_slot",
        token,
        |token| {
            let refused_pins = RefusedPins::default();
            let open = |text| {
                let config = config(token).pin(PinSource::pin(pin(text))).refused_pins(&refused_pins);
                Pkcs11Provider::open(config).unwrap()
            };
            let slot = token.slot();
            refused(log_in(&open("wrong-pin-0815")), AccessDenied, "the PIN is wrong");
            refused(log_in(&open(PIN)), AccessDenied, "is not tried again");
            let serial = token.serial();
            token.initialize_anew();
            if token.slot() == slot && token.serial() != serial {
                log_in(&open(PIN)).unwrap();
            } else {
                println!("{:?}: the same serial number, or another slot", token.kind);
            }
        },
    );
}

fn a_wrong_pin_is_tried_once_on_a_token_that_is_named_in_two_ways(token: &Token) {
    let refused_pins = RefusedPins::default();
    let open = |selector| {
        let config = Pkcs11Config::new(token.module(), selector).pin(PinSource::pin(pin("wrong-pin-0815")));
        Pkcs11Provider::open(config.refused_pins(&refused_pins)).unwrap()
    };
    let by_label = open(TokenSelector::label(&token.label));
    let by_serial = open(TokenSelector::serial(token.serial()));
    refused(log_in(&by_label), AccessDenied, "the PIN is wrong");
    refused(log_in(&by_serial), AccessDenied, "is not tried again");
    // Of another token it says nothing.
    let other = token.kind.labelled(&tokens::fresh_label());
    let other = config(&other).refused_pins(&refused_pins);
    log_in(&Pkcs11Provider::open(other).unwrap()).unwrap();
}

/// Each stored PIN may be the wrong one that used up the other tries.
fn a_stored_pin_is_not_tried_when_few_tries_are_left(token: &Token) {
    let info = || token.context().get_token_info(token.slot()).unwrap();
    assert!(!info().user_pin_count_low() && !info().user_pin_final_try());
    let session = token.context().open_ro_session(token.slot()).unwrap();
    let wrong = AuthPin::from("wrong-pin-0815".to_owned());
    let mut wrongs = 0;
    while !info().user_pin_count_low() && !info().user_pin_final_try() {
        session.login(UserType::User, Some(&wrong)).unwrap_err();
        wrongs += 1;
        assert!(wrongs < 20, "{:?} never says that few tries are left", token.kind);
    }
    drop(session);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pin");
    fs::write(&path, format!("{PIN}\n")).unwrap();
    let only = TokenSelector::label(&token.label);
    for stored in [
        PinSource::pin(pin(PIN)),
        PinSource::file(&path),
        PinSource::reader(Cursor::new(PIN)),
        PinSource::by_token([(only, PinSource::pin(pin(PIN)))], PinSource::none()),
    ] {
        let said = format!("{stored:?}");
        refused(log_in(&with_pin(token, stored)), AccessDenied, "so a stored PIN is not tried: log in once");
        assert!(info().user_pin_count_low() || info().user_pin_final_try(), "{said}");
    }
    let told = Arc::new(Mutex::new(None));
    let telling = Arc::clone(&told);
    let person = PinSource::ask(move |tries| {
        *telling.lock().unwrap() = Some(tries);
        Pin::new(PIN.into())
    });
    log_in(&with_pin(token, person)).unwrap();
    let expected = if wrongs == 1 { PinTries::Few } else { PinTries::Last };
    assert!(matches!(*told.lock().unwrap(), Some(tries) if tries == expected || tries == PinTries::Few));
    log_in(&open(token)).unwrap();
}

fn a_pin_is_shown_to_the_token_that_it_is_for_and_to_no_other(token: &Token) {
    let other = token.kind.labelled(&tokens::fresh_label());
    let (its_own, asked) = counted(PIN);
    let for_the_other =
        PinSource::by_token([(TokenSelector::label(&other.label), its_own)], PinSource::none());
    refused(log_in(&with_pin(token, for_the_other)), AccessDenied, "none is configured");
    assert_eq!(asked.load(Ordering::SeqCst), 0);
    let (one, asked_one) = counted(PIN);
    let (two, asked_two) = counted("wrong-pin-0815");
    let pins = [(TokenSelector::serial(token.serial()), one), (TokenSelector::label(&other.label), two)];
    log_in(&with_pin(token, PinSource::by_token(pins, PinSource::none()))).unwrap();
    assert_eq!((asked_one.load(Ordering::SeqCst), asked_two.load(Ordering::SeqCst)), (1, 0));
    // A selector that several tokens fit names none.
    let (anybody, asked) = counted(PIN);
    let pins = PinSource::by_token([(TokenSelector::only(), anybody)], PinSource::none());
    refused(log_in(&with_pin(token, pins)), AccessDenied, "several tokens have that, so none gets it");
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}

fn a_missing_pin_says_where_one_may_come_from(token: &Token) {
    let provider = with_pin(token, PinSource::none());
    refused(log_in(&provider), AccessDenied, "none is configured: give one by a file");
}

fn a_pin_comes_from_a_file_a_descriptor_or_a_prompt(token: &Token) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pin");
    fs::write(&path, format!("{PIN}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let (prompt, asked) = counted(PIN);
    let sources = [
        PinSource::file(&path),
        PinSource::reader(Cursor::new(format!("{PIN}\n"))),
        prompt,
        PinSource::pin(pin(PIN)),
    ];
    for source in sources {
        let name = format!("{source:?}");
        let provider = with_pin(token, source);
        log_in(&provider).unwrap_or_else(|error| panic!("{name}: {error}"));
        // The first session logs the process in; further ones do not ask.
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| log_in(&provider).unwrap());
            }
        });
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

fn a_pin_that_nobody_gives_says_why(token: &Token) {
    let missing = "/nowhere/pin";
    let sources = [
        (PinSource::file(missing), missing),
        (PinSource::environment("ENVELOPE_NO_SUCH_PIN"), "ENVELOPE_NO_SUCH_PIN"),
        (
            PinSource::ask(|_| Err(PinError::NotGiven("the terminal was closed".into()))),
            "the terminal was closed",
        ),
        (PinSource::reader(Cursor::new("\n")), "the PIN is empty"),
    ];
    for (source, says) in sources {
        let error = refused(log_in(&with_pin(token, source)), AccessDenied, "no PIN to log in with");
        let cause = std::error::Error::source(&error).expect("a cause").to_string();
        assert!(cause.contains(says), "{says:?} is not in {cause:?}");
    }
}

/// kryoptic locks after some wrong PINs; SoftHSM never does.
fn a_locked_pin_is_told_as_locked(token: &Token) {
    let session = token.context().open_ro_session(token.slot()).unwrap();
    let wrong = AuthPin::from("wrong-pin-0815".to_owned());
    for _ in 0..20 {
        session.login(UserType::User, Some(&wrong)).unwrap_err();
    }
    drop(session);
    match token.kind {
        Kind::SoftHsm => log_in(&with_pin(token, counted(PIN).0)).unwrap(),
        Kind::Kryoptic => {
            refused(log_in(&open(token)), AccessDenied, "the PIN is locked");
        }
    }
}

fn no_pin_is_in_an_error(token: &Token) {
    let provider = with_pin(token, PinSource::pin(pin("wrong-pin-0815")));
    let error = log_in(&provider).unwrap_err();
    assert!(error.message().contains("(C_Login: CKR_PIN_INCORRECT)"), "{error}");
    let text = format!("{error} {error:?} {error:#?} {provider:?}");
    assert!(!text.contains("0815"), "{text}");
}
