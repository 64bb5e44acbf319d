//! A registry whose endpoints have backends before anyone hears of them.

use std::convert::Infallible;

use pilot_registry::{
    Fault, Feed, RegistryError, RegistryHealth, ServiceRegistry, Snapshot, SnapshotSink, async_trait, channel,
};
use tokio::sync::watch;

use super::backends::Backends;
use super::scene::Scene;

/// Stands between a registry and pilot: passes on what it says, as soon as its backends are open.
pub(super) struct BackedRegistry {
    inner: Box<dyn ServiceRegistry>,
    scene: watch::Sender<Scene>,
}

impl BackedRegistry {
    /// Wraps a registry. The receiver follows what belongs to its services.
    pub(super) fn new(inner: Box<dyn ServiceRegistry>) -> (Self, watch::Receiver<Scene>) {
        let (scene, receiver) = watch::channel(Scene::default());
        (Self { inner, scene }, receiver)
    }

    /// Passes on the value and the troubles of the inner registry.
    async fn pass_on(
        &self,
        feed: &Feed<Snapshot>,
        sink: &SnapshotSink,
        backends: &mut Backends,
        fault: &mut Option<Fault<Snapshot>>,
    ) {
        let (published, skipped, health) =
            feed.with_state(|state| (state.published.clone(), state.skipped.clone(), state.health()));
        // A new fault is there before the value, and an old one until after it.
        let old = match &health {
            RegistryHealth::Degraded(trouble) => fault.replace(sink.fault(trouble.error.clone())),
            RegistryHealth::Live | RegistryHealth::Connecting => fault.take(),
        };
        let mut scene = published.as_ref().map(|it| Scene::of(&it.value)).unwrap_or_default();
        scene.notes.extend(backends.follow(&scene.backends).await);
        if let RegistryHealth::Degraded(trouble) = &health {
            scene.notes.push(trouble.error.chain());
        }
        scene.notes.extend(skipped.iter().map(|(entry, why)| format!("{entry}: {why}")));
        self.scene.send_replace(scene);
        if let Some(published) = published {
            skipped.iter().for_each(|(entry, why)| sink.skipped(entry, why));
            sink.publish(Snapshot::clone(&published.value));
        }
        drop(old);
    }
}

#[async_trait]
impl ServiceRegistry for BackedRegistry {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    async fn run(&self, sink: &SnapshotSink) -> Result<Infallible, RegistryError> {
        let (own_sink, feed) = channel();
        let mut changes = feed.subscribe();
        let mut inner = self.inner.run(&own_sink);
        let (mut backends, mut fault) = (Backends::default(), None);
        loop {
            tokio::select! {
                ended = &mut inner => return ended,
                // It cannot fail: the sending end is this function's.
                _ = changes.changed() => self.pass_on(&feed, sink, &mut backends, &mut fault).await,
                () = backends.close_next() => {}
            }
        }
    }
}
