//! RSA keys, of which making one takes half a second.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use aws_lc_rs::rsa::{KeySize, PrivateDecryptingKey};

/// A key of that size. The first ones of a process are new; after that they come round again, so that two keys
/// or versions that are made one after the other always differ.
pub(super) fn next(bits: u64) -> Option<PrivateDecryptingKey> {
    let size = match bits {
        2048 => KeySize::Rsa2048,
        3072 => KeySize::Rsa3072,
        4096 => KeySize::Rsa4096,
        _ => return None,
    };
    {
        let mut made = lock();
        let made = made.entry(bits).or_default();
        if made.len() >= MOST {
            let key = made.pop_front()?;
            made.push_back(key.clone());
            return Some(key);
        }
    }
    // Not under the lock: several may make one at a time.
    let key = PrivateDecryptingKey::generate(size).ok()?;
    lock().entry(bits).or_default().push_back(key.clone());
    Some(key)
}

fn lock() -> MutexGuard<'static, BTreeMap<u64, VecDeque<PrivateDecryptingKey>>> {
    // Each change of it is one step.
    MADE.lock().unwrap_or_else(PoisonError::into_inner)
}

static MADE: Mutex<BTreeMap<u64, VecDeque<PrivateDecryptingKey>>> = Mutex::new(BTreeMap::new());
/// More than a test compares with each other.
const MOST: usize = 16;
