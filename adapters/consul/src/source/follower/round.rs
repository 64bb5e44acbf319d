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
        self.round.began = Some(Instant::now());
        self.round.left = self.services.latest_first().into();
    }

    /// Once every service has been asked, what they say is confirmed; then comes the rest.
    pub(super) fn end_round(&mut self) {
        let over = self.round.left.is_empty() && self.urgent.is_empty() && self.reading == 0;
        let Some(began) = self.round.began.filter(|_| over) else { return };
        self.round.began = None;
        self.round.resting = true;
        self.news = true;
        let took = began.elapsed();
        let rest = async move {
            sleep(took).await;
            Reply::Rested
        };
        self.open.push(rest.boxed());
    }
}
