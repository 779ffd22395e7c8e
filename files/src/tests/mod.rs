use std::cell::Cell;

thread_local! {
    /// Files get a temporary name at once, as where there are no unnamed ones.
    pub(crate) static ALWAYS_NAMED: Cell<bool> = const { Cell::new(false) };
}
