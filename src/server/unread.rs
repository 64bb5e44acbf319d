//! Ends streams whose clients do not read, while they hold what others wait for.
//!
//! ```text
//!  Executor ─► Watched ─► hyper ─► does a piece of the response wait for room in the client's window?
//!                │                  ├ no ───► the body is asked: requests are read, time limits are looked at
//!                │                  └ yes ──► the body is not asked, whatever it waits for
//!                └ woken without that, and it holds something: 30 s later the stream is reset
//! ```
//!
//! A body that is not asked for more cannot look at a clock. So who watches the time stands outside of it. Whatever has a
//! limit wakes the stream at the latest then, and finds out here that the client takes nothing. A slow client that holds
//! nothing may be as slow as it likes.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hyper::rt::Executor;
use hyper_util::rt::TokioExecutor;
use tokio::time::{Sleep, sleep};

use crate::metrics::Metrics;
use crate::said::Said;
use crate::xds::stream::InHand;

tokio::task_local! {
    static WATCH: Watch;
}

/// What is known of a stream from within.
#[derive(Clone, Default)]
pub(super) struct Watch(Arc<Observed>);

#[derive(Default)]
struct Observed {
    peer: OnceLock<SocketAddr>,
    /// What it holds that others wait for.
    in_hand: InHand,
    /// Its body was asked for more.
    was_asked: AtomicBool,
}

impl Watch {
    /// Of the stream that is being answered, which a client at that address has opened.
    pub(super) fn current(peer: Option<SocketAddr>) -> Self {
        let watch = WATCH.try_with(Self::clone).unwrap_or_default();
        peer.into_iter().for_each(|peer| _ = watch.0.peer.set(peer));
        watch
    }

    /// What the stream holds.
    pub(super) fn in_hand(&self) -> &InHand {
        &self.0.in_hand
    }

    /// The body is asked for more.
    pub(super) fn asked(&self) {
        self.0.was_asked.store(true, Ordering::Relaxed);
    }
}

/// Runs the streams of all connections.
#[derive(Clone)]
pub(super) struct WatchingExecutor(Arc<UnreadSettings>);

struct UnreadSettings {
    limit: Duration,
    metrics: Metrics,
    said: Said<std::net::IpAddr>,
}

impl WatchingExecutor {
    /// A stream whose client reads nothing for `limit` ends, if it holds something.
    pub(super) fn new(limit: Duration, metrics: Metrics) -> Self {
        Self(Arc::new(UnreadSettings { limit, metrics, said: Said::default() }))
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for WatchingExecutor {
    fn execute(&self, stream: F) {
        let watch = Watch::default();
        let stream = WATCH.scope(watch.clone(), stream).boxed();
        let settings = Arc::clone(&self.0);
        TokioExecutor::new().execute(Watched { stream, watch, alarm: None, settings });
    }
}

/// A stream. Dropping it resets it.
struct Watched {
    stream: BoxFuture<'static, ()>,
    watch: Watch,
    alarm: Option<Pin<Box<Sleep>>>,
    settings: Arc<UnreadSettings>,
}

impl Future for Watched {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let known = &this.watch.0;
        known.was_asked.store(false, Ordering::Relaxed);
        if this.stream.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        if known.was_asked.load(Ordering::Relaxed) || !known.in_hand.holds() {
            this.alarm = None;
            return Poll::Pending;
        }
        let limit = this.settings.limit;
        ready!(this.alarm.get_or_insert_with(|| Box::pin(sleep(limit))).as_mut().poll(context));
        this.settings.metrics.refused("unread");
        match known.peer.get() {
            Some(peer) if !this.settings.said.first(peer.ip()) => {}
            peer => tracing::warn!(
                peer = peer.map(tracing::field::display),
                "xDS port: a stream is closed: its client has read nothing for {limit:?}, and others wait for what it holds"
            ),
        }
        Poll::Ready(())
    }
}
