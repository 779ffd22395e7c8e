//! Files as rewrap and rotation need them: what may be trusted, what is replaced
//! whole or not at all, and what survives being cut off half-way.

pub mod trust;
pub mod unfinished;
