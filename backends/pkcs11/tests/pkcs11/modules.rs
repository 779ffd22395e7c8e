use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use cryptoki::context::Pkcs11;
use envelope_files::trust::TrustError;
use envelope_pkcs11::{ModuleError, SlotDescription, describe_slots};
use envelope_sdk::ProviderErrorKind::{AccessDenied, Invalid};

use super::{tokens::TOKEN_UNTOLD, *};

on_each_token!(
    slots_tokens_and_mechanisms_are_told_without_a_pin,
    a_token_that_does_not_tell_of_itself_hides_no_other_slot
);

fn refused_module(path: impl AsRef<Path>) -> ModuleError {
    let config = Pkcs11Config::new(path.as_ref(), TokenSelector::only());
    let error = Pkcs11Provider::open(config).unwrap_err();
    assert_eq!(describe_slots(path).unwrap_err().to_string(), error.to_string());
    error
}

#[test]
fn a_relative_path_is_refused_wherever_it_leads() {
    for path in ["libsofthsm2.so", "./libsofthsm2.so", ""] {
        let error = refused_module(path);
        assert!(
            matches!(&error, ModuleError::Relative { path: told } if told == Path::new(path)),
            "{error:?}"
        );
        let error = ProviderError::from(error);
        assert_eq!((error.kind(), error.key()), (Invalid, None));
    }
}

#[test]
fn a_path_without_a_module_says_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("module.so");
    let error = refused_module(&path);
    assert!(matches!(error, ModuleError::NotFound { .. }), "{error:?}");
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    assert!(matches!(refused_module(folder.path()), ModuleError::NotAFile { .. }));
    fs::write(&path, "not a library").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let error = refused_module(&path);
    assert!(matches!(error, ModuleError::NotALibrary { .. }), "{error:?}");
}

#[test]
fn a_shared_library_that_is_no_module_is_refused() {
    // The C library of this very process.
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let libc = maps.split_whitespace().find(|word| word.contains("/libc.so.6")).expect("a C library");
    let error = refused_module(libc);
    assert!(matches!(error, ModuleError::NotAModule { .. }), "{error:?}");
    assert!(error.to_string().contains("no PKCS#11 module"), "{error}");
}

#[test]
fn a_module_that_others_may_write_is_not_loaded() {
    let Some(module) = Kind::SoftHsm.module() else { return };
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("softhsm.so");
    fs::copy(module, &copy).unwrap();
    let set_mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    for mode in [0o757, 0o775] {
        set_mode(&copy, mode);
        let error = refused_module(&copy);
        assert!(
            matches!(&error, ModuleError::NotTrusted(TrustError::Writable { mode: told, .. }) if *told == mode),
            "{error:?}"
        );
    }
    set_mode(&copy, 0o755);
    set_mode(folder.path(), 0o775);
    let error = refused_module(&copy);
    assert!(
        matches!(&error, ModuleError::NotTrusted(TrustError::Writable { place, .. }) if place == folder.path()),
        "{error:?}"
    );
    assert_eq!(ProviderError::from(error).kind(), AccessDenied);
}

fn slots_tokens_and_mechanisms_are_told_without_a_pin(token: &Token) {
    let slots = describe_slots(token.module()).unwrap();
    let labelled = |label: &str| {
        let tokens = slots.iter().filter_map(|slot| slot.token.as_ref());
        tokens.filter(|token| token.label == label).cloned().collect::<Vec<_>>()
    };
    let told = labelled(&token.label);
    assert_eq!(told.len(), 1);
    let told = &told[0];
    assert_eq!(told.serial, token.serial());
    assert!(told.initialized && told.login_required && told.pin_set && !told.pin_locked, "{told:?}");
    assert_eq!(told.wrap_algorithms[0], "PKCS11-AES-256-GCM");
    let gcm = told.mechanisms.iter().find(|mechanism| mechanism.name == "CKM_AES_GCM").unwrap();
    assert!(gcm.uses.contains(&"encrypt") && gcm.uses.contains(&"decrypt"), "{gcm:?}");
    assert_eq!(gcm.uses.contains(&"message-encrypt"), token.kind == Kind::Kryoptic);
    assert!(slots.iter().any(|slot| slot.token.as_ref().is_some_and(|token| !token.initialized)));
    // What is told is what `cryptoki` reads.
    let context: &Pkcs11 = token.context();
    assert_eq!(slots.len(), context.get_all_slots().unwrap().len());
}

fn a_token_that_does_not_tell_of_itself_hides_no_other_slot(token: &Token) {
    let all = describe_slots(token.module()).unwrap();
    let labelled = |slot: &&SlotDescription| slot.token.as_ref().is_some_and(|of| of.label == token.label);
    let slot = all.iter().find(labelled).unwrap().slot;
    let folder = tempfile::tempdir().unwrap();
    let module = folder.path().join("module.so");
    tokens::in_front_of(&token.module(), TOKEN_UNTOLD, &[format!("-DSLOT={slot}")], &module);

    let told = describe_slots(&module).unwrap();
    let untold = told.iter().find(|told| told.slot == slot).unwrap();
    assert_eq!(untold.token, None);
    let why = untold.unreadable.as_deref().unwrap();
    assert!(why.contains("C_GetTokenInfo: CKR_GENERAL_ERROR"), "{why}");
    assert!(told.iter().any(|slot| slot.token.is_some()), "{told:?}");
}
