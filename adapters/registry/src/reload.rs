//! Reading files again because somebody asks for it.

use tokio::sync::watch;

/// Something that was read from files of this machine, and that can be read again while pilot serves.
///
/// A registry that has such files keeps one and gives out clones: [`ServiceRegistry::reload`].
///
/// [`ServiceRegistry::reload`]: crate::ServiceRegistry::reload
#[derive(Clone, Debug)]
pub struct Reload {
    what: String,
    asked: watch::Sender<()>,
}

impl Reload {
    /// What is read again, as the log calls it: `services.toml`.
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), asked: watch::Sender::default() }
    }

    /// What is read again.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// Asks for it. Who reads does so at once, but not in this call. Nobody may be reading just now: then what is
    /// read next is new anyway.
    pub fn ask(&self) {
        self.asked.send_replace(());
    }

    /// For who reads: changes each time that somebody asks, from now on.
    pub fn asked(&self) -> watch::Receiver<()> {
        self.asked.subscribe()
    }
}
