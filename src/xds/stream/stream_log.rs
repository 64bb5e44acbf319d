//! What the log says of a stream's beginning and of its end.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::time::Instant;
use tracing::field::display;

use crate::proxy::Proxy;
use crate::resources::ResourceType;

/// Says that a stream is opened, and when it is dropped, that it is closed.
pub(super) struct StreamLog {
    proxy: Arc<str>,
    peer: Option<SocketAddr>,
    variant: &'static str,
    only: Option<ResourceType>,
    opened: Instant,
    why: Box<str>,
}

impl StreamLog {
    /// A stream was opened. `only`: the type of one that serves a single type.
    pub(super) fn new(
        proxy: &Proxy,
        peer: Option<SocketAddr>,
        variant: &'static str,
        only: Option<ResourceType>,
    ) -> Self {
        let (id, kind) = (&*proxy.id, only.map(display));
        tracing::info!(proxy = id, peer = peer.map(display), variant, kind, "stream opened");
        let (proxy, opened) = (Arc::clone(&proxy.id), Instant::now());
        Self { proxy, peer, variant, only, opened, why: "its connection ended".into() }
    }

    /// Why it ends, where it is more than that its connection does.
    pub(super) fn because(&mut self, why: &str) {
        self.why = why.into();
    }
}

impl Drop for StreamLog {
    fn drop(&mut self) {
        let (peer, kind) = (self.peer.map(display), self.only.map(display));
        let (proxy, variant, why) = (&*self.proxy, self.variant, &*self.why);
        let open_s = self.opened.elapsed().as_secs();
        tracing::info!(proxy, peer, variant, kind, open_s, why, "stream closed");
    }
}
