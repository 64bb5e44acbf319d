//! Logs what happens to a registry: its first answer, skipped entries, notes, and the end of a fault.
//!
//! Adapters only tell their sink. This file writes each fact once, in one form for all adapters.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use pilot_registry::{Content, Feed, Published, RegistryHealth, Snapshot, Texts};
use tokio::time::Instant;

/// What was told of a registry.
#[derive(Default)]
struct Journal {
    skipped: Arc<BTreeMap<String, String>>,
    notes: Arc<BTreeMap<String, String>>,
    degraded: bool,
    answered: bool,
    /// That there are ports whose numbers were guessed.
    guessed: bool,
}

/// What was told of attempts that failed.
#[derive(Default)]
pub(super) struct Failed {
    said: Option<String>,
}

impl Failed {
    /// An attempt failed, after it had published something or not. What is wrong is said once, not with each
    /// attempt.
    pub(super) fn tell(&mut self, registry: &str, error: String, progress: bool, wait: Duration) {
        let retry_in_ms = wait.as_millis();
        if progress || self.said.as_ref() != Some(&error) {
            tracing::warn!(registry, error, retry_in_ms, "registry failed");
        } else {
            tracing::debug!(registry, error, retry_in_ms, "registry failed again");
        }
        self.said = Some(error);
    }
}

/// A value whose first answer is worth a line.
pub(super) trait FirstAnswer: Content {
    /// Says what there is. `skipped`: entries that make no sense.
    fn tell(&self, name: &str, skipped: usize, took_ms: u64);

    /// How many ports are served at numbers that were guessed.
    fn guessed_ports(&self) -> usize {
        0
    }
}

impl FirstAnswer for Snapshot {
    fn tell(&self, registry: &str, skipped: usize, took_ms: u64) {
        let (services, endpoints) = (self.services().len(), self.endpoint_count());
        tracing::info!(registry, services, endpoints, skipped, took_ms, "registry has answered");
    }

    fn guessed_ports(&self) -> usize {
        self.guessed_ports()
    }
}

impl FirstAnswer for Texts {
    fn tell(&self, store: &str, _: usize, took_ms: u64) {
        tracing::info!(store, texts = self.len(), took_ms, "store of rules has answered");
    }
}

/// Follows a registry, or a store, for ever.
pub(super) async fn follow<T: FirstAnswer>(name: &str, feed: &Feed<T>) -> Infallible {
    let mut states = feed.subscribe();
    states.mark_changed();
    let (mut journal, began) = (Journal::default(), Instant::now());
    // The feed outlives its receivers; should it end, there is no more to tell.
    while states.changed().await.is_ok() {
        let (skipped, notes, health, published) = {
            let state = states.borrow_and_update();
            let (skipped, notes) = (Arc::clone(&state.skipped), Arc::clone(&state.notes));
            (skipped, notes, state.health(), state.published.clone())
        };
        journal.guessed_ports(name, published.as_ref());
        journal.first_answer(name, published, skipped.len(), began.elapsed());
        journal.health(name, &health);
        journal.skipped(name, skipped);
        journal.notes(name, notes);
    }
    std::future::pending().await
}

impl Journal {
    fn first_answer<T: FirstAnswer>(
        &mut self,
        registry: &str,
        published: Option<Published<T>>,
        skipped: usize,
        took: Duration,
    ) {
        let Some(published) = published.filter(|_| !self.answered) else { return };
        self.answered = true;
        published.value.tell(registry, skipped, u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
    }

    /// Once: which they are, `pilot services` shows at any time.
    fn guessed_ports<T: FirstAnswer>(&mut self, registry: &str, published: Option<&Published<T>>) {
        let ports =
            published.filter(|_| !self.guessed).map_or(0, |published| published.value.guessed_ports());
        if ports > 0 {
            self.guessed = true;
            tracing::info!(
                registry,
                ports,
                "ports are served at numbers that were guessed: pilot services -o wide names them"
            );
        }
    }

    /// Failed attempts are told where they fail, faults by the adapter that knows what they are about.
    fn health(&mut self, registry: &str, health: &RegistryHealth) {
        let degraded = matches!(health, RegistryHealth::Degraded(_));
        if self.degraded && !degraded {
            tracing::info!(registry, "registry is in order again");
        }
        self.degraded = degraded;
    }

    fn skipped(&mut self, registry: &str, skipped: Arc<BTreeMap<String, String>>) {
        if Arc::ptr_eq(&self.skipped, &skipped) {
            return;
        }
        for (entry, why) in &*skipped {
            if self.skipped.get(entry) != Some(why) {
                tracing::warn!(registry, entry = &**entry, why = &**why, "entry skipped");
            }
        }
        for entry in self.skipped.keys().filter(|entry| !skipped.contains_key(*entry)) {
            tracing::info!(registry, entry = &**entry, "entry no longer skipped");
        }
        self.skipped = skipped;
    }

    fn notes(&mut self, registry: &str, notes: Arc<BTreeMap<String, String>>) {
        for (entry, note) in notes.iter().filter(|(entry, note)| self.notes.get(*entry) != Some(*note)) {
            tracing::info!(registry, entry = &**entry, note = &**note, "note on an entry");
        }
        self.notes = notes;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Mutex;

    use futures_util::FutureExt;
    use pilot_registry::{RegistryError, channel};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What the log says now that it did not say before.
    fn fresh(written: &Written) -> Vec<String> {
        let bytes = std::mem::take(&mut *written.0.lock().unwrap());
        String::from_utf8(bytes).unwrap().lines().map(|line| line.trim().to_owned()).collect()
    }

    #[test]
    fn the_same_failure_is_told_once() {
        let written = Written::default();
        let writer = written.clone();
        let format = tracing_subscriber::fmt().with_ansi(false).without_time().with_target(false);
        let subscriber = format.with_writer(move || writer.clone()).finish();
        let _guard = pilot_registry_testkit::logs::follow(subscriber);
        let mut failed = Failed::default();
        let mut told = |error: &str, progress| {
            failed.tell("east", error.to_owned(), progress, Duration::from_secs(1));
            fresh(&written)
        };
        let refused = r#"WARN registry failed registry="east" error="refused" retry_in_ms=1000"#;
        let denied = r#"WARN registry failed registry="east" error="denied" retry_in_ms=1000"#;
        assert_eq!(told("refused", false), [refused]);
        assert_eq!(told("refused", false), [""; 0]);
        assert_eq!(told("denied", false), [denied]);
        assert_eq!(told("denied", true), [denied], "it was in order meanwhile");
        assert_eq!(told("denied", false), [""; 0]);
    }

    #[test]
    fn each_entry_and_each_recovery_is_told_once() {
        let written = Written::default();
        let writer = written.clone();
        let format = tracing_subscriber::fmt().with_ansi(false).without_time().with_target(false);
        let subscriber = format.with_writer(move || writer.clone()).finish();
        let _guard = pilot_registry_testkit::logs::follow(subscriber);
        let (sink, feed) = channel::<Snapshot>();
        let mut journal = Box::pin(follow("east", &feed));
        let mut told = || {
            assert!(journal.as_mut().now_or_never().is_none());
            let lines = fresh(&written).into_iter();
            lines.filter(|line| !line.contains("registry has answered")).collect::<Vec<_>>()
        };
        let publish = |skipped: &[(&str, &str)]| {
            skipped.iter().for_each(|(entry, why)| sink.skipped(*entry, *why));
            sink.publish(Snapshot::default());
        };
        publish(&[("a", "no\nport"), ("b", "no host")]);
        let a = r#"WARN entry skipped registry="east" entry="a" why="no\nport""#;
        let b = r#"WARN entry skipped registry="east" entry="b" why="no host""#;
        assert_eq!(told(), [a, b]);
        publish(&[("a", "no\nport"), ("b", "no host")]);
        assert_eq!(told(), [""; 0]);
        publish(&[("b", "no port")]);
        let changed = r#"WARN entry skipped registry="east" entry="b" why="no port""#;
        let gone = r#"INFO entry no longer skipped registry="east" entry="a""#;
        assert_eq!(told(), [changed, gone]);
        let note = || {
            sink.note("c", "it was guessed");
            publish(&[("b", "no port")]);
        };
        note();
        assert_eq!(told(), [r#"INFO note on an entry registry="east" entry="c" note="it was guessed""#]);
        note();
        let fault = sink.fault(RegistryError::unavailable("no disk"));
        assert_eq!(told(), [""; 0]);
        drop(fault);
        assert_eq!(told(), [r#"INFO registry is in order again registry="east""#]);
    }

    #[test]
    fn that_ports_were_guessed_is_told_once_with_their_number() {
        let written = Written::default();
        let writer = written.clone();
        let format = tracing_subscriber::fmt().with_ansi(false).without_time().with_target(false);
        let subscriber = format.with_writer(move || writer.clone()).finish();
        let _guard = pilot_registry_testkit::logs::follow(subscriber);
        let (sink, feed) = channel::<Snapshot>();
        let mut journal = Box::pin(follow("east", &feed));
        let mut told = |guessed: &[&str]| {
            let service = |host: &&str| pilot_registry_testkit::service(host).http(80).guessed().build();
            let said = pilot_registry_testkit::service("said.local").http(80).build();
            sink.publish(Snapshot::new(guessed.iter().map(service).chain([said])).unwrap());
            assert!(journal.as_mut().now_or_never().is_none());
            let lines = fresh(&written).into_iter();
            lines.filter(|line| line.contains("guessed")).collect::<Vec<_>>()
        };
        assert_eq!(told(&[]), [""; 0]);
        let line = "INFO ports are served at numbers that were guessed: pilot services -o wide names them \
                    registry=\"east\" ports=2";
        assert_eq!(told(&["a.local", "b.local"]), [line]);
        assert_eq!(told(&["a.local", "b.local", "c.local"]), [""; 0]);
    }

    #[test]
    fn a_registrys_first_answer_is_told_with_its_numbers_and_no_other() {
        let written = Written::default();
        let writer = written.clone();
        let format = tracing_subscriber::fmt().with_ansi(false).without_time().with_target(false);
        let subscriber = format.with_writer(move || writer.clone()).finish();
        let _guard = pilot_registry_testkit::logs::follow(subscriber);
        let (sink, feed) = channel::<Snapshot>();
        let mut journal = Box::pin(follow("east", &feed));
        let mut told = || {
            assert!(journal.as_mut().now_or_never().is_none());
            fresh(&written)
        };
        assert_eq!(told(), [""; 0], "it has said nothing");
        let web = |address: &str| {
            let web = pilot_registry_testkit::service("web.local").http(80).endpoint(address, 80);
            Snapshot::new([web.endpoint("10.0.0.9", 80).build()]).unwrap()
        };
        sink.skipped("db.local", "no port");
        sink.publish(web("10.0.0.1"));
        let lines = told();
        let line = &lines[0];
        let expected =
            r#"INFO registry has answered registry="east" services=1 endpoints=2 skipped=1 took_ms="#;
        assert!(line.starts_with(expected), "{line}");
        assert_eq!(lines[1..], [r#"WARN entry skipped registry="east" entry="db.local" why="no port""#]);
        sink.skipped("db.local", "no port");
        sink.publish(web("10.0.0.2"));
        assert_eq!(told(), [""; 0]);
    }
}
