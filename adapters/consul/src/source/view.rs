//! Which answers of an agent's view of one service are believed.
//!
//! An agent that streams answers long polls from a view of its own. The view may not have been filled yet, be
//! emptied for a moment, lag behind, or have been cut down with the token's rights, and its answer looks the same in
//! all these cases. So what a view adds or changes is believed at once, and what it takes away is not: there the
//! servers are asked, plainly, and what they say counts. They are also asked now and then without any reason, as
//! no view tells that it is stuck.

use std::time::Duration;

use tokio::time::Instant;

use super::index::Index;
use super::members::Members;
use crate::client::{Answer, Backend};
use crate::convert::Content;

/// The servers are asked again after so many waits, and that time at the latest.
const WAITS: u32 = 10;
const LATEST: Duration = Duration::from_secs(300);
/// What is due so soon is due now.
const NEARLY: Duration = Duration::from_secs(1);

/// What is known of one service to judge its view by.
#[derive(Debug, Default)]
pub(super) struct View {
    /// The instances of the last answer that was believed.
    members: Option<Members>,
    /// Whether its index went backwards, and the servers had to be asked.
    backwards: bool,
    /// The last answer of the view about which the servers were asked, if nothing has been believed since.
    doubted: Option<Doubted>,
    /// Whether the agent's stream failed when it was polled last.
    pub(super) failed: bool,
    /// When to ask the servers again, if long polls are answered from a view.
    due: Option<Instant>,
}

/// Tells an answer that was doubted from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Doubted {
    hash: u64,
    index: u64,
}

/// What to make of a view's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is how it is now.
    Believed,
    /// It says nothing new: wait at this index.
    Nothing(u64),
    /// The servers have to be asked.
    Doubted,
}

/// An answer of a view, as far as it is judged.
pub(super) struct Seen<'a> {
    pub(super) answer: &'a Answer,
    pub(super) hash: u64,
    /// What is known of the service.
    pub(super) known: Option<&'a Content>,
    /// Whether that is what the view says, too.
    pub(super) same: bool,
}

impl View {
    /// Judges an answer of the view.
    pub(super) fn judge(&mut self, index: Index, seen: &Seen<'_>) -> Verdict {
        let answered = seen.answer.index;
        // An index of 1 belongs to no data: the view has not been filled.
        if answered <= 1 || index.held().is_some_and(|held| answered < held) {
            // A view may have a smaller index than the servers for ever, with nothing wrong.
            if self.backwards && seen.same && answered > 1 {
                return Verdict::Nothing(answered);
            }
            self.backwards = true;
            return Verdict::Doubted;
        }
        if index.held().is_some_and(|held| answered > held) {
            self.backwards = false;
        }
        let members = Members::read(&seen.answer.body);
        let whole = match (&self.members, &members) {
            (Some(before), Some(now)) => now.contains(before),
            _ => false,
        };
        // Servers say where they left something out for the token's sake; a view does not.
        let filtered = seen.known.is_some_and(|known| known.filtered);
        if whole && filtered && self.doubted.is_some_and(|doubted| doubted.hash == seen.hash) {
            return Verdict::Nothing(answered);
        }
        if whole && !filtered {
            self.doubted = None;
            return Verdict::Believed;
        }
        // The servers have said otherwise, at a smaller index: there the view would say the same again at once.
        let doubted = Doubted { hash: seen.hash, index: answered };
        if self.doubted.replace(doubted) == Some(doubted) && index.held().is_some_and(|held| answered > held)
        {
            return Verdict::Nothing(answered);
        }
        Verdict::Doubted
    }

    /// Whether the next answer has to be read for its instances, although nothing else is new.
    pub(super) fn knows_no_members(&self) -> bool {
        self.members.is_none()
    }

    /// The answer is believed.
    pub(super) fn believe(&mut self, answer: &Answer) {
        self.members = Members::read(&answer.body);
        self.doubted = None;
    }

    /// Who has answered, and whether it was a long poll: so it is known when the servers are to be asked again.
    pub(super) fn heard(&mut self, backend: Backend, polled: bool, wait: Duration) {
        self.due = match backend {
            Backend::View => Some(self.due.unwrap_or_else(|| due(wait))),
            Backend::Server if !polled => Some(due(wait)),
            Backend::Server | Backend::Unsaid => None,
        };
    }

    /// How long the next poll may wait until the servers have to be asked. `None`: they are to be asked now.
    pub(super) fn wait(&self, wait: Duration) -> Option<Duration> {
        let Some(due) = self.due else { return Some(wait) };
        let left = due.saturating_duration_since(Instant::now());
        (left > NEARLY).then(|| left.min(wait))
    }
}

/// Up to a fourth sooner, so that not all services are read at one time.
fn due(wait: Duration) -> Instant {
    let after = LATEST.min(wait.saturating_mul(WAITS));
    Instant::now() + after - (after / 4).mul_f64(fastrand::f64())
}

#[cfg(test)]
mod tests;
