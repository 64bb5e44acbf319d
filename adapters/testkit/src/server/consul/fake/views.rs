//! The views of an agent that streams: what it has of each service that somebody waits for.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::StatusCode;

use super::entries::as_in_a_view;
use super::found::Now;
use super::mood::Streams;

const BROKEN: &str = "rpc error: code = Unavailable desc = all SubConns are in TransientFailure, latest connection \
                      error: connection closed";

#[derive(Debug)]
pub(super) struct Views {
    pub(super) streams: Streams,
    /// How often all streams have failed.
    pub(super) breaks: u64,
    /// What who waits is told then.
    pub(super) failure: (StatusCode, &'static str),
    all: BTreeMap<String, View>,
    made: usize,
}

/// What the agent has of one service, for one token and some tags.
#[derive(Clone, Debug)]
pub(super) struct View {
    service: String,
    /// 0 until it is filled.
    pub(super) index: u64,
    /// The instances, before tags and rights are looked at.
    pub(super) body: Bytes,
    /// Counts what those who wait are woken for.
    pub(super) version: u64,
}

impl View {
    fn fill(&mut self, now: &Now) {
        self.index = now.index.max(1);
        self.body = as_in_a_view(&now.body);
        self.version += 1;
    }

    fn empty(&mut self) {
        (self.index, self.body) = (0, Bytes::from_static(b"[]"));
    }
}

impl Default for Views {
    fn default() -> Self {
        let failure = (StatusCode::INTERNAL_SERVER_ERROR, BROKEN);
        Self { streams: Streams::default(), breaks: 0, failure, all: BTreeMap::new(), made: 0 }
    }
}

impl Views {
    /// How many have been made so far.
    pub(super) fn made(&self) -> usize {
        self.made
    }

    /// The view of that key as it is; at its first use it is made, and filled with what there is now.
    pub(super) fn get(&mut self, key: &str, service: &str, now: &Now) -> View {
        let fills = matches!(self.streams, Streams::Fair | Streams::Stuck);
        let made = &mut self.made;
        let view = self.all.entry(key.to_owned()).or_insert_with(|| {
            *made += 1;
            let mut view =
                View { service: service.to_owned(), index: 0, body: Bytes::from_static(b"[]"), version: 0 };
            if fills {
                view.fill(now);
            }
            view
        });
        view.clone()
    }

    /// The service has changed.
    pub(super) fn event(&mut self, service: &str, index: u64, body: &Bytes) {
        if self.streams == Streams::Fair {
            let now = Now { index, body: body.clone() };
            let concerned = |view: &&mut View| view.service.eq_ignore_ascii_case(service);
            self.all.values_mut().filter(concerned).for_each(|view| view.fill(&now));
        }
    }

    /// Each gets a snapshot of what there is.
    pub(super) fn refill(&mut self, now: impl Fn(&str) -> Now) {
        if self.streams == Streams::Fair {
            self.all.values_mut().for_each(|view| view.fill(&now(&view.service)));
        }
    }

    /// Each gets a snapshot under the same index, of which nobody hears who waits.
    pub(super) fn replace_content(&mut self, body: impl Fn(&str) -> Bytes) {
        if self.streams == Streams::Fair {
            self.all.values_mut().for_each(|view| view.body = as_in_a_view(&body(&view.service)));
        }
    }

    pub(super) fn empty(&mut self) {
        self.all.values_mut().for_each(View::empty);
    }

    pub(super) fn forget(&mut self) {
        self.all.clear();
    }
}
