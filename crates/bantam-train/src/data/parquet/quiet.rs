//! Work that may panic without a word.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    /// Whether this thread is within [`catch`].
    static WITHIN: Cell<bool> = const { Cell::new(false) };
}

/// What `work` gives, or nothing if it panicked. That is not told on standard error; any other panic is, as before.
pub(super) fn catch<T>(work: impl FnOnce() -> T) -> Option<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let former = take_hook();
        set_hook(Box::new(move |panic| {
            if !WITHIN.get() {
                former(panic);
            }
        }));
    });
    let before = WITHIN.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(work));
    WITHIN.set(before);
    outcome.ok()
}
