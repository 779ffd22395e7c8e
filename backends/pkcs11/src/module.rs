//! Loading a PKCS#11 module: code from a file, so the path is checked first.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{LazyLock, Mutex, PoisonError},
};

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    error::{Error, RvError},
};

use envelope_files::trust::{self, Purpose, TrustError};

use crate::error::ModuleError;

/// Every module that this process has loaded. None is ever unloaded or
/// finalised: a module has one state for the whole process, and other parts of
/// the program may be using it.
static MODULES: LazyLock<Mutex<HashMap<PathBuf, Pkcs11>>> = LazyLock::new(Mutex::default);

/// Loads and initialises the module at an absolute path.
pub(crate) fn load(path: &Path) -> Result<Pkcs11, ModuleError> {
    check(path)?;
    let mut modules = MODULES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(module) = modules.get(path) {
        return Ok(module.clone());
    }
    let module = Pkcs11::new(path).map_err(|error| {
        let (path, error) = (path.into(), Box::new(error));
        match *error {
            Error::LibraryLoading(_) => ModuleError::NotALibrary { path, error },
            _ => ModuleError::NotAModule { path, error },
        }
    })?;
    initialize(&module)
        .map_err(|error| ModuleError::Initialize { path: path.into(), error: Box::new(error) })?;
    modules.insert(path.into(), module.clone());
    Ok(module)
}

/// Initialises the module, or finds that somebody in this process did.
pub(crate) fn initialize(module: &Pkcs11) -> Result<(), Error> {
    match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// A link is followed, as distributions install them; what counts is that nobody but
/// the user and root can change what will run.
fn check(path: &Path) -> Result<(), ModuleError> {
    let path = path.to_path_buf();
    if !path.is_absolute() {
        return Err(ModuleError::Relative { path });
    }
    match trust::open(&path, Purpose::Code) {
        Ok(_) => Ok(()),
        Err(error) if error.is_not_found() => Err(ModuleError::NotFound { path }),
        Err(TrustError::NotAFile { .. }) => Err(ModuleError::NotAFile { path }),
        Err(TrustError::Open { source, .. }) => Err(ModuleError::Read { path, source }),
        Err(error) => Err(ModuleError::NotTrusted(error)),
    }
}
