//! How long an answer may be.

use serde::Serialize;

/// Most bytes of the JSON of a tool's answer.
///
/// A client gets it twice, as structured content and, for older clients, as a text, in which quotes and backslashes are escaped
/// once more: three times this, with what is around it, is less than 64 KiB.
pub(crate) const MAX_ANSWER: usize = 20 * 1024;

/// Items of a page: as many as were asked for, and as fit.
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    limit: usize,
    room: usize,
}

impl<T: Serialize> Page<T> {
    /// At most `limit` items, or 50, and no more than 200.
    pub(crate) fn new(limit: Option<u32>) -> Self {
        let limit = limit.map_or(50, |limit| limit.clamp(1, 200)) as usize;
        Self { items: Vec::new(), limit, room: MAX_ANSWER - RESERVED }
    }

    /// Takes an item, or gives it back when the page is full. The first one always fits: its parts are bounded.
    pub(crate) fn add(&mut self, item: T) -> Result<(), T> {
        // What is made safe later grows: it is counted as it will be.
        let shown = serde_json::to_value(&item).map(crate::words::clean).unwrap_or_default();
        let bytes = shown.to_string().len() + 1;
        if self.is_full() || (bytes > self.room && !self.items.is_empty()) {
            return Err(item);
        }
        self.room = self.room.saturating_sub(bytes);
        self.items.push(item);
        Ok(())
    }

    pub(crate) fn is_full(&self) -> bool {
        self.items.len() >= self.limit
    }
}

/// For what is told beside the items: a cursor with the longest path that is gone through (6 KiB, twice in base64 and sealed between), and
/// five failures of 256 bytes, each of which may take two in JSON. Not every tool can be asked for less.
const RESERVED: usize = 10 * 1024;
