//! Answers as Consul does, in this process: blocking queries, indexes of each service, headers. And as a
//! healthy Consul does not: without a leader, without history, with nonsense, half a list.
//!
//! ```text
//!  FakeConsul ── put, remove, … ──► Catalog (bodies are rendered when they change)
//!       └── HTTP/1.1 on loopback ──► answers: at once, or once the index has moved
//! ```
//!
//! Where it and a real Consul disagree, it is wrong.

mod answers;
mod catalog;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::server::Acceptor;
pub use catalog::Mood;
use catalog::{Catalog, Stall};

/// A fake agent. It ends when it is dropped.
#[derive(Debug)]
pub struct FakeConsul {
    acceptor: Acceptor,
    shared: Arc<Shared>,
}

/// What the connections share with the test.
#[derive(Debug)]
struct Shared {
    catalog: Mutex<Catalog>,
    /// Counts changes, so that who waits looks again.
    changes: watch::Sender<u64>,
    stall: watch::Sender<Stall>,
    counts: Mutex<Counts>,
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
}

impl FakeConsul {
    /// Starts an agent of an empty datacenter `dc1`. With a token, nothing is allowed without it.
    ///
    /// # Errors
    /// The system has no port left.
    pub async fn start(token: Option<&str>) -> Result<Self> {
        let shared = Arc::new(Shared {
            catalog: Mutex::new(Catalog::new(token)),
            changes: watch::Sender::default(),
            stall: watch::Sender::default(),
            counts: Mutex::default(),
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
        *self.shared.counts()
    }

    /// Writes the instances of a service, in the place of those that it had: entries of
    /// `/v1/health/service/NAME`.
    pub fn put(&self, service: &str, instances: &[Value]) {
        self.change(|catalog| catalog.put(service, instances));
    }

    /// Removes a service with all its instances.
    pub fn remove(&self, service: &str) {
        self.change(|catalog| catalog.remove(service));
    }

    /// Begins the indexes anew, smaller than before, with the same content. Who waits is answered at once.
    pub fn lose_history(&self) {
        self.change(Catalog::lose_history);
    }

    /// Behaves like that from now on. Who waits already goes on waiting.
    pub fn behave(&self, mood: Mood) {
        self.shared.catalog().mood = mood;
    }

    /// Refuses the token from now on, or no longer.
    pub fn revoke(&self, revoked: bool) {
        self.shared.catalog().revoked = revoked;
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
        self.catalog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
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
