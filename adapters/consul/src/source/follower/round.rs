//! Rounds in which every service is probed.

use std::collections::VecDeque;

use futures_util::FutureExt;
use tokio::time::{Instant, sleep};

use super::Follower;
use crate::source::reply::{Key, Reply};

/// A round of probes of all services.
#[derive(Debug, Default)]
pub(super) struct Round {
    /// Those still to be probed.
    pub(super) left: VecDeque<Key>,
    pub(super) began: Option<Instant>,
    pub(super) resting: bool,
    /// Whether another one is due.
    pub(super) again: bool,
    /// Whether it was time, and nothing had been heard of a change.
    idle: bool,
}

impl Round {
    /// None, but for the rest after that one.
    pub(super) fn after(one: &Self) -> Self {
        Self { resting: one.resting, ..Self::default() }
    }
}

impl Follower<'_> {
    pub(super) fn recheck_later(&mut self) {
        let time = self.config.limits.wait();
        let later = async move {
            sleep(time).await;
            Reply::Recheck
        };
        self.open.push(later.boxed());
    }

    pub(super) fn probe_all(&mut self) {
        if !self.in_turn {
            return;
        }
        if self.round.began.is_some() || self.round.resting {
            self.round.again = true;
            return;
        }
        self.begin_round(false);
    }

    /// Probes all because it is time, unless that is being done.
    pub(super) fn recheck(&mut self) {
        if self.in_turn && self.round.began.is_none() && !self.round.resting {
            self.begin_round(true);
        }
    }

    fn begin_round(&mut self, idle: bool) {
        self.round.began = Some(Instant::now());
        self.round.idle = idle;
        self.round.left = self.services.latest_first().into();
    }

    /// Once every service has been asked, what they say is confirmed; then comes the rest. What changed while
    /// nothing but time was the reason to ask does not wait for that.
    pub(super) fn end_round(&mut self) {
        let over = self.round.left.is_empty() && self.urgent.is_empty() && self.reading == 0;
        let Some(began) = self.round.began.filter(|_| over) else { return };
        self.round.began = None;
        self.news = true;
        if self.round.idle && std::mem::take(&mut self.round.again) {
            return self.begin_round(false);
        }
        self.round.resting = true;
        let took = began.elapsed();
        let rest = async move {
            sleep(took).await;
            Reply::Rested
        };
        self.open.push(rest.boxed());
    }
}
