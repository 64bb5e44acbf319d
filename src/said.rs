//! What the log has said already, so that it says it once.
//!
//! Its memory is bounded: clients think up what is said. While the memory is full, nothing new is said.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// How many things are remembered.
const MAX: usize = 1024;

/// After this time a thing is forgotten, and so said again if it is still so.
const FORGET_AFTER: Duration = Duration::from_secs(3600);

/// Things that were said, and when.
#[derive(Debug)]
pub(crate) struct Said<K>(Mutex<HashMap<K, Instant>>);

impl<K> Default for Said<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash> Said<K> {
    /// Whether this is to be said now: it was not said within the last hour.
    pub(crate) fn first(&self, thing: K) -> bool {
        let now = Instant::now();
        let mut said = self.0.lock();
        if let Some(at) = said.get_mut(&thing) {
            let is_old = now.duration_since(*at) >= FORGET_AFTER;
            if is_old {
                *at = now;
            }
            return is_old;
        }
        if said.len() >= MAX {
            said.retain(|_, at| now.duration_since(*at) < FORGET_AFTER);
        }
        let has_room = said.len() < MAX;
        if has_room {
            said.insert(thing, now);
        }
        has_room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_thing_is_said_once_an_hour() {
        let said = Said::default();
        assert!(said.first("a") && said.first("b"));
        assert!(!said.first("a"));
        tokio::time::advance(FORGET_AFTER).await;
        assert!(said.first("a") && !said.first("a"));
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_is_remembered_than_there_is_room_for() {
        let said = Said::default();
        assert_eq!((0..MAX * 2).filter(|thing| said.first(*thing)).count(), MAX);
        tokio::time::advance(FORGET_AFTER).await;
        assert!(said.first(MAX * 3));
        assert_eq!(said.0.lock().len(), 1);
    }
}
