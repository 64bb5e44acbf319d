//! Answers as Consul does, in this process: blocking queries, indexes of each service, headers, and the views of
//! an agent that streams. And as a healthy Consul does not: without a leader, without history, with nonsense,
//! half a list, with streams that break.
//!
//! ```text
//!  FakeConsul ── put, remove, … ──► Catalog ── events ──► Views (of an agent that streams)
//!       └── HTTP/1.1 on loopback ──► Question ──► plain: at once, or once the index has moved
//!                                             └─► view:  the same, out of the agent's memory
//! ```
//!
//! Where it and a real Consul disagree, it is wrong.

mod answers;
mod catalog;
mod entries;
mod found;
mod mood;
mod plain;
mod question;
mod view;
mod views;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use http::StatusCode;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::{Mutex, MutexGuard};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::server::Acceptor;
use catalog::Catalog;
use mood::Stall;
pub use mood::{Mood, Profile, Streams};

/// A fake agent. It ends when it is dropped.
#[derive(Debug)]
pub struct FakeConsul {
    acceptor: Acceptor,
    shared: Arc<Shared>,
}

/// What the connections share with the test.
#[derive(Debug)]
struct Shared {
    profile: Profile,
    catalog: Mutex<Catalog>,
    /// Counts changes, so that who waits looks again.
    changes: watch::Sender<u64>,
    stall: watch::Sender<Stall>,
    counts: Mutex<Counts>,
    /// Path and parameters of each request.
    asked: Mutex<Vec<String>>,
}

/// What clients have done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections that were opened.
    pub opened: usize,
    /// Connections that are open.
    pub open: usize,
    /// The most that were open at one time.
    pub most: usize,
    /// Requests.
    pub requests: usize,
    /// Questions that wait for a change at the moment.
    pub waiting: usize,
    /// Views that the agent has made.
    pub views: usize,
}

impl FakeConsul {
    /// Starts an agent of an empty datacenter `dc1`, as old as the real one that tests have. With a token,
    /// nothing is allowed without it.
    ///
    /// # Errors
    /// The system has no port left.
    pub async fn start(token: Option<&str>) -> Result<Self> {
        Self::with(Profile::Plain, token).await
    }

    /// The same, of that profile.
    ///
    /// # Errors
    /// The system has no port left.
    pub async fn with(profile: Profile, token: Option<&str>) -> Result<Self> {
        let shared = Arc::new(Shared {
            profile,
            catalog: Mutex::new(Catalog::new(token)),
            changes: watch::Sender::default(),
            stall: watch::Sender::default(),
            counts: Mutex::default(),
            asked: Mutex::default(),
        });
        let served = Arc::clone(&shared);
        let acceptor = Acceptor::start(move |stream| serve(stream, Arc::clone(&served))).await?;
        Ok(Self { acceptor, shared })
    }

    /// Where it takes HTTP.
    pub fn address(&self) -> SocketAddr {
        self.acceptor.address()
    }

    /// What clients have done so far.
    pub fn counts(&self) -> Counts {
        Counts { views: self.shared.catalog().views.made(), ..*self.shared.counts() }
    }

    /// Path and parameters of each request so far, in their order.
    pub fn asked(&self) -> Vec<String> {
        self.shared.asked().clone()
    }

    /// Writes the instances of a service, in the place of those that it had: entries of
    /// `/v1/health/service/NAME`. Without any, the service is removed.
    pub fn put(&self, service: &str, instances: &[Value]) {
        self.change(|catalog| catalog.put(service, instances));
    }

    /// Removes a service with all its instances.
    pub fn remove(&self, service: &str) {
        self.change(|catalog| catalog.remove(service));
    }

    /// Restores a snapshot with the same content, whose indexes are all this one. What changes later has
    /// indexes above all that were before.
    ///
    /// Who waits for a plain answer gets it at once, with the index and the content of before. Who waits for a
    /// view goes on waiting.
    pub fn restore_snapshot(&self, index: u64) {
        self.change(|catalog| catalog.begin_anew(index));
    }

    /// Puts a new cluster with the same content in the place of the old one: the same, but what changes later
    /// counts on from this index.
    pub fn rebuild(&self, index: u64) {
        self.change(|catalog| {
            catalog.begin_anew(index);
            catalog.count_from(index);
        });
    }

    /// Behaves like that from now on. Who waits already goes on waiting.
    pub fn behave(&self, mood: Mood) {
        self.change(|catalog| catalog.mood = mood);
    }

    /// How long a server without a leader holds a question before it refuses it, beyond its wait. 7 s where
    /// nothing is said.
    pub fn hold(&self, time: Duration) {
        self.shared.catalog().hold = time;
    }

    /// Lets the agent's streams be like that from now on. Without effect where the profile has none.
    pub fn stream(&self, streams: Streams) {
        self.change(|catalog| catalog.stream(streams));
    }

    /// Fails the streams once: who waits for a view is told, and views are as they were.
    pub fn break_streams(&self) {
        self.change(|catalog| catalog.views.breaks += 1);
    }

    /// The status and the words in which streams fail from now on: agents have many.
    pub fn fail_streams_with(&self, status: StatusCode, words: &'static str) {
        self.shared.catalog().views.failure = (status, words);
    }

    /// Refuses the next questions about services, so many of them, as a server whose limit is reached.
    pub fn limit(&self, questions: usize) {
        self.shared.catalog().limited = questions;
    }

    /// Takes the right to read these nodes from the token, and gives back that to all others. Nobody who waits
    /// is woken.
    pub fn hide(&self, nodes: &[&str]) {
        self.shared.catalog().hide(nodes);
    }

    /// Refuses the token from now on, or no longer. Who waits for a view is told at once.
    pub fn revoke(&self, revoked: bool) {
        self.change(|catalog| catalog.revoked = revoked);
    }

    /// Makes the next answer about a service stop in its middle, and no other.
    pub fn stall(&self) {
        self.shared.stall.send_replace(Stall::Next);
    }

    /// Waits until an answer has stopped.
    pub async fn stalled(&self) {
        // It ends with this value, which holds the sender.
        _ = self.shared.stall.subscribe().wait_for(|stall| *stall == Stall::Now).await;
    }

    /// Lets a stalled answer go on.
    pub fn resume(&self) {
        self.shared.stall.send_replace(Stall::No);
    }

    fn change(&self, change: impl FnOnce(&mut Catalog)) {
        change(&mut self.shared.catalog());
        self.shared.changes.send_modify(|count| *count += 1);
    }
}

impl Shared {
    fn catalog(&self) -> MutexGuard<'_, Catalog> {
        self.catalog.lock()
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock()
    }

    fn asked(&self) -> MutexGuard<'_, Vec<String>> {
        self.asked.lock()
    }
}

/// Counts something for as long as it lives.
struct Counted<'a>(&'a Shared, fn(&mut Counts) -> &mut usize);

impl<'a> Counted<'a> {
    fn new(shared: &'a Shared, of: fn(&mut Counts) -> &mut usize) -> Self {
        *of(&mut shared.counts()) += 1;
        Self(shared, of)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        *(self.1)(&mut self.0.counts()) -= 1;
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let _open = Counted::new(&shared, |counts| &mut counts.open);
    note_connection(&shared);
    let service = service_fn(|request| answers::answer(&shared, request));
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(None);
    // A client that hangs up is no trouble.
    _ = server.serve_connection(TokioIo::new(stream), service).await;
}

fn note_connection(shared: &Shared) {
    let mut counts = shared.counts();
    counts.opened += 1;
    counts.most = counts.most.max(counts.open);
}
