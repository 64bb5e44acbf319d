//! The channel from a registry to the rest of pilot. The latest value wins, and errors stand beside it. A
//! registry's own status is in `status.rs`.
//!
//! ```text
//!  adapter ── publish, fault, skipped, note ──► Sink ──►  watch  ──► Feed ──► supervisor, catalog, status
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::status::Board;
use crate::{Following, RegistryError, Status};

/// What crosses a sink as one whole value: a [`Snapshot`](crate::Snapshot) of services, or of rule documents.
pub trait Content: Send + Sync + 'static {
    /// The same value, with the parts that equal the previous value's taken from there.
    #[must_use]
    fn reusing(self, previous: &Self) -> Self;

    /// Whether two values, the newer of which has been through [`Content::reusing`], are equal.
    fn same(&self, other: &Self) -> bool;
}

/// All that is known of one registry: its last value, and how it is doing.
#[derive(Debug)]
pub struct State<T> {
    /// `None` = not known yet; `Some` of an empty value = known to be empty.
    pub published: Option<Published<T>>,
    /// Entries that were left out of the value, and why, by entry.
    pub skipped: Arc<BTreeMap<String, String>>,
    /// What there is to say of entries that are in the value, by entry.
    pub notes: Arc<BTreeMap<String, String>>,
    attempt: Attempt,
    faults: BTreeMap<u64, Trouble>,
}

/// A value and when it came.
#[derive(Debug)]
pub struct Published<T> {
    /// The value.
    pub value: Arc<T>,
    /// Counts the values that differed from the one before; 1 is the first.
    pub revision: u64,
    /// When this value came first.
    pub changed: Instant,
    /// When the platform last said that this is its value.
    pub checked: Instant,
}

/// Trouble with a registry: since when, and what.
#[derive(Clone, Debug)]
pub struct Trouble {
    /// When it began.
    pub since: Instant,
    /// What it is.
    pub error: RegistryError,
}

/// How a registry is doing. Says nothing of the value, which stays in force whatever happens.
#[derive(Clone, Debug)]
pub enum RegistryHealth {
    /// Nothing has been heard yet, and no attempt has failed.
    Connecting,
    /// The value is what the platform says.
    Live,
    /// The value may be old.
    Degraded(Trouble),
}

#[derive(Debug)]
enum Attempt {
    Connecting,
    Live,
    Failed(Trouble),
}

impl<T> State<T> {
    /// How the registry is doing. Of several [troubles](Self::troubles) it is degraded by the first.
    pub fn health(&self) -> RegistryHealth {
        match self.troubles().next() {
            Some(trouble) => RegistryHealth::Degraded(trouble.clone()),
            None if matches!(self.attempt, Attempt::Connecting) => RegistryHealth::Connecting,
            None => RegistryHealth::Live,
        }
    }

    /// All that is wrong now: that the last attempt failed, then the faults that stand, the oldest first.
    pub fn troubles(&self) -> impl Iterator<Item = &Trouble> {
        let failed = match &self.attempt {
            Attempt::Failed(trouble) => Some(trouble),
            Attempt::Connecting | Attempt::Live => None,
        };
        failed.into_iter().chain(self.faults.values())
    }
}

// Not derived: `T` itself is never cloned.
impl<T> Clone for Published<T> {
    fn clone(&self) -> Self {
        Self { value: Arc::clone(&self.value), ..*self }
    }
}

/// Makes the two ends of one registry's way: the sink for the adapter, the feed for everybody else.
pub fn channel<T: Content>() -> (Sink<T>, Feed<T>) {
    let state = State {
        published: None,
        skipped: Arc::default(),
        notes: Arc::default(),
        attempt: Attempt::Connecting,
        faults: BTreeMap::new(),
    };
    let (state, board) = (Arc::new(watch::Sender::new(state)), Arc::new(Board::default()));
    let feed = Feed { state: Arc::clone(&state), board: Arc::clone(&board) };
    (Sink { state, board, pending: Mutex::default(), next_fault: AtomicU64::new(0) }, feed)
}

/// The adapter's end. It is lent to [`crate::ServiceRegistry::run`] and cannot be cloned, so nothing is
/// published after that future is dropped.
#[derive(Debug)]
pub struct Sink<T: Content> {
    state: Arc<watch::Sender<State<T>>>,
    board: Arc<Board>,
    pending: Mutex<Pending>,
    next_fault: AtomicU64,
}

/// What is said of entries before the value that they belong to.
#[derive(Debug, Default)]
struct Pending {
    skipped: BTreeMap<String, String>,
    notes: BTreeMap<String, String>,
}

impl<T: Content> Sink<T> {
    /// Publishes the whole of what the platform says now, and makes the entries
    /// [skipped](Self::skipped) and [noted](Self::note) since the last call the lists of such. A value that equals the
    /// last one makes no new revision.
    pub fn publish(&self, value: T) {
        let Pending { skipped, notes } = std::mem::take(&mut *self.pending.lock());
        let now = Instant::now();
        self.state.send_modify(|state| {
            state.attempt = Attempt::Live;
            if *state.skipped != skipped {
                state.skipped = Arc::new(skipped);
            }
            if *state.notes != notes {
                state.notes = Arc::new(notes);
            }
            let Some(last) = &mut state.published else {
                state.published =
                    Some(Published { value: Arc::new(value), revision: 1, changed: now, checked: now });
                return;
            };
            last.checked = now;
            let value = value.reusing(&last.value);
            if !value.same(&last.value) {
                last.value = Arc::new(value);
                last.revision += 1;
                last.changed = now;
            }
        });
    }

    /// Leaves an entry out of the value that is published next, and says why. Call it again for each
    /// value that the entry is missing from.
    pub fn skipped(&self, entry: impl Into<String>, why: impl Into<String>) {
        self.pending.lock().skipped.insert(entry.into(), why.into());
    }

    /// Says something of an entry that is in the value that is published next: what of it does not count, or
    /// what was guessed. Call it again for each value that it is true of.
    pub fn note(&self, entry: impl Into<String>, what: impl Into<String>) {
        self.pending.lock().notes.insert(entry.into(), what.into());
    }

    /// A fault that the adapter cures itself, while the last value stays: the registry is degraded until
    /// the guard is dropped.
    #[must_use = "the fault ends when the guard is dropped"]
    pub fn fault(&self, error: RegistryError) -> Fault<T> {
        let id = self.next_fault.fetch_add(1, Ordering::Relaxed);
        self.board.failed(&error);
        let trouble = Trouble { since: Instant::now(), error };
        self.state.send_modify(|state| {
            state.faults.insert(id, trouble);
        });
        Fault { state: Arc::clone(&self.state), id }
    }

    /// Says something of the platform that people want to see, and nothing decides by: `server_version`.
    /// An empty value takes it away. No secrets; what is longer than 256 characters is cut off.
    pub fn fact(&self, name: &'static str, value: &str) {
        self.board.set_fact(name, value);
    }

    /// Says of a part of the platform how it is followed: in a few words (`services`), of which the
    /// configuration decides how many there are, not the platform. A part has one [`Following`] at a time.
    #[must_use = "the part is no longer followed when this is dropped"]
    pub fn following(&self, part: &str) -> Following {
        self.board.follow(part)
    }
}

/// Keeps a registry degraded for as long as it lives. See [`Sink::fault`].
#[derive(Debug)]
pub struct Fault<T: Content> {
    state: Arc<watch::Sender<State<T>>>,
    id: u64,
}

impl<T: Content> Drop for Fault<T> {
    fn drop(&mut self) {
        self.state.send_modify(|state| {
            state.faults.remove(&self.id);
        });
    }
}

/// The reading end, and the supervisor's: as many as wanted.
#[derive(Debug)]
pub struct Feed<T: Content> {
    state: Arc<watch::Sender<State<T>>>,
    board: Arc<Board>,
}

impl<T: Content> Clone for Feed<T> {
    fn clone(&self) -> Self {
        Self { state: Arc::clone(&self.state), board: Arc::clone(&self.board) }
    }
}

impl<T: Content> Feed<T> {
    /// Follows the state. The receiver sees the latest value; values between may be missed.
    pub fn subscribe(&self) -> watch::Receiver<State<T>> {
        self.state.subscribe()
    }

    /// The last value, if there is one.
    pub fn published(&self) -> Option<Published<T>> {
        self.state.borrow().published.clone()
    }

    /// How the registry is doing.
    pub fn health(&self) -> RegistryHealth {
        self.state.borrow().health()
    }

    /// Looks at the whole state. Do not hold on to it: the adapter waits meanwhile.
    pub fn with_state<R>(&self, look: impl FnOnce(&State<T>) -> R) -> R {
        look(&self.state.borrow())
    }

    /// What the registry tells of itself, as of this moment. Nobody is woken when it changes.
    pub fn status(&self) -> Status {
        self.board.read()
    }

    /// For the supervisor: the attempt ended with that error. The value stays; the trouble's beginning
    /// is that of the first failure since the registry was live.
    pub fn attempt_failed(&self, error: RegistryError) {
        self.board.failed(&error);
        self.state.send_modify(|state| {
            let since = match &state.attempt {
                Attempt::Failed(trouble) => trouble.since,
                _ => Instant::now(),
            };
            state.attempt = Attempt::Failed(Trouble { since, error });
        });
    }
}
