//! Decides what is served of one registry: its own snapshot, checked by the guard, or its last known good
//! from disk.
//!
//! ```text
//!  Feed ──► guard ──┐
//!                   ├──► RegistryState (watch) ──► world
//!  disk ──► guard ──┘        │
//!    ▲                       │ live, nothing held
//!    └───────────────────────┘
//! ```
//!
//! `guard.rs` decides and is pure. `saved.rs` reads and writes the file. `disk.rs` uses the file at the
//! start. `follow.rs` is the loop with the clock.

mod disk;
mod follow;
mod reads;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use pilot_registry::{Published, Snapshot};
use tokio::sync::watch;
use tokio::time::Instant;

use super::guard::{Guard, GuardSettings, Held};
use super::saved::SnapshotFile;

pub(crate) use reads::Reads;

/// How a registry is treated.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Others are served without this one when it has not answered for so long; `None` = never.
    pub patience: Option<Duration>,
    /// `None` = turned off.
    pub guard: Option<GuardSettings>,
    /// `None` = nothing is kept on disk.
    pub save: Option<SavePolicy>,
}

/// How the last known good is kept.
#[derive(Clone, Debug)]
pub struct SavePolicy {
    /// Where.
    pub file: SnapshotFile,
    /// It is loaded when the registry has not answered for so long, or when an attempt has failed.
    pub wait: Duration,
    /// It is not written more often than this.
    pub save_interval: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self { patience: None, guard: Some(GuardSettings::default()), save: None }
    }
}

/// What counts of a registry.
#[derive(Clone, Debug)]
pub struct Known {
    /// Its services.
    pub snapshot: Arc<Snapshot>,
    /// When they last changed.
    pub changed: Instant,
    /// Whether the registry says it now.
    pub freshness: Freshness,
    /// What of them the registry no longer says, and is held back from disappearing.
    pub held: Option<Arc<Held>>,
}

/// Whether services are what the registry says now, or what it said before pilot started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// The registry has said it since pilot started.
    Live,
    /// Its last known good.
    Disk {
        /// When it was saved.
        saved_at: SystemTime,
    },
}

/// Where a registry stands.
#[derive(Clone, Debug, Default)]
pub struct RegistryState {
    /// What counts; `None` = nothing is known yet.
    pub known: Option<Known>,
    /// It is optional, and is not waited for any longer.
    pub passed_over: bool,
    /// Counts the changes of the above.
    pub generation: u64,
}

/// How keeping on disk goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiskStatus {
    /// As of when the registry is on disk.
    pub saved_at: Option<SystemTime>,
    /// What went wrong last, and has not gone right since.
    pub error: Option<String>,
}

/// What takes in one registry. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Intake(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Arc<str>,
    policy: Policy,
    state: watch::Sender<RegistryState>,
    followed: Mutex<Followed>,
    reads: Reads,
    holds: AtomicU64,
    disk: Mutex<DiskStatus>,
    /// What was written last. Locked for as long as something is being written.
    saved: tokio::sync::Mutex<Option<Arc<Snapshot>>>,
}

/// How far the feed has been followed.
#[derive(Debug)]
struct Followed {
    guard: Guard,
    /// When the platform said what has been taken in last, and its revision.
    seen: Option<(Instant, u64)>,
    was_live: bool,
}

impl Intake {
    /// Nothing is known yet.
    pub fn new(registry: Arc<str>, policy: Policy) -> Self {
        let followed = Followed { guard: Guard::new(policy.guard), seen: None, was_live: false };
        Self(Arc::new(Inner {
            registry,
            policy,
            state: watch::Sender::default(),
            followed: Mutex::new(followed),
            reads: Reads::new(),
            holds: AtomicU64::new(0),
            disk: Mutex::default(),
            saved: tokio::sync::Mutex::default(),
        }))
    }

    /// How it treats the registry.
    pub fn policy(&self) -> &Policy {
        &self.0.policy
    }

    /// Where the registry stands.
    pub fn state(&self) -> RegistryState {
        self.0.state.borrow().clone()
    }

    /// Follows where the registry stands.
    pub fn subscribe(&self) -> watch::Receiver<RegistryState> {
        self.0.state.subscribe()
    }

    /// How keeping on disk goes; `None` = nothing is kept.
    pub fn disk(&self) -> Option<DiskStatus> {
        self.0.policy.save.as_ref().map(|_| self.0.disk.lock().clone())
    }

    /// How often the guard has begun to hold something.
    pub fn holds(&self) -> u64 {
        self.0.holds.load(Ordering::Relaxed)
    }

    /// Lets go at once of everything that is held, and says what that was.
    pub fn release(&self) -> Option<Held> {
        let now = Instant::now();
        let mut followed = self.0.followed.lock();
        let released = followed.guard.release(now);
        if let Some(held) = &released {
            let (registry, endpoints) = (&*self.0.registry, held.endpoints());
            tracing::info!(registry, endpoints, "let go of what was held, as asked for");
            self.update(&followed.guard, now);
        }
        released
    }

    /// For the supervisor: a second read, which began then, has said this.
    pub(crate) fn confirm(&self, began: Instant, read: &Published<Snapshot>) {
        let now = Instant::now();
        let mut followed = self.0.followed.lock();
        if followed.guard.confirm(now, began, &read.value).is_some() {
            self.update(&followed.guard, now);
        }
    }

    /// For the supervisor: whether something is held that this read has.
    pub(crate) fn lacks_some_of(&self, read: &Published<Snapshot>) -> bool {
        self.0.followed.lock().guard.lacks_some_of(&read.value)
    }

    /// For the supervisor: its attempts, and the wish for a second read.
    pub(crate) fn reads(&self) -> &Reads {
        &self.0.reads
    }

    /// What the guard says counts of a live registry from now on. What changed did so at `changed`.
    fn update(&self, guard: &Guard, changed: Instant) {
        let held = guard.held().map(Arc::new);
        self.0.state.send_if_modified(|state| {
            let before = state.known.as_ref();
            let same = before.filter(|known| Arc::ptr_eq(&known.snapshot, guard.counts()));
            let unchanged =
                same.is_some_and(|known| known.held == held && known.freshness == Freshness::Live);
            if unchanged {
                return false;
            }
            let held_before = before.and_then(|known| known.held.as_deref());
            self.tell(held_before, held.as_deref());
            let changed = same.map_or(changed, |known| known.changed);
            let snapshot = Arc::clone(guard.counts());
            state.known = Some(Known { snapshot, changed, freshness: Freshness::Live, held });
            state.generation += 1;
            true
        });
    }

    fn tell(&self, before: Option<&Held>, now: Option<&Held>) {
        let registry = &*self.0.registry;
        match (before, now) {
            (None, Some(held)) => {
                self.0.holds.fetch_add(1, Ordering::Relaxed);
                let (endpoints, services) = (held.endpoints(), held.counts().len());
                let hint = format!("pilot registries release {registry}");
                match held.unhealthy.is_empty() {
                    true => {
                        tracing::warn!(registry, endpoints, services, hint, "mass disappearance is held back")
                    }
                    false => {
                        tracing::warn!(registry, endpoints, services, hint, "mass unhealthiness is held back")
                    }
                }
            }
            (Some(before), Some(held)) if held.endpoints() > before.endpoints() => {
                let (endpoints, services) = (held.endpoints(), held.counts().len());
                tracing::info!(registry, endpoints, services, "more of it is held back");
            }
            (Some(_), None) => tracing::info!(registry, "nothing is held back any more"),
            (None, None) | (Some(_), Some(_)) => {}
        }
    }
}

impl RegistryState {
    /// Whether it need not be waited for.
    pub fn is_settled(&self) -> bool {
        self.known.is_some() || self.passed_over
    }
}
