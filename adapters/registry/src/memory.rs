//! What a registry's attempts remember of each other.
//!
//! ```text
//!  attempt 1 ── lend ──► Lent ── drop ──► Memory ── lend ──► attempt 2
//!                          (lent to one attempt at a time)
//! ```
//!
//! pilot may run a registry a second time beside the first, to read everything once more. Such a run gets a memory
//! of its own, which is empty and is forgotten: neither disturbs the other.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use parking_lot::Mutex;

/// What one attempt of a registry leaves to the next. Clones are the same memory. It is never a reason not to read
/// everything.
#[derive(Debug)]
pub struct Memory<T>(Arc<Mutex<Slot<T>>>);

#[derive(Debug, Default)]
struct Slot<T> {
    value: T,
    is_lent: bool,
}

/// The memory for one attempt: given back when it is dropped, however the attempt ends.
#[derive(Debug, Default)]
pub struct Lent<T: Default> {
    value: T,
    /// `None` = of an attempt that runs beside another.
    memory: Option<Memory<T>>,
}

impl<T: Default> Memory<T> {
    /// What the attempt before left. While another attempt has it: nothing, and nothing will be left.
    pub fn lend(&self) -> Lent<T> {
        let mut slot = self.0.lock();
        if std::mem::replace(&mut slot.is_lent, true) {
            return Lent::default();
        }
        Lent { value: std::mem::take(&mut slot.value), memory: Some(self.clone()) }
    }
}

// Not derived: `T` itself is never cloned.
impl<T> Clone for Memory<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Default> Default for Memory<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T: Default> Deref for Lent<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Default> DerefMut for Lent<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: Default> Drop for Lent<T> {
    fn drop(&mut self) {
        if let Some(memory) = &self.memory {
            *memory.0.lock() = Slot { value: std::mem::take(&mut self.value), is_lent: false };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_attempt_at_a_time_has_what_the_one_before_left() {
        let memory = Memory::<Vec<u8>>::default();
        let mut first = memory.lend();
        first.push(1);
        let mut beside = memory.lend();
        assert!(beside.is_empty(), "the first one has it");
        beside.push(2);
        drop(beside);
        drop(first);
        assert_eq!(*memory.lend(), [1]);
        let (first, beside) = (memory.lend(), memory.lend());
        drop(first);
        drop(beside);
        assert_eq!(*memory.lend(), [1], "whichever of both ends first");
    }
}
