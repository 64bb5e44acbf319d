//! Following etcd: list, publish, watch from there, publish again.

use std::convert::Infallible;
use std::sync::atomic::AtomicUsize;

use etcd_client::proto::PbEvent;
use pilot_registry::{
    Content, ErrorKind, Following, Memory, RegistryError, RuleStore, ServiceRegistry, Sink, SnapshotSink,
    TextSink, async_trait,
};
use tokio::time::{Duration, Instant};

use crate::Config;
use crate::connection::Connection;
use crate::directory::Directory;
use crate::kept::{Entry, Kept};
use crate::keys::Keys;
use crate::list::{check_size, list};
use crate::texts::KeyTexts;
use crate::watch::{News, Watch};

/// How old a confirmation by etcd that nothing has changed may get before it is passed on.
const CONFIRM: Duration = Duration::from_secs(10);

/// A registry of the services that are registered in etcd. Made by [`crate::registry`].
#[derive(Debug)]
pub struct EtcdRegistry(Follower<Directory>);

/// A store of the rule documents in etcd. Made by [`crate::rules`].
#[derive(Debug)]
pub struct EtcdRules(Follower<KeyTexts>);

/// Follows the keys below a prefix.
#[derive(Debug)]
struct Follower<K> {
    config: Config,
    keys: Keys,
    turn: AtomicUsize,
    /// What was in force when the last attempt ended: where a value makes no sense now, its last good
    /// version is there.
    last: Memory<Option<K>>,
}

impl EtcdRegistry {
    pub(crate) fn new(config: Config) -> Self {
        let keys = Keys::new(&config.prefix);
        Self(Follower::new(config, keys))
    }
}

impl EtcdRules {
    pub(crate) fn new(config: Config) -> Self {
        let keys = Keys::rules(&config.prefix);
        Self(Follower::new(config, keys))
    }
}

impl<K: Kept> Follower<K> {
    fn new(config: Config, keys: Keys) -> Self {
        Self { config, keys, turn: AtomicUsize::new(0), last: Memory::default() }
    }

    async fn run(&self, sink: &Sink<K::Value>, part: &str) -> Result<Infallible, RegistryError> {
        let following = sink.following(part);
        let ended = async {
            let connection = Connection::open(&self.config, &self.keys, &self.turn).await?;
            tokio::select! {
                ended = self.attempt(&connection, sink, &following) => ended,
                never = tell_version(&connection, sink) => match never {},
            }
        };
        ended.await.inspect_err(|error| following.failed(error))
    }

    /// Follows that member until it fails.
    async fn attempt(
        &self,
        connection: &Connection,
        sink: &Sink<K::Value>,
        following: &Following,
    ) -> Result<Infallible, RegistryError> {
        let mut last = self.last.lend();
        let kept = last.get_or_insert_with(|| K::new(&self.keys));
        let mut lost = None;
        loop {
            following.listing();
            let (listed, revision) = list(connection, &self.config, &self.keys, &*kept).await?;
            *kept = listed;
            kept.publish(sink);
            drop(lost.take());
            let mut watch = Watch::open(connection, &self.config, &self.keys, revision, K::WATCHING).await?;
            following.watching();
            let why = self.follow(&mut watch, kept, sink, following).await?;
            tracing::info!(why = why.chain(), "listing again");
            following.failed(&why);
            lost = Some(sink.fault(why));
        }
    }

    /// Follows one watch until its history is lost, and says why.
    async fn follow(
        &self,
        watch: &mut Watch<'_>,
        kept: &mut K,
        sink: &Sink<K::Value>,
        following: &Following,
    ) -> Result<RegistryError, RegistryError> {
        let mut confirmed = Instant::now();
        loop {
            let news = watch.next().await?;
            following.heard();
            match news {
                News::Events(events) => {
                    events.iter().for_each(|event| apply(kept, event));
                    check_size(kept, &self.config, &self.keys)?;
                }
                News::Nothing if confirmed.elapsed() < CONFIRM => continue,
                News::Nothing => {}
                News::Lost(why) => return Ok(why),
            }
            kept.publish(sink);
            confirmed = Instant::now();
        }
    }
}

#[async_trait]
impl ServiceRegistry for EtcdRegistry {
    fn name(&self) -> &'static str {
        "etcd"
    }

    async fn run(&self, sink: &SnapshotSink) -> Result<Infallible, RegistryError> {
        self.0.run(sink, "services").await
    }
}

#[async_trait]
impl RuleStore for EtcdRules {
    fn name(&self) -> &'static str {
        "etcd"
    }

    async fn run(&self, sink: &TextSink) -> Result<Infallible, RegistryError> {
        self.0.run(sink, "rules").await
    }
}

/// Tells which version the member is of. That is shown and nothing else: whatever goes wrong with it hurts
/// nobody. What an earlier attempt told stays while there is no answer.
async fn tell_version<T: Content>(connection: &Connection, sink: &Sink<T>) -> Infallible {
    match connection.version().await {
        Ok(version) => sink.fact("server_version", &version),
        Err(error) if error.kind() == ErrorKind::Unavailable => {}
        Err(_) => sink.fact("server_version", ""),
    }
    std::future::pending().await
}

fn apply(kept: &mut impl Kept, event: &PbEvent) {
    let Some(entry) = &event.kv else { return };
    // A deletion resets a key's version to zero, and nothing else does (mvccpb.KeyValue).
    if entry.version == 0 {
        kept.remove(&entry.key);
    } else {
        let (key, value, created) = (&entry.key, &entry.value, entry.create_revision);
        kept.put(Entry { key, value, created }, None);
    }
}
