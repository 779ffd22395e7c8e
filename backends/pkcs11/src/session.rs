//! One session of a token: opened, logged in, and opened anew once when it was
//! lost.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use cryptoki::{
    context::Pkcs11,
    error::{Error, RvError},
    session::{Session, SessionState, UserType},
    slot::{Slot, TokenInfo},
};
use envelope_files::under_way;
use envelope_sdk::ProviderErrorKind;

use crate::{
    algorithm::Capabilities,
    config::Pkcs11Config,
    error::{Failure, Remedy},
    keys::{self, Kek, Which},
    module,
    names::KeyName,
    pin::{PinSource, PinTries},
    refused::RefusedPins,
    selector::TokenSelector,
    token,
    turn::Turn,
    weakness::{Accepted, AllAccepted},
};

/// What all sessions of a provider have in common.
pub(crate) struct Shared {
    pub(crate) module: Pkcs11,
    pub(crate) token: TokenSelector,
    pin: PinSource,
    /// A stored PIN that the token refused is not tried again, since each try may be the last.
    refused: RefusedPins,
    path: PathBuf,
    /// Whether the token was ever there: then it is gone now, not misspelt.
    seen: AtomicBool,
    /// Raised with each change of a key, so that no session goes on with what it
    /// knew before.
    epoch: AtomicU64,
    pub(crate) accepted: AllAccepted,
}

impl Shared {
    pub(crate) fn new(module: Pkcs11, config: Pkcs11Config) -> Self {
        let Pkcs11Config { module: path, token, pin, accepted, refused, .. } = config;
        let (seen, epoch) = Default::default();
        Self { module, token, pin, refused, path, seen, epoch, accepted }
    }

    /// How many PINs were refused by now.
    pub(crate) fn refusals(&self) -> u64 {
        self.refused.count()
    }

    pub(crate) fn keys_changed(&self) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
    }
}

/// What a thread of the pool has.
pub(crate) struct Worker {
    shared: Arc<Shared>,
    open: Option<Open>,
    /// How many PINs were refused when the call of this job began.
    refusals: u64,
}

/// What a session knows of keys. Forgotten after a minute, so that a rotation by
/// somebody else is noticed also where the token cannot deactivate old versions.
type KeyCache = HashMap<(KeyName, Which), (Kek, Instant)>;

/// An open session, logged in as far as the token wants it.
pub(crate) struct Open {
    pub(crate) session: Session,
    module: Pkcs11,
    pub(crate) slot: Slot,
    pub(crate) token: TokenInfo,
    pub(crate) can: Capabilities,
    keys: KeyCache,
    epoch: u64,
}

impl Worker {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, open: None, refusals: 0 }
    }

    /// Begins a call that was made when so many PINs had been refused.
    pub(crate) fn begin(&mut self, refusals: u64) {
        self.refusals = refusals;
    }

    /// Closes the session: an operation may be half done in it.
    pub(crate) fn forget(&mut self) {
        self.open = None;
    }

    /// Runs a job that changes nothing on the token, and once more when the
    /// session was lost or the key was another than remembered.
    pub(crate) fn read<T>(
        &mut self,
        mut job: impl FnMut(&mut Open) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let first = self.attempt(&mut job);
        match first.as_ref().map_err(|failure| failure.remedy) {
            Err(Remedy::Reopen) => self.open = None,
            Err(Remedy::LookAgain) => {
                if let Some(open) = &mut self.open {
                    open.keys = HashMap::default();
                }
            }
            _ => return first,
        }
        self.attempt(&mut job).map_err(Failure::of_the_second_attempt)
    }

    /// Runs a job that changes something, when no other program of this machine
    /// changes something, in a session of its own that may write, and never twice: whether a lost
    /// change took place is not known.
    pub(crate) fn change<T>(
        &self,
        called: Instant,
        job: impl FnOnce(&Open) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let _turn = under_way::aside(|| Turn::wait_for(&self.shared.path, called))?;
        let open = Open::new(&self.shared, 0, self.refusals, Access::Write)?;
        let outcome = job(&open);
        self.shared.keys_changed();
        outcome
    }

    fn attempt<T>(&mut self, job: &mut impl FnMut(&mut Open) -> Result<T, Failure>) -> Result<T, Failure> {
        let outcome = job(self.open()?);
        if outcome.as_ref().is_err_and(Failure::leaves_session_unclear) {
            // An operation may be half done in it.
            self.open = None;
        }
        outcome
    }

    fn open(&mut self) -> Result<&mut Open, Failure> {
        let epoch = self.shared.epoch.load(Ordering::SeqCst);
        let mut open = match self.open.take() {
            Some(open) => open,
            None => Open::new(&self.shared, epoch, self.refusals, Access::Read)?,
        };
        if open.epoch != epoch {
            (open.keys, open.epoch) = (HashMap::default(), epoch);
        }
        Ok(self.open.insert(open))
    }
}

impl Open {
    fn new(shared: &Shared, epoch: u64, refusals: u64, access: Access) -> Result<Self, Failure> {
        let found = match token::find(&shared.module, &shared.token) {
            Err(failure) if failure.remedy == Remedy::Reopen => {
                module::initialize(&shared.module)?;
                token::find(&shared.module, &shared.token)
            }
            found => found,
        };
        let (slot, token) = found.map_err(|failure| missing(shared, failure))?;
        let module = shared.module.clone();
        let session = match access {
            Access::Read => session_for_reading(&module, slot)?,
            Access::Write => module.open_rw_session(slot)?,
        };
        log_in(shared, &session, slot, &token, refusals)?;
        shared.seen.store(true, Ordering::SeqCst);
        let can = Capabilities::of(&shared.module, slot)?;
        Ok(Self { session, module, slot, token, can, keys: HashMap::default(), epoch })
    }

    /// Another session, which remembers nothing.
    pub(crate) fn fresh_session(&self) -> Result<Session, Failure> {
        Ok(session_for_reading(&self.module, self.slot)?)
    }

    /// Asks for a sign of life, and whether the login still holds.
    pub(crate) fn check_alive(&self) -> Result<(), Failure> {
        let state = self.session.get_session_info()?.session_state();
        if self.token.login_required() && !is_user(state) {
            let message = "the login has expired";
            return Err(Failure::new(ProviderErrorKind::AccessDenied, message).remedy(Remedy::Reopen));
        }
        Ok(())
    }

    /// A key as remembered, or as found now.
    pub(crate) fn kek(&mut self, name: &KeyName, which: Which, accepted: Accepted) -> Result<Kek, Failure> {
        let wanted = (name.clone(), which);
        if let Some((kek, _)) = self.keys.get(&wanted).filter(|(_, found)| found.elapsed() < REMEMBER) {
            return Ok(kek.clone());
        }
        // Without a login the token hides its keys, and says that there are none.
        self.check_alive()?;
        let kek = keys::find(&self.session, name, which, accepted)?;
        if self.keys.len() >= REMEMBER_AT_MOST {
            self.keys.clear();
        }
        self.keys.insert(wanted, (kek.clone(), Instant::now()));
        Ok(kek)
    }
}

/// What a session is for.
#[derive(Clone, Copy)]
enum Access {
    Read,
    Write,
}

/// Some modules have no read-only sessions; what they lack is told by the second error.
fn session_for_reading(module: &Pkcs11, slot: Slot) -> Result<Session, Error> {
    module.open_ro_session(slot).or_else(|_| module.open_rw_session(slot))
}

/// A token that was there and is not now may come back; one that never was is
/// misspelt.
fn missing(shared: &Shared, failure: Failure) -> Failure {
    if failure.kind == ProviderErrorKind::NotFound && shared.seen.load(Ordering::SeqCst) {
        return Failure::new(
            ProviderErrorKind::Unavailable,
            format!("the token was removed: {}", failure.message),
        );
    }
    failure
}

/// Logs in, unless the token needs no login or this process is logged in
/// already: a login is of the process, not of the session. `refusals` is how many PINs were
/// refused when the call was made.
fn log_in(
    shared: &Shared,
    session: &Session,
    slot: Slot,
    token: &TokenInfo,
    refusals: u64,
) -> Result<(), Failure> {
    if !token.login_required() {
        return Ok(());
    }
    // Held while somebody is asked.
    let mut refused = under_way::aside(|| shared.refused.lock());
    if is_user(session.get_session_info()?.session_state()) {
        return Ok(());
    }
    // As it is now: others may have tried since the token was found.
    let now = shared.module.get_token_info(slot)?;
    let here = (shared.path.clone(), slot, now.serial_number().to_owned());
    let pin = shared.pin.of_token(&|selector| token::is_the_one(&shared.module, selector, slot))?;
    if let Some(before) = refused.get(&here) {
        let denied = |message| Err(Failure::new(ProviderErrorKind::AccessDenied, message));
        if !pin.is_given_anew(now.protected_authentication_path()) {
            let said = &before.said;
            return denied(format!(
                "{said}. It was tried once and is not tried again, so that it is not locked"
            ));
        }
        // A crowd of calls that wait for one answer must not use up the tries.
        if before.number > refusals {
            return denied(format!(
                "{}. Another call asked for it: call again to be asked again",
                before.said
            ));
        }
    }
    if now.user_pin_locked() {
        return Err(Failure::new(ProviderErrorKind::AccessDenied, LOCKED));
    }
    let outcome = if pin.leaves_it_to_the_token(token.protected_authentication_path()) {
        session.login(UserType::User, None)
    } else if pin.is_none() {
        let message = "the token wants a PIN and none is configured: give one by a file, a descriptor, the \
                       environment or a prompt";
        return Err(Failure::new(ProviderErrorKind::AccessDenied, message));
    } else {
        let login = pin.with(tries(&now), |pin| session.login(UserType::User, Some(&pin.to_auth())));
        login.map_err(Failure::of_pin)?
    };
    let Err(error) = outcome else { return Ok(()) };
    let Error::Pkcs11(code, _) = error else { return Err(error.into()) };
    let said = match code {
        RvError::UserAlreadyLoggedIn => return Ok(()),
        RvError::PinLocked => LOCKED.into(),
        RvError::PinExpired => "the PIN has expired: set a new one with the token's own tool".into(),
        code if is_of_pin(code) => wrong_pin(shared, slot),
        RvError::UserPinNotInitialized => "the token has no user PIN yet: set one with its own tool".into(),
        RvError::UserAnotherAlreadyLoggedIn => {
            "somebody else is logged in, perhaps the security officer".into()
        }
        _ => return Err(Failure::from(error).while_doing("the login failed")),
    };
    let failure = Failure::new(ProviderErrorKind::AccessDenied, said.clone()).with_source(error);
    if is_of_pin(code) {
        refused.insert(here, shared.refused.next(said));
    }
    Err(failure)
}

/// Whether the PIN was at fault, so that trying it again may lock it.
fn is_of_pin(code: RvError) -> bool {
    use RvError::{PinExpired, PinIncorrect, PinInvalid, PinLenRange, PinLocked};
    matches!(code, PinIncorrect | PinInvalid | PinLenRange | PinExpired | PinLocked)
}

fn tries(token: &TokenInfo) -> PinTries {
    if token.user_pin_final_try() {
        PinTries::Last
    } else if token.user_pin_count_low() {
        PinTries::Few
    } else {
        PinTries::All
    }
}

/// The token may know how many tries are left.
fn wrong_pin(shared: &Shared, slot: Slot) -> String {
    let warning = match shared.module.get_token_info(slot) {
        Ok(token) if token.user_pin_locked() => ", and it is locked now",
        Ok(token) if token.user_pin_final_try() => ", and the next wrong one locks it",
        Ok(token) if token.user_pin_count_low() => ", and few tries are left",
        _ => "",
    };
    format!("the PIN is wrong{warning}")
}

fn is_user(state: SessionState) -> bool {
    matches!(state, SessionState::RoUser | SessionState::RwUser)
}

const LOCKED: &str = "the PIN is locked: the security officer must set a new one";
const REMEMBER: Duration = Duration::from_secs(60);
const REMEMBER_AT_MOST: usize = 1024;
