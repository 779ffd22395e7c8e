//! What stands in the memory of another process, and where.

use std::{
    collections::HashMap,
    fs::{self, File},
    os::unix::fs::FileExt,
};

/// A secret in every form in which a residue of it would be as good as the
/// secret: as it is, combined with HMAC's two pads, and each of these in the
/// byte order in which SHA-2 keeps its words.
pub(crate) struct Needles {
    names: Vec<String>,
    /// From 16 bytes to the name of the secret and the form.
    windows: HashMap<[u8; 16], (usize, &'static str)>,
    /// The first three bytes of every window: most of the memory ends here.
    starts: Vec<bool>,
}

/// A secret, or half of one, that was found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    pub(crate) secret: String,
    pub(crate) form: &'static str,
    pub(crate) mapping: String,
    pub(crate) address: u64,
}

impl Needles {
    pub(crate) fn new() -> Self {
        Self { names: Vec::new(), windows: HashMap::new(), starts: vec![false; 1 << 24] }
    }

    /// Looks for `secret` too: for every 16 bytes of it, because an allocator
    /// overwrites the beginning of what is freed.
    pub(crate) fn add(&mut self, name: &str, secret: &[u8]) {
        assert!(secret.len() >= 16, "{name} is too short to be told from other bytes");
        if self.windows.contains_key(&window(secret)) {
            return;
        }
        self.names.push(name.to_owned());
        let forms = [("raw", 0, 1), ("inner pad", 0x36, 1), ("outer pad", 0x5C, 1)];
        let words = [
            ("raw, words of 4", 0, 4),
            ("inner pad, words of 4", 0x36, 4),
            ("outer pad, words of 4", 0x5C, 4),
            ("raw, words of 8", 0, 8),
            ("inner pad, words of 8", 0x36, 8),
            ("outer pad, words of 8", 0x5C, 8),
        ];
        for (form, pad, word) in forms.into_iter().chain(words) {
            for part in secret.chunks_exact(16) {
                let mut bytes: Vec<u8> = part.iter().map(|byte| byte ^ pad).collect();
                if word > 1 {
                    bytes.chunks_exact_mut(word).for_each(<[u8]>::reverse);
                }
                self.starts[start(&bytes)] = true;
                self.windows.insert(window(&bytes), (self.names.len() - 1, form));
            }
        }
    }

    /// How many secrets are looked for.
    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    /// Searches all that process `id` can write to: heap, stacks, anonymous
    /// mappings and the data of its libraries. Also returns how many bytes
    /// that was.
    pub(crate) fn search(&self, id: u32) -> (Vec<Finding>, usize) {
        let maps = fs::read_to_string(format!("/proc/{id}/maps")).unwrap();
        let memory = File::open(format!("/proc/{id}/mem")).unwrap();
        let mut findings = Vec::new();
        let mut searched = 0;
        for line in maps.lines() {
            let mut fields = line.split_whitespace();
            let (range, permissions) = (fields.next().unwrap(), fields.next().unwrap());
            if !permissions.starts_with("rw") {
                continue;
            }
            let mapping = fields.nth(3).unwrap_or("anonymous").to_owned();
            let (from, to) = range.split_once('-').unwrap();
            let (from, to) = (u64::from_str_radix(from, 16).unwrap(), u64::from_str_radix(to, 16).unwrap());
            let mut bytes = vec![0; usize::try_from(to - from).unwrap()];
            let mut read = 0;
            while read < bytes.len() {
                // The end of a mapped file may lie before the end of its mapping.
                match memory.read_at(&mut bytes[read..], from + read as u64) {
                    Ok(more) if more > 0 => read += more,
                    _ => break,
                }
            }
            searched += read;
            for (offset, found) in bytes[..read].windows(16).enumerate() {
                if !self.starts[start(found)] {
                    continue;
                }
                if let Some((secret, form)) = self.windows.get(found) {
                    let (secret, mapping) = (self.names[*secret].clone(), mapping.clone());
                    findings.push(Finding { secret, form, mapping, address: from + offset as u64 });
                }
            }
        }
        (findings, searched)
    }
}

fn start(bytes: &[u8]) -> usize {
    usize::from(bytes[0]) << 16 | usize::from(bytes[1]) << 8 | usize::from(bytes[2])
}

fn window(bytes: &[u8]) -> [u8; 16] {
    bytes[..16].try_into().unwrap()
}
