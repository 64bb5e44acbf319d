//! The adapter: lists, publishes, follows the changes, lists again when the history is lost.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;

use async_trait::async_trait;
use pilot_registry::{RegistryError, ServiceRegistry, Snapshot, SnapshotSink};

use super::{Connection, Entry, MemoryPlatform, Update};

/// A correct registry over a [`MemoryPlatform`].
pub struct MemoryRegistry {
    platform: MemoryPlatform,
    token: String,
}

impl MemoryRegistry {
    /// A registry over that platform. Nothing is connected before it runs.
    pub fn new(platform: MemoryPlatform, token: &str) -> Self {
        Self { platform, token: token.to_owned() }
    }
}

impl fmt::Debug for MemoryRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither the token nor the platform, which knows it.
        f.debug_struct("MemoryRegistry").finish_non_exhaustive()
    }
}

#[async_trait]
impl ServiceRegistry for MemoryRegistry {
    fn name(&self) -> &'static str {
        "memory"
    }

    async fn run(&self, sink: &SnapshotSink) -> Result<Infallible, RegistryError> {
        let mut connection = self.platform.connect(&self.token)?;
        loop {
            follow(&mut connection, sink).await?;
        }
    }
}

/// Follows the platform until its history is lost.
async fn follow(connection: &mut Connection, sink: &SnapshotSink) -> Result<(), RegistryError> {
    let listing = connection.list().await?;
    let (mut entries, mut revision) = (listing.entries, listing.revision);
    loop {
        publish(&entries, sink)?;
        match connection.changes(revision).await? {
            Update::Compacted => return Ok(()),
            Update::Changed(at, changed) => {
                revision = at;
                changed.into_iter().for_each(|(name, entry)| apply(&mut entries, name, entry));
            }
        }
    }
}

fn apply(entries: &mut BTreeMap<String, Entry>, name: String, entry: Option<Entry>) {
    match entry {
        Some(entry) => _ = entries.insert(name, entry),
        None => _ = entries.remove(&name),
    }
}

fn publish(entries: &BTreeMap<String, Entry>, sink: &SnapshotSink) -> Result<(), RegistryError> {
    let mut services = Vec::new();
    for (name, entry) in entries {
        match entry {
            Entry::Service(service) => services.push(service.clone()),
            Entry::Malformed(why) => sink.skipped(name, why),
        }
    }
    let doubled = |error| RegistryError::malformed("reading the platform in memory").caused_by(error);
    sink.publish(Snapshot::new(services).map_err(doubled)?);
    Ok(())
}
