//! Logs of tests that look at them.

use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{DefaultGuard, set_default, set_global_default};
use tracing::{Event, Metadata, Subscriber};

/// Everything that this thread logs goes to that subscriber, until what this gives is dropped.
///
/// More than `tracing`'s own: where another thread, which nobody listens to, is the first to come to a place that
/// logs, `tracing` may remember that nobody listens there. So from now on somebody listens on all threads.
pub fn follow(subscriber: impl Subscriber + Send + Sync + 'static) -> DefaultGuard {
    // Refused where there is one already: then somebody listens.
    _ = set_global_default(Nowhere);
    set_default(subscriber)
}

/// Listens to everything, and keeps nothing.
struct Nowhere;

impl Subscriber for Nowhere {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
