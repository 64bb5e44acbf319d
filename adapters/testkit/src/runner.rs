//! Follows a registry the way pilot's supervisor does, for tests: attempt after attempt, health beside
//! the value.

use std::convert::Infallible;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use async_trait::async_trait;
use pilot_registry::{
    Content, Feed, RegistryError, RegistryHealth, RuleStore, ServiceRegistry, Sink, Snapshot, SnapshotSink,
    State, Status, TextSink, Texts, Trouble, channel,
};
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;

/// Long enough for a loaded machine: only a test that fails waits as long as this.
const PATIENCE: Duration = Duration::from_secs(30);

/// Short, so that an outage is over soon after its cause; not zero, so that a refused attempt does not spin.
const PAUSE: Duration = Duration::from_millis(20);

/// A registry, or a store of rules, that is being followed, until this is dropped.
#[derive(Debug)]
pub struct Runner<T: Content = Snapshot> {
    feed: Feed<T>,
    attempts: JoinSet<()>,
    patience: Duration,
}

/// Who can be asked for a value.
#[async_trait]
trait Asked<T: Content>: Send + Sync + 'static {
    async fn attempt(&self, sink: &Sink<T>) -> Result<Infallible, RegistryError>;
}

#[async_trait]
impl Asked<Snapshot> for Arc<dyn ServiceRegistry> {
    async fn attempt(&self, sink: &SnapshotSink) -> Result<Infallible, RegistryError> {
        self.run(sink).await
    }
}

#[async_trait]
impl Asked<Texts> for Arc<dyn RuleStore> {
    async fn attempt(&self, sink: &TextSink) -> Result<Infallible, RegistryError> {
        self.run(sink).await
    }
}

impl Runner {
    /// Follows the registry. To be called in a runtime.
    pub fn start(registry: Arc<dyn ServiceRegistry>) -> Self {
        Self::following(registry)
    }

    /// Waits until the registry is live and says exactly this.
    ///
    /// # Errors
    /// It took too long, or the registry panicked.
    pub async fn sees(&mut self, expected: &Snapshot) -> Result<()> {
        let live = |state: &State<Snapshot>| matches!(state.health(), RegistryHealth::Live);
        let seen = self.until("the expected services", |state| {
            let published = state.published.as_ref()?;
            (live(state) && *published.value == *expected).then_some(())
        });
        let seen = seen.await;
        seen.map_err(|error| anyhow!("{error}; {}", difference(expected, self.feed.published())))
    }
}

impl Runner<Texts> {
    /// Follows the store of rules. To be called in a runtime.
    pub fn of_rules(store: Arc<dyn RuleStore>) -> Self {
        Self::following(store)
    }
}

impl<T: Content> Runner<T> {
    fn following(asked: impl Asked<T>) -> Self {
        let (sink, feed) = channel();
        let mut attempts = JoinSet::new();
        attempts.spawn(attempt_for_ever(asked, sink, feed.clone()));
        Self { feed, attempts, patience: PATIENCE }
    }

    /// The same, with another time for which each wait lasts at most.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// What the registry says.
    pub fn feed(&self) -> &Feed<T> {
        &self.feed
    }

    /// How many different values were published.
    pub fn revision(&self) -> u64 {
        self.feed.published().map_or(0, |published| published.revision)
    }

    /// Waits until `look` finds something.
    ///
    /// # Errors
    /// It took too long, or the registry panicked.
    pub async fn until<R>(&mut self, what: &str, mut look: impl FnMut(&State<T>) -> Option<R>) -> Result<R> {
        let mut states = self.feed.subscribe();
        let wait = async {
            loop {
                let found = look(&states.borrow_and_update());
                match found {
                    Some(found) => return found,
                    // The feed keeps the channel open.
                    None => _ = states.changed().await,
                }
            }
        };
        let found = tokio::select! {
            found = timeout(self.patience, wait) => found,
            Some(Err(ended)) = self.attempts.join_next() => bail!(panic_of(ended)),
        };
        found.map_err(|_| anyhow!("waited {:?} in vain for {what}; {}", self.patience, self.describe()))
    }

    /// Waits until the registry is degraded, and says why.
    ///
    /// # Errors
    /// It took too long, or the registry panicked.
    pub async fn degraded(&mut self) -> Result<Trouble> {
        let trouble = |state: &State<T>| match state.health() {
            RegistryHealth::Degraded(trouble) => Some(trouble),
            _ => None,
        };
        self.until("the registry to be degraded", trouble).await
    }

    /// Waits until `look` finds something in what the registry tells of itself.
    ///
    /// # Errors
    /// It took too long, or the registry panicked.
    pub async fn until_status<R>(
        &mut self,
        what: &str,
        mut look: impl FnMut(&Status) -> Option<R>,
    ) -> Result<R> {
        let wait = async {
            loop {
                match look(&self.feed.status()) {
                    Some(found) => return found,
                    // It wakes nobody.
                    None => tokio::task::yield_now().await,
                }
            }
        };
        let found = tokio::select! {
            found = timeout(self.patience, wait) => found,
            Some(Err(ended)) = self.attempts.join_next() => bail!(panic_of(ended)),
        };
        found.map_err(|_| anyhow!("waited {:?} in vain for {what}; {:?}", self.patience, self.feed.status()))
    }

    /// Ends the attempt that runs, and returns when it is gone.
    pub async fn stop(&mut self) {
        self.attempts.shutdown().await;
    }

    fn describe(&self) -> String {
        let skipped = self.feed.with_state(|state| Arc::clone(&state.skipped));
        format!("revision: {}, skipped: {skipped:?}, health: {:?}", self.revision(), self.feed.health())
    }
}

async fn attempt_for_ever<T: Content>(asked: impl Asked<T>, sink: Sink<T>, feed: Feed<T>) {
    loop {
        let Err(error) = asked.attempt(&sink).await;
        feed.attempt_failed(error);
        tokio::time::sleep(PAUSE).await;
    }
}

fn panic_of(ended: JoinError) -> String {
    let Ok(panic) = ended.try_into_panic() else { return "the attempt was cancelled".to_owned() };
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    match text.or_else(|| panic.downcast_ref::<String>().cloned()) {
        Some(text) => format!("the registry panicked: {text}"),
        None => resume_unwind(panic),
    }
}

fn difference(expected: &Snapshot, published: Option<pilot_registry::Published<Snapshot>>) -> String {
    let Some(published) = published else { return "nothing was published".to_owned() };
    let seen = &published.value;
    let of = |some: &Snapshot, other: &Snapshot| {
        let differs = |host: &str| some.get(host) != other.get(host);
        let services = some.services().iter().filter(|service| differs(service.host.as_str()));
        services.take(3).map(|service| format!("{service:?}")).collect::<Vec<_>>().join(", ")
    };
    format!("expected [{}], seen [{}]", of(expected, seen), of(seen, expected))
}
