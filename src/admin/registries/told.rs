//! Reports of a registry's own status and of its faults. Times are RFC 3339.

use std::collections::BTreeMap;

use pilot_registry::{LastError, Status, Trouble, WatchStatus};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::wall_clock;

/// What is wrong with a registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryTrouble {
    /// Since when.
    pub since: String,
    /// `denied`, `unavailable` or `malformed`.
    pub kind: String,
    /// What was tried, and how it failed.
    pub error: String,
}

/// What went wrong last, which may be over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LastErrorReport {
    /// When it did last.
    pub at: String,
    /// How long ago that is.
    pub age_seconds: f64,
    /// `denied`, `unavailable` or `malformed`.
    pub kind: String,
    /// What was tried, and how it failed.
    pub error: String,
}

/// How one part of a platform is followed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WatchReport {
    /// `listing`, `watching` or `stopped`.
    pub state: String,
    /// Since when it is in that state.
    pub since: String,
    /// For how long: of one that is watching, the watch's age.
    pub age_seconds: f64,
    /// Time since the platform last said something on a watch, be it that nothing has changed.
    pub quiet_seconds: Option<f64>,
    /// How often a watch was opened, since pilot started.
    pub opened: u64,
    /// How often it was listed as a whole, since pilot started.
    pub lists: u64,
    /// What went wrong last; it stays when it is over.
    pub last_error: Option<LastErrorReport>,
}

impl RegistryTrouble {
    pub(super) fn of(Trouble { since, error }: &Trouble) -> Self {
        Self { since: wall_clock(*since), kind: error.kind().as_str().to_owned(), error: error.chain() }
    }
}

impl LastErrorReport {
    pub(super) fn of(LastError { at, error }: &LastError, now: Instant) -> Self {
        Self {
            at: wall_clock(*at),
            age_seconds: seconds(*at, now),
            kind: error.kind().as_str().to_owned(),
            error: error.chain(),
        }
    }
}

impl WatchReport {
    fn of(watch: &WatchStatus, now: Instant) -> Self {
        let WatchStatus { state, since, heard, lists, opened, last_error } = watch;
        Self {
            state: state.as_str().to_owned(),
            since: wall_clock(*since),
            age_seconds: seconds(*since, now),
            quiet_seconds: heard.map(|heard| seconds(heard, now)),
            opened: *opened,
            lists: *lists,
            last_error: last_error.as_ref().map(|error| LastErrorReport::of(error, now)),
        }
    }

    pub(super) fn all(status: &Status, now: Instant) -> BTreeMap<String, Self> {
        status.watches.iter().map(|(name, watch)| (name.clone(), Self::of(watch, now))).collect()
    }
}

fn seconds(from: Instant, now: Instant) -> f64 {
    now.saturating_duration_since(from).as_secs_f64()
}
