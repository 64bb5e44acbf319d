//! What is remembered from one attempt to the next.
//!
//! It is never published by itself: an attempt publishes only after it has read everything. It holds what an
//! attempt cannot ask for: instances that Consul hides although it lists their service, and what
//! was settled of each host, such as the port that clients have called so far.
//!
//! A service with one instance vanishes whenever that is restarted. So what was settled of a host stays for a while
//! after the host has vanished.

use std::collections::{BTreeMap, VecDeque};

use pilot_registry::Hostname;

use super::reply::Key;
use crate::convert::{Content, Settled};

/// What was settled is kept of so many hosts that have vanished: those that vanished last.
const MAX_VANISHED: usize = 1000;

/// What is remembered of services and hosts.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    /// What was said of each service, and its hash.
    pub(super) contents: BTreeMap<Key, (u64, Content)>,
    /// What was settled of each host.
    pub(super) settled: BTreeMap<Hostname, Settled>,
    /// The hosts of these that have no instances now, the one that vanished first in front.
    vanished: VecDeque<Hostname>,
}

impl Remembered {
    /// Takes what is settled of a host that has instances.
    pub(super) fn settle(&mut self, host: &Hostname, settled: Settled) {
        if self.settled.insert(host.clone(), settled).is_none() {
            return;
        }
        self.vanished.retain(|vanished| vanished != host);
    }

    /// Takes it that a host has no instances any more.
    pub(super) fn vanished(&mut self, host: &Hostname) {
        if !self.settled.contains_key(host) || self.vanished.contains(host) {
            return;
        }
        self.vanished.push_back(host.clone());
        if self.vanished.len() > MAX_VANISHED
            && let Some(oldest) = self.vanished.pop_front()
        {
            self.settled.remove(&oldest);
        }
    }

    /// The same of all hosts but those that are there.
    pub(super) fn all_vanished_but(&mut self, is_there: impl Fn(&Hostname) -> bool) {
        let gone: Vec<Hostname> = self.settled.keys().filter(|host| !is_there(host)).cloned().collect();
        gone.iter().for_each(|host| self.vanished(host));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(number: usize) -> Hostname {
        format!("h{number}.local").parse().unwrap()
    }

    #[test]
    fn what_vanished_last_is_kept_and_the_oldest_dropped() {
        let mut remembered = Remembered::default();
        for number in 0..=MAX_VANISHED {
            remembered.settle(&host(number), Settled::default());
        }
        for number in 0..MAX_VANISHED {
            remembered.vanished(&host(number));
        }
        remembered.settle(&host(0), Settled::default());
        remembered.vanished(&host(0));
        assert_eq!(remembered.settled.len(), MAX_VANISHED + 1);
        remembered.all_vanished_but(|_| false);
        assert_eq!((remembered.settled.len(), remembered.vanished.len()), (MAX_VANISHED, MAX_VANISHED));
        let kept = |number| remembered.settled.contains_key(&host(number));
        assert!(kept(0) && !kept(1) && kept(2), "the first is back, and has vanished after the others");
    }
}
