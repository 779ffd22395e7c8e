//! Changes to bytes, as many as an input asks for.

use arbitrary::Arbitrary;

/// One change. Positions are taken modulo the length.
#[derive(Debug, Clone, Copy, Arbitrary)]
pub enum Change {
    /// One bit.
    Flip(u32, u8),
    /// One byte.
    Set(u32, u8),
    /// A byte more.
    Insert(u32, u8),
    /// Some bytes less.
    Remove(u32, u8),
    /// All from there on.
    Truncate(u32),
    /// More behind the end.
    Extend(u8, u8),
    /// Bytes copied from another place.
    Copy(u32, u32, u16),
    /// Two stretches swapped.
    Swap(u32, u32, u16),
    /// Bytes from the same place of the other fixture.
    Splice(u32, u16),
    /// The other fixture from there on.
    Graft(u32),
}

/// `original` with all of `changes`, some of which take bytes of `other`.
#[must_use]
pub fn apply(original: &[u8], other: &[u8], changes: &[Change]) -> Vec<u8> {
    let mut bytes = original.to_vec();
    for change in changes.iter().take(MAX_CHANGES) {
        let len = bytes.len();
        let at = |position: u32| if len == 0 { 0 } else { position as usize % len };
        match *change {
            Change::Insert(position, value) => bytes.insert(at(position), value),
            Change::Extend(count, value) => bytes.resize(len + usize::from(count), value),
            Change::Graft(position) => {
                let position = at(position);
                bytes.truncate(position);
                bytes.extend_from_slice(other.get(position..).unwrap_or_default());
            }
            _ if len == 0 => {}
            Change::Flip(position, bit) => bytes[at(position)] ^= 1 << (bit % 8),
            Change::Set(position, value) => bytes[at(position)] = value,
            Change::Remove(position, count) => {
                let start = at(position);
                bytes.drain(start..(start + 1 + usize::from(count)).min(len));
            }
            Change::Truncate(position) => bytes.truncate(at(position)),
            Change::Copy(from, to, count) => {
                let (from, to) = (at(from), at(to));
                let count = usize::from(count).min(len - from.max(to));
                bytes.copy_within(from..from + count, to);
            }
            Change::Swap(one, two, count) => {
                let (one, two) = (at(one).min(at(two)), at(one).max(at(two)));
                let count = usize::from(count).min(two - one).min(len - two);
                let (head, tail) = bytes.split_at_mut(two);
                head[one..one + count].swap_with_slice(&mut tail[..count]);
            }
            Change::Splice(position, count) => {
                let start = at(position);
                let end = (start + usize::from(count)).min(len).min(other.len());
                if start < end {
                    bytes[start..end].copy_from_slice(&other[start..end]);
                }
            }
        }
    }
    bytes
}

const MAX_CHANGES: usize = 16;
