//! A registry's own status, for people: which server it talks to, and how it follows it.
//!
//! ```text
//!  adapter ── fact, following ──► Board ◄── Feed::status ── whoever asks
//! ```
//!
//! Nothing depends on it, so setting it wakes nobody; it is read on request. Its size is bounded: the program
//! chooses the names of facts, long names and values are cut, and there are at most 256 watches.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::RegistryError;

/// More watches than this are not listed.
const MAX_WATCHES: usize = 256;
/// The most characters of a name or a value.
const MAX_TEXT: usize = 256;

/// What a registry tells of itself.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// What is said of the platform, by name: `server_version`.
    pub facts: BTreeMap<&'static str, String>,
    /// What of the platform is followed, by name: `services`.
    pub watches: BTreeMap<String, WatchStatus>,
    /// What went wrong last. It stays when it is over.
    pub last_error: Option<LastError>,
}

/// How one part of a platform is followed.
#[derive(Clone, Debug)]
pub struct WatchStatus {
    /// What is being done.
    pub state: WatchState,
    /// Since when: of one that is watching, the watch's age.
    pub since: Instant,
    /// When the platform last said something on a watch, be it that nothing has changed.
    pub heard: Option<Instant>,
    /// How often it was listed as a whole.
    pub lists: u64,
    /// How often a watch was opened.
    pub opened: u64,
    /// What went wrong last. It stays when it is over.
    pub last_error: Option<LastError>,
}

/// What is being done about a part of a platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchState {
    /// Everything is being read.
    Listing,
    /// Changes are waited for.
    Watching,
    /// Nothing: it failed, or has not begun.
    Stopped,
}

/// Something that went wrong.
#[derive(Clone, Debug)]
pub struct LastError {
    /// When it did last.
    pub at: Instant,
    /// What it was.
    pub error: RegistryError,
}

impl WatchState {
    /// The state as a word, for JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Listing => "listing",
            Self::Watching => "watching",
            Self::Stopped => "stopped",
        }
    }
}

impl LastError {
    fn now(error: &RegistryError) -> Self {
        Self { at: Instant::now(), error: error.clone() }
    }
}

impl WatchStatus {
    fn new() -> Self {
        let (state, since) = (WatchState::Stopped, Instant::now());
        Self { state, since, heard: None, lists: 0, opened: 0, last_error: None }
    }

    fn enter(&mut self, state: WatchState) {
        (self.state, self.since) = (state, Instant::now());
    }

    fn stop(&mut self) {
        if self.state != WatchState::Stopped {
            self.enter(WatchState::Stopped);
        }
    }
}

/// How an adapter follows one part of its platform. Made by [`Sink::following`](crate::Sink::following); when
/// it is dropped, the part is no longer followed.
#[derive(Debug)]
pub struct Following(Arc<Mutex<WatchStatus>>);

impl Following {
    /// From now on everything is read.
    pub fn listing(&self) {
        let mut status = self.0.lock();
        status.enter(WatchState::Listing);
        status.lists += 1;
    }

    /// A watch has been opened.
    pub fn watching(&self) {
        let mut status = self.0.lock();
        status.enter(WatchState::Watching);
        status.opened += 1;
        status.heard = Some(status.since);
    }

    /// The platform has said something on the watch, be it that nothing has changed.
    pub fn heard(&self) {
        self.0.lock().heard = Some(Instant::now());
    }

    /// That went wrong, and it is not followed until something else is said.
    pub fn failed(&self, error: &RegistryError) {
        let mut status = self.0.lock();
        status.stop();
        status.last_error = Some(LastError::now(error));
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.0.lock().stop();
    }
}

/// Where a sink writes what a feed reads.
#[derive(Debug, Default)]
pub(crate) struct Board(Mutex<Written>);

#[derive(Debug, Default)]
struct Written {
    facts: BTreeMap<&'static str, String>,
    watches: BTreeMap<String, Arc<Mutex<WatchStatus>>>,
    last_error: Option<LastError>,
}

impl Board {
    pub(crate) fn set_fact(&self, name: &'static str, value: &str) {
        let facts = &mut self.0.lock().facts;
        if value.is_empty() {
            facts.remove(name);
        } else {
            facts.insert(name, cut_off(value));
        }
    }

    /// The record of that name goes on where it ended, so that attempts add up.
    pub(crate) fn follow(&self, name: &str) -> Following {
        let watches = &mut self.0.lock().watches;
        let name = cut_off(name);
        if let Some(known) = watches.get(&name) {
            return Following(Arc::clone(known));
        }
        if watches.len() >= MAX_WATCHES {
            let stopped = |watch: &Mutex<WatchStatus>| watch.lock().state == WatchState::Stopped;
            let ended = watches.iter().find(|(_, watch)| stopped(watch)).map(|(name, _)| name.clone());
            ended.and_then(|name| watches.remove(&name));
        }
        let watch = Arc::new(Mutex::new(WatchStatus::new()));
        if watches.len() < MAX_WATCHES {
            watches.insert(name, Arc::clone(&watch));
        }
        Following(watch)
    }

    pub(crate) fn failed(&self, error: &RegistryError) {
        self.0.lock().last_error = Some(LastError::now(error));
    }

    pub(crate) fn read(&self) -> Status {
        let Written { facts, watches, last_error } = &*self.0.lock();
        let watches = watches.iter().map(|(name, watch)| (name.clone(), watch.lock().clone()));
        Status { facts: facts.clone(), watches: watches.collect(), last_error: last_error.clone() }
    }
}

fn cut_off(text: &str) -> String {
    text.chars().take(MAX_TEXT).collect()
}
