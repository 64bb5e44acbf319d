//! Following a cluster: one follower for each resource and namespace, one publisher. Documents of rules have their own
//! ([`rules`]).

mod decode;
mod documents;
mod follow;
mod list;
mod publish;
mod resource;
mod rules;
mod version;
mod watch;

use std::convert::Infallible;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use pilot_registry::{ConfigError, Memory, RegistryError, ServiceRegistry, SnapshotSink, async_trait};
use tokio::sync::mpsc;

use crate::Config;
use crate::client::Connector;
use crate::cluster::Facts;
use crate::convert::Mapping;
use decode::Decoder;
use follow::Follower;
use publish::Publisher;
pub(crate) use resource::{Resource, Scope};
pub use rules::KubernetesRules;

/// How many updates wait for the publisher at most: followers wait with their watches.
const QUEUE: usize = 256;

/// A registry of the services of one Kubernetes cluster. Made by [`crate::registry`].
#[derive(Clone, Debug)]
pub struct KubernetesRegistry {
    config: Arc<Config>,
    mapping: Mapping,
    connector: Connector,
    /// Pods and nodes, which an attempt may not be able to read. Services and slices are always listed.
    memory: Memory<Facts>,
}

impl KubernetesRegistry {
    pub(crate) fn new(config: Config) -> Result<Self, ConfigError> {
        config.check()?;
        let mapping = Mapping::new(&config)?;
        let (connector, memory) = (Connector::default(), Memory::default());
        Ok(Self { config: Arc::new(config), mapping, connector, memory })
    }
}

#[async_trait]
impl ServiceRegistry for KubernetesRegistry {
    fn name(&self) -> &'static str {
        "kubernetes"
    }

    /// Ends with whatever is wrong with services or endpoint slices, or with the server as a whole. What is
    /// wrong with pods or nodes alone is a fault, and what was known of them stays.
    async fn run(&self, sink: &SnapshotSink) -> Result<Infallible, RegistryError> {
        let client = self.connector.client(&self.config).await?;
        let scopes = Scope::all(&self.config);
        let (updates, received) = mpsc::channel(QUEUE);
        let follower = |(at, scope): (usize, &Scope)| {
            let following = sink.following(&scope.to_string());
            let of = (scope.clone(), Decoder::new(scope.resource));
            Follower::new(at, of, client.clone(), &self.config, updates.clone(), following).run()
        };
        let mut followers: FuturesUnordered<_> = scopes.iter().enumerate().map(follower).collect();
        let publisher = Publisher::new(sink, self.mapping.clone(), self.memory.lend(), scopes.clone());
        tokio::select! {
            ended = followers.next() => match ended {
                Some(Err(error)) => Err(error),
                Some(Ok(never)) => match never {},
                None => Err(RegistryError::malformed("there is nothing to follow")),
            },
            never = publisher.run(received) => match never {},
            never = version::tell(&client, sink) => match never {},
        }
    }
}
