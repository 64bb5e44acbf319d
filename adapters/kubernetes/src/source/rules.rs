//! Following documents of rules: Istio's custom resources, in whichever of their versions the server has.
//!
//! A server without them has no documents, which is no error. Whether they have been installed meanwhile is looked at again
//! and again.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use pilot_registry::{ConfigError, Memory, RegistryError, RuleStore, Text, TextSink, async_trait};
use serde::Deserialize;
use tokio::sync::mpsc::{self, Sender};
use tokio::time::sleep;

use super::documents::{DocumentPublisher, Documents, Shelf};
use super::follow::{Follower, Update};
use super::resource::{DOCUMENTS, Resource, Scope};
use super::{QUEUE, version};
use crate::client::{Client, Connector, Refusal};
use crate::{Config, RulesConfig};

/// How often a server without these resources is asked whether it has them now.
const ABSENT: Duration = Duration::from_secs(10);
/// The most bytes of a list of resources that are read.
const MAX_BYTES: usize = 1 << 20;

const KINDS: [(Resource, &str); 5] = [
    (Resource::DestinationRules, "DestinationRule"),
    (Resource::VirtualServices, "VirtualService"),
    (Resource::ServiceEntries, "ServiceEntry"),
    (Resource::WorkloadEntries, "WorkloadEntry"),
    (Resource::Gateways, "Gateway"),
];

/// A store of the documents of rules in one Kubernetes cluster. Made by [`crate::rules`].
#[derive(Clone, Debug)]
pub struct KubernetesRules {
    /// How the cluster is asked.
    config: Arc<Config>,
    connector: Connector,
    memory: Memory<BTreeMap<usize, Shelf>>,
}

/// Documents of one kind, in one namespace or in all.
#[derive(Clone)]
struct Part {
    at: usize,
    resource: Resource,
    kind: &'static str,
    namespace: Option<Arc<str>>,
}

/// `APIResourceList` of meta/v1.
#[derive(Deserialize)]
struct Resources {
    resources: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

impl KubernetesRules {
    pub(crate) fn new(config: &RulesConfig) -> Result<Self, ConfigError> {
        let config = config.cluster();
        config.check()?;
        Ok(Self { config: Arc::new(config), connector: Connector::default(), memory: Memory::default() })
    }

    fn parts(&self) -> Vec<Part> {
        let named = self.config.namespaces.iter().map(|name| Some(name.as_str().into()));
        let namespaces: Vec<Option<Arc<str>>> =
            named.chain(self.config.namespaces.is_empty().then_some(None)).collect();
        let all =
            KINDS.iter().flat_map(|kind| namespaces.iter().map(move |namespace| (kind, namespace.clone())));
        let part = |(at, (&(resource, kind), namespace))| Part { at, resource, kind, namespace };
        all.enumerate().map(part).collect()
    }

    /// Follows one part until it fails.
    async fn follow(
        &self,
        part: &Part,
        client: &Client,
        updates: &Sender<Update<Arc<Text>>>,
        sink: &TextSink,
    ) -> Result<Infallible, RegistryError> {
        let Part { at, resource, kind, namespace } = part.clone();
        loop {
            let Some(base) = served(client, resource).await? else {
                // The publisher ends with this future.
                _ = updates.send(Update::Listed(at, Vec::new())).await;
                sleep(ABSENT).await;
                continue;
            };
            let scope = Scope::documents(resource, base, namespace.clone());
            let following = sink.following(&scope.to_string());
            let documents = Documents { kind, api_version: base.trim_start_matches("/apis/") };
            let of = (scope, documents);
            let follower = Follower::new(at, of, client.clone(), &self.config, updates.clone(), following);
            let Err(error) = follower.run().await;
            // Where they are gone as a whole, that is no error.
            if served(client, resource).await.map_err(|_| error.clone())?.is_some() {
                return Err(error);
            }
        }
    }
}

/// What the path of that resource begins with, in the newest version that the server has; `None` = it has none.
async fn served(client: &Client, resource: Resource) -> Result<Option<&'static str>, RegistryError> {
    for base in DOCUMENTS {
        let what = format!("look for {}", resource.as_str());
        let answer = match client.get(&what, base, "application/json").await {
            Ok(answer) => answer,
            Err(Refusal::Missing(_)) => continue,
            Err(Refusal::Forbidden(error) | Refusal::OutOfReach(error)) => return Err(error),
            Err(Refusal::Internal(error) | Refusal::Failed(error)) => return Err(error),
            Err(Refusal::Expired | Refusal::Unsupported) => {
                return Err(RegistryError::malformed(format!("{what}: the server refuses to say")));
            }
        };
        let answer = answer.whole(MAX_BYTES).await?;
        let Resources { resources } = serde_json::from_slice(&answer)
            .map_err(|_| RegistryError::malformed(format!("{what}: the answer is no list of resources")))?;
        if resources.iter().any(|named| named.name == resource.as_str()) {
            return Ok(Some(base));
        }
    }
    Ok(None)
}

#[async_trait]
impl RuleStore for KubernetesRules {
    fn name(&self) -> &'static str {
        "kubernetes"
    }

    async fn run(&self, sink: &TextSink) -> Result<Infallible, RegistryError> {
        let client = self.connector.client(&self.config).await?;
        let (updates, received) = mpsc::channel(QUEUE);
        let parts = self.parts();
        let kinds = parts.iter().map(|part| part.kind).collect();
        let publisher = DocumentPublisher::new(sink, kinds, self.memory.lend());
        let followers = parts.iter().map(|part| self.follow(part, &client, &updates, sink));
        let mut followers: FuturesUnordered<_> = followers.collect();
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
