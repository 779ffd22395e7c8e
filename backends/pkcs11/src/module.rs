//! Loading a PKCS#11 module: code from a file, so the path is checked first.

use std::{
    collections::HashMap,
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{LazyLock, Mutex, PoisonError},
};

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    error::{Error, RvError},
};

use crate::ModuleError;

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

/// A link is followed, as distributions install them; what counts is that only
/// its owner or group can change what will run.
fn check(path: &Path) -> Result<(), ModuleError> {
    let path = path.to_path_buf();
    if !path.is_absolute() {
        return Err(ModuleError::Relative { path });
    }
    let metadata = match fs::metadata(&path) {
        Ok(metadata) => metadata,
        Err(source) if source.kind() == io::ErrorKind::NotFound => {
            return Err(ModuleError::NotFound { path });
        }
        Err(source) => return Err(ModuleError::Read { path, source }),
    };
    if !metadata.is_file() {
        return Err(ModuleError::NotAFile { path });
    }
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o002 != 0 {
        return Err(ModuleError::WritableByOthers { path, mode });
    }
    Ok(())
}
