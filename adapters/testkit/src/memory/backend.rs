//! The platform's own side, for the suite.

use std::sync::Arc;

use anyhow::Result;
use async_trait::async_trait;
use pilot_registry::{ConfigError, Hostname, Service, ServiceRegistry};

use super::{Entry, MemoryPlatform, MemoryRegistry};
use crate::{Backend, BadConfig};

const TOKEN: &str = "open-sesame-5131";

type Construct = dyn Fn(MemoryPlatform) -> Box<dyn ServiceRegistry> + Send + Sync;

/// A [`Backend`] over a platform of its own in memory, which can do everything.
pub struct MemoryBackend {
    platform: MemoryPlatform,
    construct: Box<Construct>,
}

impl Default for MemoryBackend {
    fn default() -> Self {
        Self::with(|platform| Box::new(MemoryRegistry::new(platform, TOKEN)))
    }
}

impl MemoryBackend {
    /// What the platform takes as credentials.
    pub const TOKEN: &str = TOKEN;

    /// The same with another registry: one that the suite should complain of.
    pub fn with<F>(construct: F) -> Self
    where
        F: Fn(MemoryPlatform) -> Box<dyn ServiceRegistry> + Send + Sync + 'static,
    {
        Self { platform: MemoryPlatform::new(TOKEN), construct: Box::new(construct) }
    }
}

#[async_trait]
impl Backend for MemoryBackend {
    fn registry(&self) -> Box<dyn ServiceRegistry> {
        (self.construct)(self.platform.clone())
    }

    fn bad_configs(&self) -> Vec<BadConfig> {
        // The platform has no configuration; what an adapter's refusal looks like, all the same.
        let refusal = ConfigError::new("mode", "unknown mode \"lsit\": expected one of list, watch");
        let outcome = Err(refusal.to_string());
        vec![BadConfig { wrong: "an unknown mode", mentions: &["mode", "list, watch"], outcome }]
    }

    async fn put(&mut self, service: &Service) -> Result<()> {
        let entry = Entry::Service(Arc::new(service.clone()));
        self.platform.set(service.host.as_str(), Some(entry));
        Ok(())
    }

    async fn delete(&mut self, host: &Hostname) -> Result<()> {
        self.platform.set(host.as_str(), None);
        Ok(())
    }

    async fn rewrite(&mut self) -> Result<()> {
        for (name, entry) in self.platform.entries().into_iter().rev() {
            self.platform.set(&name, Some(entry));
        }
        Ok(())
    }

    async fn put_malformed(&mut self, entry: &str) -> Result<()> {
        self.platform.set(entry, Some(Entry::Malformed("it has no port".to_owned())));
        Ok(())
    }

    async fn delete_malformed(&mut self, entry: &str) -> Result<()> {
        self.platform.set(entry, None);
        Ok(())
    }

    async fn disconnect(&mut self) -> Result<()> {
        self.platform.cut();
        Ok(())
    }

    async fn reconnect(&mut self) -> Result<()> {
        self.platform.change(|world| world.cut_off = false);
        Ok(())
    }

    async fn lose_history(&mut self) -> Result<()> {
        self.platform.compact();
        Ok(())
    }

    async fn revoke(&mut self) -> Result<()> {
        self.platform.change(|world| world.denied = true);
        Ok(())
    }

    async fn restore(&mut self) -> Result<()> {
        self.platform.change(|world| world.denied = false);
        Ok(())
    }

    async fn garble(&mut self) -> Result<()> {
        self.platform.change(|world| world.garbled = true);
        Ok(())
    }

    async fn mend(&mut self) -> Result<()> {
        self.platform.change(|world| world.garbled = false);
        Ok(())
    }

    async fn stall(&mut self) -> Result<()> {
        self.platform.change(|world| world.stalled = true);
        Ok(())
    }

    async fn stalled(&mut self) -> Result<()> {
        self.platform.somebody_waits().await;
        Ok(())
    }

    async fn resume(&mut self) -> Result<()> {
        self.platform.change(|world| world.stalled = false);
        Ok(())
    }

    async fn connections(&self) -> Result<usize> {
        Ok(self.platform.connections())
    }

    fn secrets(&self) -> Vec<String> {
        vec![TOKEN.to_owned()]
    }

    fn debug_views(&self) -> Vec<String> {
        vec![format!("{:?}", MemoryRegistry::new(self.platform.clone(), TOKEN))]
    }
}
