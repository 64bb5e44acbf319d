//! How long what waits for a client's next request waits.
//!
//! ```text
//!  something waits ─► 5 s ─────────────► what came until it began to wait goes out in any case
//!                      └ a response is unanswered: stands still, because the client is slow, and nothing else
//! ```
//!
//! What changes meanwhile does not begin it anew, or nothing would ever go out where something changes each second. What
//! came after it began has a time of its own, afterwards.

use std::time::Duration;

use tokio::time::Instant;

use crate::xds::machine::Waits;

/// A client that is told of a cluster asks for its endpoints at once, so one that has not after this time never will.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// A stream's patience with its client.
#[derive(Debug, Default)]
pub(super) struct ClientPatience(Option<Given>);

/// The time that a client was given.
#[derive(Debug)]
struct Given {
    /// For what came with that update, and before.
    update: u64,
    left: Duration,
    /// When it ends, unless it stands still.
    ends: Option<Instant>,
}

impl ClientPatience {
    /// What waits now, after the last of so many updates.
    pub(super) fn note(&mut self, waits: Waits, updates: u64, now: Instant) {
        if waits == Waits::Nothing {
            self.0 = None;
            return;
        }
        let given = self.0.get_or_insert(Given { update: updates, left: PATIENCE, ends: None });
        match (waits, given.ends) {
            (Waits::ForRequest, None) => given.ends = Some(now + given.left),
            (Waits::ForAnswer, Some(ends)) => {
                given.left = ends.saturating_duration_since(now);
                given.ends = None;
            }
            _ => {}
        }
    }

    /// When it ends; `None` = not now.
    pub(super) fn ends(&self) -> Option<Instant> {
        self.0.as_ref()?.ends
    }

    /// It has ended, for what came with that update, and before.
    pub(super) fn over(&mut self) -> Option<u64> {
        self.0.take().map(|given| given.update)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn it_stands_still_while_a_response_is_unanswered_and_no_change_begins_it_anew() {
        let (mut patience, begun) = (ClientPatience::default(), Instant::now());
        patience.note(Waits::ForRequest, 7, begun);
        let mut now = begun;
        for update in 8..12 {
            now += SECOND;
            patience.note(Waits::ForAnswer, update, now);
            assert_eq!(patience.ends(), None);
            now += 10 * SECOND;
            patience.note(Waits::ForRequest, update, now);
        }
        assert_eq!(patience.ends(), Some(begun + 40 * SECOND + PATIENCE));
        assert_eq!(patience.over(), Some(7), "what came later has a time of its own");
        patience.note(Waits::ForRequest, 11, now);
        assert_eq!(patience.ends(), Some(now + PATIENCE));
        patience.note(Waits::Nothing, 11, now);
        assert_eq!((patience.ends(), patience.over()), (None, None));
    }
}
