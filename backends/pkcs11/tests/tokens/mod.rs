//! Fresh tokens, as another program would make them: with `cryptoki`, not with what is tested.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    error::{Error, RvError},
    mechanism::Mechanism,
    object::{Attribute, ObjectHandle},
    session::{Session, UserType},
    slot::Slot,
    types::AuthPin,
};
use envelope_pkcs11::Pin;
use envelope_testkit::servers::address;

pub(crate) const PIN: &str = "correct-horse-4711";
pub(crate) const SO_PIN: &str = "security-officer-1";

/// Modules in front of another; see there.
pub(crate) const BUSY_ONCE: &str = include_str!("busy_once.c");
pub(crate) const LABEL_CHANGES: &str = include_str!("label_changes.c");
pub(crate) const SLOW_GENERATION: &str = include_str!("slow_generation.c");
pub(crate) const TOKEN_UNTOLD: &str = include_str!("token_untold.c");
pub(crate) const TROUBLE: &str = include_str!("trouble.c");

/// Builds such a module as `built`.
pub(crate) fn in_front_of(module: &Path, source: &str, defines: &[String], built: &Path) {
    let file = built.with_extension("c");
    fs::write(&file, source).unwrap();
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-o"]).args([built, &file]);
    compiler.arg(format!("-DMODULE={module:?}")).args(defines);
    assert!(compiler.status().unwrap().success());
}

/// Which software token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    SoftHsm,
    Kryoptic,
}

/// An initialised token with a user PIN and without objects.
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) label: String,
    module: PathBuf,
    context: Pkcs11,
}

pub(crate) fn pin(text: &str) -> Pin {
    Pin::new(text.into()).unwrap()
}

impl Kind {
    /// The path of its module, or `None` when it cannot be had, which is told.
    pub(crate) fn module(self) -> Option<PathBuf> {
        let name = match self {
            Self::SoftHsm => "SOFTHSM",
            Self::Kryoptic => "KRYOPTIC",
        };
        address(name).map(PathBuf::from)
    }

    /// A new token, or `None` when this kind cannot be had.
    pub(crate) fn token(self) -> Option<Token> {
        self.module().map(|_| self.labelled(&fresh_label()))
    }

    /// A new token with this label.
    pub(crate) fn labelled(self, label: &str) -> Token {
        self.of_module(self.module().unwrap(), label)
    }

    /// A new token of a module, which may be a copy: that has a state of its own.
    pub(crate) fn of_module(self, module: PathBuf, label: &str) -> Token {
        // A slot that is free is free for everybody.
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let context = started(&module);
        // SoftHSM tells nothing of a token that another process is writing, which is none of ours.
        let info = |slot: &Slot| context.get_token_info(*slot).ok();
        let free = |slot: &Slot| info(slot).is_some_and(|token| !token.token_initialized());
        let slot = context.get_slots_with_token().unwrap().into_iter().find(free).expect("a free slot");
        context.init_token(slot, &AuthPin::from(SO_PIN.to_owned()), label).unwrap();
        let slots = context.get_slots_with_token().unwrap();
        // SoftHSM gives the token another slot; two tokens may have one label.
        let new = |slot: &Slot| {
            info(slot).is_some_and(|token| token.label() == label && !token.user_pin_initialized())
        };
        let slot = slots.into_iter().find(new).expect("the new token");
        let session = context.open_rw_session(slot).unwrap();
        session.login(UserType::So, Some(&AuthPin::from(SO_PIN.to_owned()))).unwrap();
        session.init_pin(&AuthPin::from(PIN.to_owned())).unwrap();
        session.logout().unwrap();
        drop(session);
        Token { kind: self, label: label.into(), module, context }
    }
}

fn started(module: &Path) -> Pkcs11 {
    let context = Pkcs11::new(module).unwrap();
    match context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => context,
        Err(error) => panic!("{} does not start: {error}", module.display()),
    }
}

impl Token {
    pub(crate) fn module(&self) -> PathBuf {
        self.module.clone()
    }

    pub(crate) fn context(&self) -> &Pkcs11 {
        &self.context
    }

    pub(crate) fn slot(&self) -> Slot {
        let slots = self.context.get_slots_with_token().unwrap();
        let info = |slot: &Slot| self.context.get_token_info(*slot).ok();
        let labelled = |slot: &Slot| info(slot).is_some_and(|token| token.label() == self.label);
        slots.into_iter().find(labelled).expect("the token")
    }

    pub(crate) fn serial(&self) -> String {
        self.context.get_token_info(self.slot()).unwrap().serial_number().to_owned()
    }

    /// Makes another token of the same label and PIN in the place of this one.
    pub(crate) fn initialize_anew(&self) {
        let slot = self.slot();
        self.context.init_token(slot, &AuthPin::from(SO_PIN.to_owned()), &self.label).unwrap();
        let session = self.context.open_rw_session(self.slot()).unwrap();
        session.login(UserType::So, Some(&AuthPin::from(SO_PIN.to_owned()))).unwrap();
        session.init_pin(&AuthPin::from(PIN.to_owned())).unwrap();
        session.logout().unwrap();
    }

    /// Takes the token away: the module is shut down, and another token is made in its place.
    pub(crate) fn remove(self) {
        self.context.clone().finalize().unwrap();
        let again = Self { context: started(&self.module), ..self };
        again.context.init_token(again.slot(), &AuthPin::from(SO_PIN.to_owned()), "another").unwrap();
    }

    /// A session of another part of the program. The login is of the process.
    pub(crate) fn session(&self) -> Session {
        let session = self.context.open_rw_session(self.slot()).unwrap();
        match session.login(UserType::User, Some(&AuthPin::from(PIN.to_owned()))) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => session,
            Err(error) => panic!("no login: {error}"),
        }
    }

    /// Makes an AES key as an operator with another tool would: the attributes of
    /// `create_key`, but for those given.
    pub(crate) fn generate(&self, session: &Session, label: &str, but: &[Attribute]) -> ObjectHandle {
        let usual = [
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Encrypt(true),
            Attribute::Decrypt(true),
            Attribute::Wrap(false),
            Attribute::Unwrap(false),
            Attribute::ValueLen(32.into()),
            Attribute::Label(label.into()),
            Attribute::Id(label.into()),
        ];
        let other = |usual: &&Attribute| but.iter().all(|but| but.attribute_type() != usual.attribute_type());
        let template: Vec<_> = usual.iter().filter(other).chain(but).cloned().collect();
        session.generate_key(&Mechanism::AesKeyGen, &template).unwrap()
    }
}

pub(crate) fn fresh_label() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::SeqCst);
    format!("test {} {number}", std::process::id())
}
