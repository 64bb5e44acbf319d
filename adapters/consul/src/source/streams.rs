//! How the agent's streams have done lately. Pure: the caller has the clock.
//!
//! An agent opens one stream for each service that is polled. Where streams fail again and again while the servers
//! answer, long polls go past them for a while: with `near=_agent` servers answer, at the price of sorting. All
//! streams of an agent fail together when its server goes, so what fails at one moment counts once.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// So many failures within that time are too many.
const FAILURES: usize = 3;
const WITHIN: Duration = Duration::from_secs(60);
/// What fails within that time has failed at one moment. A service whose stream has failed is left alone as long.
pub(super) const MOMENT: Duration = Duration::from_secs(1);
/// How long streams are avoided then.
const AVOIDED: Duration = Duration::from_secs(600);

/// The failures of all services' streams.
#[derive(Debug, Default)]
pub(super) struct Streams {
    failed: VecDeque<Instant>,
    avoided_until: Option<Instant>,
}

impl Streams {
    /// A stream has failed although the servers answer.
    pub(super) fn fail(&mut self, now: Instant) {
        if self.failed.back().is_some_and(|last| now - *last < MOMENT) {
            return;
        }
        self.failed.push_back(now);
        while self.failed.front().is_some_and(|first| now - *first > WITHIN) {
            self.failed.pop_front();
        }
        if self.failed.len() >= FAILURES {
            self.failed.clear();
            self.avoided_until = Some(now + AVOIDED);
        }
    }

    /// Whether long polls go past them.
    pub(super) fn are_avoided(&self, now: Instant) -> bool {
        self.avoided_until.is_some_and(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_failures_in_a_minute_are_too_many_for_ten_minutes() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut streams = Streams::default();
        for after in [0, 31, 62, 93] {
            streams.fail(start + second * after);
            assert!(!streams.are_avoided(start + second * after), "two in a minute are not");
        }
        streams.fail(start + second * 93 + second / 2);
        let third = start + second * 94;
        assert!(!streams.are_avoided(third), "another service at the same moment is no other failure");
        streams.fail(third);
        assert!(streams.are_avoided(third));
        assert!(streams.are_avoided(third + second * 598));
        assert!(!streams.are_avoided(third + second * 600), "they are tried again");
        streams.fail(third + second * 601);
        assert!(!streams.are_avoided(third + second * 601), "old failures count no longer");
    }
}
