//! Following etcd: list, publish, watch from there, publish again.

use std::convert::Infallible;
use std::sync::atomic::AtomicUsize;

use etcd_client::proto::PbEvent;
use pilot_registry::{
    ErrorKind, Following, Memory, RegistryError, ServiceRegistry, SnapshotSink, async_trait,
};
use tokio::time::{Duration, Instant};

use crate::Config;
use crate::connection::Connection;
use crate::directory::Directory;
use crate::keys::Keys;
use crate::list::{check_size, list};
use crate::watch::{News, Watch};

/// How old a confirmation by etcd that nothing has changed may get before it is passed on.
const CONFIRM: Duration = Duration::from_secs(10);

/// A registry of the services that are registered in etcd. Made by [`crate::registry`].
#[derive(Debug)]
pub struct EtcdRegistry {
    config: Config,
    keys: Keys,
    turn: AtomicUsize,
    /// What was in force when the last attempt ended: where a value makes no sense now, its last good
    /// version is there.
    last: Memory<Option<Directory>>,
}

impl EtcdRegistry {
    pub(crate) fn new(config: Config) -> Self {
        let keys = Keys::new(&config.prefix);
        Self { config, keys, turn: AtomicUsize::new(0), last: Memory::default() }
    }

    /// Follows that member until it fails.
    async fn attempt(
        &self,
        connection: &Connection,
        sink: &SnapshotSink,
        following: &Following,
    ) -> Result<Infallible, RegistryError> {
        let mut last = self.last.lend();
        let directory = last.get_or_insert_with(|| Directory::new(self.keys.clone()));
        let mut lost = None;
        loop {
            following.listing();
            let (listed, revision) = list(connection, &self.config, &self.keys, directory).await?;
            *directory = listed;
            directory.publish(sink);
            drop(lost.take());
            let mut watch = Watch::open(connection, &self.config, &self.keys, revision).await?;
            following.watching();
            let why = self.follow(&mut watch, directory, sink, following).await?;
            tracing::info!(why = why.chain(), "listing again");
            following.failed(&why);
            lost = Some(sink.fault(why));
        }
    }

    /// Follows one watch until its history is lost, and says why.
    async fn follow(
        &self,
        watch: &mut Watch<'_>,
        directory: &mut Directory,
        sink: &SnapshotSink,
        following: &Following,
    ) -> Result<RegistryError, RegistryError> {
        let mut confirmed = Instant::now();
        loop {
            let news = watch.next().await?;
            following.heard();
            match news {
                News::Events(events) => {
                    events.iter().for_each(|event| apply(directory, event));
                    check_size(directory, &self.config)?;
                }
                News::Nothing if confirmed.elapsed() < CONFIRM => continue,
                News::Nothing => {}
                News::Lost(why) => return Ok(why),
            }
            directory.publish(sink);
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
        let following = sink.following("services");
        let ended = async {
            let connection = Connection::open(&self.config, &self.keys, &self.turn).await?;
            tokio::select! {
                ended = self.attempt(&connection, sink, &following) => ended,
                never = tell_version(&connection, sink) => match never {},
            }
        };
        ended.await.inspect_err(|error| following.failed(error))
    }
}

/// Tells which version the member is of. That is shown and nothing else: whatever goes wrong with it hurts
/// nobody. What an earlier attempt told stays while there is no answer.
async fn tell_version(connection: &Connection, sink: &SnapshotSink) -> Infallible {
    match connection.version().await {
        Ok(version) => sink.fact("server_version", &version),
        Err(error) if error.kind() == ErrorKind::Unavailable => {}
        Err(_) => sink.fact("server_version", ""),
    }
    std::future::pending().await
}

fn apply(directory: &mut Directory, event: &PbEvent) {
    let Some(entry) = &event.kv else { return };
    // A deletion resets a key's version to zero, and nothing else does (mvccpb.KeyValue).
    if entry.version == 0 {
        directory.remove(&entry.key);
    } else {
        directory.put(&entry.key, &entry.value, None);
    }
}
