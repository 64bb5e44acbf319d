//! What is made of the keys below a prefix.

use pilot_registry::{Content, Sink};

use crate::keys::Keys;

/// A key with its value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) value: &'a [u8],
    /// The revision at which the key was made.
    pub(crate) created: i64,
}

/// How much there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) keys: usize,
    pub(crate) bytes: usize,
}

/// All keys below a prefix, and what they say together.
pub(crate) trait Kept: Sized + Send + Sync + 'static {
    /// What is published.
    type Value: Content;

    /// What is being done, in errors.
    const LISTING: &'static str;
    /// See [`Self::LISTING`].
    const WATCHING: &'static str;

    /// No keys.
    fn new(keys: &Keys) -> Self;

    /// That key has this value now. `before` is what was in force before a new list, of which this is made.
    fn put(&mut self, entry: Entry<'_>, before: Option<&Self>);

    /// That key is gone.
    fn remove(&mut self, key: &[u8]);

    /// How much there is.
    fn size(&self) -> Size;

    /// Publishes what is in force, and reports what is left out or wants a word.
    fn publish(&mut self, sink: &Sink<Self::Value>);
}
