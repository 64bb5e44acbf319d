//! A registry that starts a backend for each endpoint before it publishes the endpoint.

use std::convert::Infallible;

use pilot_registry::{
    Fault, Feed, RegistryError, RegistryHealth, ServiceRegistry, Snapshot, SnapshotSink, async_trait, channel,
};
use tokio::sync::watch;
use tokio::time::Instant;

use super::backends::Backends;
use super::scene::Scene;

/// Stands between a registry and pilot: passes on what it says, as soon as its backends are open.
pub(super) struct BackedRegistry {
    inner: Box<dyn ServiceRegistry>,
    scene: watch::Sender<Scene>,
}

/// What was passed on.
#[derive(Default)]
struct Passed {
    fault: Option<Fault<Snapshot>>,
    /// When the inner registry said the value.
    checked: Option<Instant>,
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
        passed: &mut Passed,
    ) {
        let (published, skipped, notes, health) = feed.with_state(|state| {
            (state.published.clone(), state.skipped.clone(), state.notes.clone(), state.health())
        });
        // A new fault is there before the value, and an old one until after it.
        let old = match &health {
            RegistryHealth::Degraded(trouble) => passed.fault.replace(sink.fault(trouble.error.clone())),
            RegistryHealth::Live | RegistryHealth::Connecting => passed.fault.take(),
        };
        let mut scene = published.as_ref().map(|it| Scene::of(&it.value)).unwrap_or_default();
        scene.notes.extend(backends.follow(&scene.backends).await);
        if let RegistryHealth::Degraded(trouble) = &health {
            scene.notes.push(trouble.error.chain());
        }
        scene.notes.extend(skipped.iter().chain(&*notes).map(|(entry, why)| format!("{entry}: {why}")));
        self.scene.send_replace(scene);
        // Only what the inner registry says again is said again.
        if let Some(published) = published
            && passed.checked.replace(published.checked) != Some(published.checked)
        {
            skipped.iter().for_each(|(entry, why)| sink.skipped(entry, why));
            notes.iter().for_each(|(entry, note)| sink.note(entry, note));
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
        let (mut backends, mut passed) = (Backends::default(), Passed::default());
        loop {
            tokio::select! {
                // What is said last before the end is passed on too.
                biased;
                // It cannot fail: the sending end is this function's.
                _ = changes.changed() => self.pass_on(&feed, sink, &mut backends, &mut passed).await,
                ended = &mut inner => return ended,
                () = backends.close_next() => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpStream};
    use std::sync::Arc;

    use pilot_registry::{Address, Endpoint, Port, Protocol, Service, ServicePort, ServiceSpec};
    use pilot_registry_testkit::Scripted;
    use pilot_registry_testkit::server::free_address;

    use super::*;

    fn snapshot(endpoint: SocketAddr) -> Snapshot {
        let port = Port::try_from(80).unwrap();
        let own = Port::try_from(u32::from(endpoint.port())).unwrap();
        let mut spec = ServiceSpec::new("a.local".parse().unwrap());
        spec.ports = vec![ServicePort { number: port, name: "tcp".into(), protocol: Protocol::Tcp }];
        spec.endpoints = vec![Endpoint::new(Address::Ip(endpoint.ip())).serving(port, own)];
        Snapshot::new([Arc::new(Service::new(spec).unwrap())]).unwrap()
    }

    #[tokio::test]
    async fn backends_are_open_before_anyone_hears_of_them_and_troubles_are_passed_on() {
        let (inner, script) = Scripted::new();
        let (backed, scene) = BackedRegistry::new(Box::new(inner));
        let (sink, feed) = channel();
        let mut states = feed.subscribe();
        let told = async {
            let (first, second) = (free_address().unwrap(), free_address().unwrap());
            script.skip("b.local", "it makes no sense").await;
            script.publish(snapshot(first)).await;
            let checked_at =
                |state: &pilot_registry::State<Snapshot>| state.published.as_ref().map(|it| it.checked);
            let (skipped, checked) = {
                let state = states.wait_for(|state| state.published.is_some()).await.unwrap();
                (state.skipped.clone(), checked_at(&state))
            };
            TcpStream::connect(first).unwrap();
            assert_eq!(skipped.get("b.local").map(String::as_str), Some("it makes no sense"));
            assert_eq!(scene.borrow().notes, ["b.local: it makes no sense"]);

            script.fault(RegistryError::malformed("half a file")).await;
            let degraded = |state: &pilot_registry::State<Snapshot>| {
                matches!(state.health(), RegistryHealth::Degraded(_))
            };
            let later = checked_at(&states.wait_for(degraded).await.unwrap());
            assert_eq!(later, checked, "it was not said again");

            script.cure().await;
            script.publish(snapshot(second)).await;
            let is_second = |state: &pilot_registry::State<Snapshot>| {
                state.published.as_ref().is_some_and(|it| it.revision == 2) && !degraded(state)
            };
            states.wait_for(is_second).await.unwrap();
            TcpStream::connect(second).unwrap();
            TcpStream::connect(first).expect("it stays until every proxy has heard that it goes");
        };
        tokio::select! {
            ended = backed.run(&sink) => panic!("{ended:?}"),
            () = told => {}
        }
    }
}
