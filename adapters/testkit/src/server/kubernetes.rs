//! An API server of Kubernetes, in this process: what lists and watches of it look like over HTTP, and
//! what goes wrong with them.
//!
//! ```text
//!  test ── put, delete, compact, forbid … ──► Store (objects, revisions, history) ──► lists, watches
//! ```
//!
//! It knows objects, not their meaning: nothing is defaulted or validated, and no controller runs. Lists
//! have pages of one revision; watches have bookmarks, resume from a revision, and expire with 410; both may
//! be asked for metadata only, and be selected by labels and fields (`=`, `!=`).

mod answer;
mod body;
mod query;
mod real;
mod stall;
mod store;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;
use http::StatusCode;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::{Mutex, MutexGuard};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::watch::Sender;

use super::Acceptor;
pub use real::{KubeApiServer, Rest};
use stall::Stall;
use store::Store;

/// A kubeconfig with one context: that cluster (`server`, …), as that user (`token`, …).
pub fn kubeconfig(cluster: &Value, user: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "clusters": [{ "name": "test", "cluster": cluster }],
        "users": [{ "name": "test", "user": user }],
        "contexts": [{ "name": "test", "context": { "cluster": "test", "user": "test" } }],
    })
}

/// The server. Its connections end with it.
#[derive(Debug)]
pub struct KubernetesServer {
    acceptor: Acceptor,
    shared: Arc<Shared>,
}

/// What connections share with the test.
#[derive(Debug)]
struct Shared {
    world: Mutex<World>,
    /// Counts changes of the world: watches look again.
    changed: Sender<u64>,
    stall: Stall,
    /// Cloned for each open watch.
    watches: Arc<()>,
}

#[derive(Debug, Default)]
struct World {
    store: Store,
    /// The bearer token that is asked for.
    token: String,
    /// Nobody is who he says: 401.
    locked: bool,
    /// Resources that may not be listed or watched, and `version`: 403.
    forbidden: BTreeSet<String>,
    /// Resources of which every request ends with such a status.
    failing: BTreeMap<String, StatusCode>,
    /// Answers are no JSON.
    garbled: bool,
    /// Whether watches may begin with all objects (`sendInitialEvents`); if not: 422.
    streaming: bool,
    /// Whether the storage can report progress; if not, such watches end with an error in the stream.
    progress: bool,
    /// Counts the bookmarks that were asked for.
    bookmarks: u64,
    /// Counts how often all watches were ended.
    ended: u64,
    /// What they said last, if not in order.
    ended_with: Option<StatusCode>,
    requests: BTreeMap<String, usize>,
    /// The custom resources that are there, by `group/version`.
    custom: BTreeMap<String, BTreeSet<String>>,
}

impl KubernetesServer {
    /// A server without objects, on a loopback port of its own, that asks for a bearer token.
    ///
    /// # Errors
    /// The system has no port left.
    pub async fn start(token: &str) -> Result<Self> {
        let world = World { token: token.to_owned(), streaming: true, progress: true, ..World::default() };
        let shared = Arc::new(Shared {
            world: Mutex::new(world),
            changed: Sender::new(0),
            stall: Stall::default(),
            watches: Arc::new(()),
        });
        let world = Arc::clone(&shared);
        let acceptor = Acceptor::start(move |stream| serve(stream, Arc::clone(&world))).await?;
        Ok(Self { acceptor, shared })
    }

    /// Ends the server, as if it were killed: nobody listens any more, and what is open is closed. Objects are
    /// elsewhere, as in etcd: they stay, and can be written.
    pub fn stop(&mut self) {
        self.acceptor.stop();
    }

    /// Starts a server that was [stopped](Self::stop), at the same address and with the objects. What happened
    /// before is not in its memory: versions that clients know have expired (410).
    ///
    /// # Errors
    /// Somebody else has taken its port.
    pub async fn start_again(&mut self) -> Result<()> {
        self.acceptor.stopped().await;
        self.compact();
        let world = Arc::clone(&self.shared);
        let serve = move |stream| serve(stream, Arc::clone(&world));
        self.acceptor = Acceptor::start_at(self.address(), serve).await?;
        Ok(())
    }

    /// Where it listens; HTTP without TLS.
    pub fn address(&self) -> SocketAddr {
        self.acceptor.address()
    }

    /// Creates or replaces an object of a resource (`services`), by its metadata. Writing what is there
    /// already changes nothing, not even its version.
    ///
    /// # Panics
    /// It is no object with `metadata.name`.
    pub fn put(&self, resource: &str, object: Value) {
        self.change(|world| world.store.put(resource, object));
    }

    /// Deletes an object, if there is one. The namespace of what has none is empty.
    pub fn delete(&self, resource: &str, namespace: &str, name: &str) {
        self.change(|world| world.store.delete(resource, namespace, name));
    }

    /// The names of a resource's objects, with their namespaces.
    pub fn names(&self, resource: &str) -> Vec<(String, String)> {
        self.look(|world| world.store.names(resource))
    }

    /// Whether there is such a custom resource (`virtualservices`), in these versions (`networking.istio.io/v1`) and in no
    /// other. Without any, requests for it are answered with 404, and its objects are gone.
    pub fn set_custom(&self, resource: &str, versions: &[&str]) {
        self.change(|world| {
            world.custom.values_mut().for_each(|resources| _ = resources.remove(resource));
            for version in versions {
                world.custom.entry((*version).to_owned()).or_default().insert(resource.to_owned());
            }
            world.custom.retain(|_, resources| !resources.is_empty());
            if versions.is_empty() {
                for (namespace, name) in world.store.names(resource) {
                    world.store.delete(resource, &namespace, &name);
                }
                (world.ended, world.ended_with) = (world.ended + 1, None);
            }
        });
    }

    /// Forgets all history: watches and the pages of lists that are open expire (410).
    pub fn compact(&self) {
        self.change(|world| world.store.compact());
    }

    /// Ends all watches in order, as their time-outs do. Clients may resume.
    pub fn end_watches(&self) {
        self.change(|world| (world.ended, world.ended_with) = (world.ended + 1, None));
    }

    /// Ends all watches with an error in the stream, as a server does that is in trouble.
    pub fn fail_watches(&self, code: StatusCode) {
        self.change(|world| (world.ended, world.ended_with) = (world.ended + 1, Some(code)));
    }

    /// Sends a bookmark on each watch.
    pub fn bookmark(&self) {
        self.change(|world| world.bookmarks += 1);
    }

    /// Whether every request is refused with 401.
    pub fn set_locked(&self, locked: bool) {
        self.change(|world| world.locked = locked);
    }

    /// Whether requests for a resource, or for the server's `version`, are refused with 403.
    pub fn set_forbidden(&self, resource: &str, forbidden: bool) {
        self.change(|world| match forbidden {
            true => world.forbidden.insert(resource.to_owned()),
            false => world.forbidden.remove(resource),
        });
    }

    /// Whether requests for a resource are answered with such a status, 503 for example.
    pub fn set_failing(&self, resource: &str, code: Option<StatusCode>) {
        self.change(|world| match code {
            Some(code) => world.failing.insert(resource.to_owned(), code),
            None => world.failing.remove(resource),
        });
    }

    /// Whether answers make no sense.
    pub fn set_garbled(&self, garbled: bool) {
        self.change(|world| world.garbled = garbled);
    }

    /// Whether streaming lists are supported; if not, they are answered with 422.
    pub fn set_streaming(&self, streaming: bool) {
        self.change(|world| world.streaming = streaming);
    }

    /// Whether the storage can report progress, as etcd can since 3.4.31 and 3.5.13. If not, streaming lists
    /// begin well (200) and end with an error (500) in their first event.
    pub fn set_progress(&self, progress: bool) {
        self.change(|world| world.progress = progress);
    }

    /// Whether lists of more than one object stop after a part of them has been sent.
    pub fn set_stalled(&self, stalled: bool) {
        self.shared.stall.set(stalled);
    }

    /// Waits until somebody waits for the rest of a list.
    pub async fn stalled(&self) {
        self.shared.stall.somebody_waits().await;
    }

    /// How often a resource was asked for, by verb: `list pods`, `watch pods`.
    pub fn requests(&self) -> BTreeMap<String, usize> {
        self.look(|world| world.requests.clone())
    }

    /// How many watches are open.
    pub fn open_watches(&self) -> usize {
        Arc::strong_count(&self.shared.watches) - 1
    }

    fn change<R>(&self, change: impl FnOnce(&mut World) -> R) {
        change(&mut self.shared.lock());
        self.shared.changed.send_modify(|count| *count += 1);
    }

    fn look<R>(&self, look: impl FnOnce(&World) -> R) -> R {
        look(&self.shared.lock())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock()
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let answer = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, std::convert::Infallible>(answer::answer(&shared, &request)) }
    });
    _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
}
