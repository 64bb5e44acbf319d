//! What a test can do on the platform's own side.

use std::fmt;
use std::sync::Arc;

use anyhow::{Result, bail, ensure};
use async_trait::async_trait;
use pilot_registry::{Hostname, Service, ServiceRegistry};

use crate::server::{Gate, Relay};

/// A platform as its operator has it in hand: the suite changes it here and looks at what the adapter
/// makes of it. Each method returns when the platform has taken the change; the adapter need not have
/// seen it yet.
///
/// What a platform cannot do it [lacks](Backend::lacks), and the suite says which rule was not checked
/// because of it. An operation that is neither written nor declared as lacking fails.
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// A registry that follows this platform, constructed as pilot would. Called outside any runtime, too.
    fn registry(&self) -> Box<dyn ServiceRegistry>;

    /// What the adapter is expected to say of a service that was put: without the parts that the platform
    /// has no place for.
    fn as_seen(&self, service: &Arc<Service>) -> Arc<Service> {
        Arc::clone(service)
    }

    /// Why the platform has no such operation, if it has none.
    fn lacks(&self, operation: Operation) -> Option<&'static str> {
        let _ = operation;
        None
    }

    /// How many changes a put may show as; 1 where a service is one object of the platform.
    fn changes_per_put(&self) -> u64 {
        1
    }

    /// Configurations that the adapter refuses, and what it says. At least one.
    fn bad_configs(&self) -> Vec<BadConfig>;

    /// Adds or replaces a service.
    async fn put(&mut self, service: &Service) -> Result<()>;

    /// Adds or replaces many services, in one go where the platform has such a thing.
    async fn put_all(&mut self, services: &[Arc<Service>]) -> Result<()> {
        for service in services {
            self.put(service).await?;
        }
        Ok(())
    }

    /// Removes a service that is there.
    async fn delete(&mut self, host: &Hostname) -> Result<()>;

    /// Writes what is there once more with the same content, in another order where it has one.
    async fn rewrite(&mut self) -> Result<()> {
        bail!("rewrite is not written for this backend")
    }

    /// Adds an entry of that name which makes no sense, beside those that do.
    async fn put_malformed(&mut self, entry: &str) -> Result<()> {
        bail!("put_malformed({entry}) is not written for this backend")
    }

    /// Removes such an entry.
    async fn delete_malformed(&mut self, entry: &str) -> Result<()> {
        bail!("delete_malformed({entry}) is not written for this backend")
    }

    /// The ways on which adapters reach the platform, where there are no others.
    fn relays(&self) -> &[Relay] {
        &[]
    }

    /// Where the platform's words can be spoiled on their way, one for each node.
    fn gates(&self) -> &[Gate] {
        &[]
    }

    /// Cuts adapters off the platform, and ends what they have open. The platform itself goes on. By default
    /// the relays do it.
    async fn disconnect(&mut self) -> Result<()> {
        some(self.relays(), "disconnect")?.iter().for_each(Relay::refuse);
        Ok(())
    }

    /// Ends [`Backend::disconnect`].
    async fn reconnect(&mut self) -> Result<()> {
        some(self.relays(), "reconnect")?.iter().for_each(Relay::open);
        Ok(())
    }

    /// Makes the platform forget how it came to its state: compaction, an index that starts again.
    async fn lose_history(&mut self) -> Result<()> {
        bail!("lose_history is not written for this backend")
    }

    /// Refuses the adapter's credentials from now on.
    async fn revoke(&mut self) -> Result<()> {
        bail!("revoke is not written for this backend")
    }

    /// Ends [`Backend::revoke`].
    async fn restore(&mut self) -> Result<()> {
        bail!("restore is not written for this backend")
    }

    /// Makes the platform's answer as a whole make no sense. By default the gates do it.
    async fn garble(&mut self) -> Result<()> {
        some(self.gates(), "garble")?.iter().for_each(Gate::garble);
        Ok(())
    }

    /// Ends [`Backend::garble`].
    async fn mend(&mut self) -> Result<()> {
        some(self.gates(), "mend")?.iter().for_each(Gate::mend);
        Ok(())
    }

    /// Makes the next list stop after a part of it has been sent. By default the gates do it.
    async fn stall(&mut self) -> Result<()> {
        some(self.gates(), "stall")?.iter().for_each(Gate::stall);
        Ok(())
    }

    /// Returns once an adapter has got its part of a stalled list and waits for the rest.
    async fn stalled(&mut self) -> Result<()> {
        // The first attempt asks the first node.
        some(self.gates(), "stalled")?[0].stalled().await;
        Ok(())
    }

    /// Ends [`Backend::stall`]: the rest of the list is sent.
    async fn resume(&mut self) -> Result<()> {
        some(self.gates(), "resume")?.iter().for_each(Gate::mend);
        Ok(())
    }

    /// How many connections (or watches, where nothing is connected) adapters have open. By default the
    /// relays count them.
    async fn connections(&self) -> Result<usize> {
        Ok(some(self.relays(), "connections")?.iter().map(Relay::connections).sum())
    }

    /// Texts that appear nowhere but in the adapter's configuration.
    fn secrets(&self) -> Vec<String> {
        Vec::new()
    }

    /// What `Debug` shows of the adapter's configuration and of the registry.
    fn debug_views(&self) -> Vec<String> {
        Vec::new()
    }
}

/// What a test's function makes: a [`Backend`], or an option of one, which is `None` where the platform
/// cannot be had. Whoever makes it has said why ([`tool`](crate::server::tool)).
pub trait Made {
    /// The platform.
    type Backend: Backend;

    /// The platform, if there is one.
    fn made(self) -> Option<Self::Backend>;
}

impl<B: Backend> Made for B {
    type Backend = B;

    fn made(self) -> Option<B> {
        Some(self)
    }
}

impl<B: Backend> Made for Option<B> {
    type Backend = B;

    fn made(self) -> Self {
        self
    }
}

/// What the default of a method takes; a backend that has none of it writes the method itself.
fn some<'a, T>(ways: &'a [T], method: &str) -> Result<&'a [T]> {
    ensure!(!ways.is_empty(), "{method} is not written for this backend");
    Ok(ways)
}

/// What not every platform can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Operation {
    /// [`Backend::disconnect`] and [`Backend::reconnect`].
    Disconnect,
    /// [`Backend::lose_history`].
    LoseHistory,
    /// [`Backend::revoke`] and [`Backend::restore`].
    Revoke,
    /// [`Backend::garble`] and [`Backend::mend`].
    Garble,
    /// [`Backend::stall`], [`Backend::stalled`] and [`Backend::resume`].
    Stall,
    /// [`Backend::rewrite`].
    Rewrite,
    /// [`Backend::put_malformed`] and [`Backend::delete_malformed`].
    PutMalformed,
    /// [`Backend::connections`].
    CountConnections,
    /// [`Backend::secrets`] and [`Backend::debug_views`].
    KeepSecrets,
    /// Not a method: the platform has a place for that fact about an endpoint.
    Say(&'static str),
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disconnect => f.write_str("disconnect"),
            Self::LoseHistory => f.write_str("lose history"),
            Self::Revoke => f.write_str("revoke"),
            Self::Garble => f.write_str("garble"),
            Self::Stall => f.write_str("stall"),
            Self::Rewrite => f.write_str("rewrite"),
            Self::PutMalformed => f.write_str("put malformed"),
            Self::CountConnections => f.write_str("count connections"),
            Self::KeepSecrets => f.write_str("keep secrets"),
            Self::Say(what) => write!(f, "say {what}"),
        }
    }
}

/// A configuration that an adapter refuses.
#[derive(Clone, Debug)]
pub struct BadConfig {
    /// What is wrong with it.
    pub wrong: &'static str,
    /// What the message has to contain: the key, the line where it was read from text, the allowed values.
    pub mentions: &'static [&'static str],
    /// What came of it: the message, if it was refused.
    pub outcome: Result<(), String>,
}
