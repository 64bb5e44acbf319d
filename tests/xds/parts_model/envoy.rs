//! The client: it takes routes in parts as Envoy 1.40 does.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use pilot::resources::ResourceType::{self, Cluster, Endpoint, Listener, Route, VirtualHost};
use pilot::resources::View;
use pilot::xds::{Delta, Machine, Shared};
use pilot_envoy_api::discovery::DeltaDiscoveryResponse;
use pilot_envoy_api::envoy::service::discovery::v3::{DeltaDiscoveryRequest, Resource as DeltaResource};
use pilot_envoy_api::google::rpc::Status;
use prost::Message;

use super::ROUTES;
use crate::driver::LIMITS;
use crate::things::Thing;

/// What the client has of routes.
#[derive(Default)]
pub(crate) struct Live {
    /// By virtual host: its cluster, and how it is.
    pub(crate) hosts: BTreeMap<String, (String, String)>,
    /// It has heard of some virtual host.
    pub(crate) warm: bool,
    /// Domains that came with the first word of these routes, which may be ahead of clusters that came later (P15a):
    /// nobody could call them before. What leads to nothing may lead to nothing elsewhere.
    early: BTreeSet<String>,
}

/// The client.
pub(crate) struct Envoy {
    pub(crate) machine: Machine<Delta>,
    shared: Arc<Shared>,
    view: Arc<View>,
    inbox: VecDeque<DeltaDiscoveryResponse>,
    outbox: VecDeque<DeltaDiscoveryRequest>,
    connected: bool,
    /// Names and versions.
    clusters: BTreeMap<String, String>,
    endpoints: BTreeMap<String, String>,
    listener: BTreeMap<String, String>,
    pub(crate) wanted: BTreeSet<String>,
    /// Routes that it let go of and took again while something was on its way: what it gets then is once more the first
    /// word of them.
    retaken: BTreeSet<String>,
    pub(crate) live: BTreeMap<String, Live>,
    /// What it says that it has of virtual hosts: all that it acknowledged.
    claims: BTreeMap<String, String>,
    /// It has asked for virtual hosts, as it does once it has routes.
    asks: bool,
}

fn request(kind: ResourceType, names: impl IntoIterator<Item = String>) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        type_url: kind.type_url().to_owned(),
        resource_names_subscribe: names.into_iter().collect(),
        ..Default::default()
    }
}

/// The domain of a virtual host.
fn domain(host: &str) -> &str {
    host.rsplit_once('~').unwrap().1
}

impl Envoy {
    pub(crate) fn new(view: &Arc<View>) -> Self {
        let shared = Arc::<Shared>::default();
        let mut envoy = Self {
            machine: Machine::new(None, LIMITS, Arc::clone(&shared)),
            shared,
            view: Arc::clone(view),
            inbox: VecDeque::new(),
            outbox: VecDeque::new(),
            connected: false,
            clusters: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            listener: BTreeMap::new(),
            wanted: ROUTES.map(str::to_owned).into(),
            retaken: BTreeSet::new(),
            live: BTreeMap::new(),
            claims: BTreeMap::new(),
            asks: false,
        };
        envoy.connect();
        envoy
    }

    pub(crate) fn connect(&mut self) {
        if self.connected {
            return;
        }
        self.connected = true;
        // Of routes without any virtual host, the first ones are once more such that nobody could call.
        self.live.values_mut().filter(|live| live.hosts.is_empty()).for_each(|live| live.warm = false);
        self.machine = Machine::new(None, LIMITS, Arc::clone(&self.shared));
        self.machine.update(Arc::clone(&self.view));
        let has = |request, has: &BTreeMap<String, String>| DeltaDiscoveryRequest {
            initial_resource_versions: has.clone(),
            ..request
        };
        self.outbox.push_back(has(request(Cluster, []), &self.clusters));
        if !self.clusters.is_empty() {
            self.outbox.push_back(has(request(Endpoint, self.clusters.keys().cloned()), &self.endpoints));
        }
        self.outbox.push_back(has(request(Listener, []), &self.listener));
        let routes = self.live.keys().map(|name| (name.clone(), "parts".to_owned())).collect();
        if !self.wanted.is_empty() {
            self.outbox.push_back(has(request(Route, self.wanted.iter().cloned()), &routes));
        }
        if self.asks {
            self.outbox.push_back(has(request(VirtualHost, []), &self.claims));
        }
    }

    pub(crate) fn disconnect(&mut self) {
        self.connected = false;
        self.inbox.clear();
        self.outbox.clear();
    }

    pub(crate) fn update(&mut self, view: &Arc<View>) {
        self.view = Arc::clone(view);
        if self.connected {
            self.machine.update(Arc::clone(view));
            self.collect();
        }
    }

    fn collect(&mut self) {
        self.inbox.extend(self.machine.responses().into_iter().map(|response| response.message));
    }

    pub(crate) fn change_routes(&mut self, name: &str, takes: bool) {
        let changed = if takes { self.wanted.insert(name.to_owned()) } else { self.wanted.remove(name) };
        if !changed {
            return;
        }
        self.live.remove(name);
        self.retaken.insert(name.to_owned());
        if self.connected {
            let mut change = request(Route, takes.then(|| name.to_owned()));
            change.resource_names_unsubscribe = if takes { Vec::new() } else { vec![name.to_owned()] };
            self.outbox.push_back(change);
        }
    }

    pub(crate) fn deliver_request(&mut self) -> bool {
        let Some(request) = self.outbox.pop_front() else { return false };
        self.machine.request(request).unwrap();
        self.collect();
        true
    }

    pub(crate) fn deliver_response(&mut self) -> bool {
        let Some(response) = self.inbox.pop_front() else { return false };
        let kind = ResourceType::from_type_url(&response.type_url).unwrap();
        let resources: Vec<(DeltaResource, Thing)> = response
            .resources
            .iter()
            .map(|bytes| {
                let resource = DeltaResource::decode(bytes.clone()).unwrap();
                let thing = Thing::of(resource.resource.as_ref().unwrap());
                (resource, thing)
            })
            .collect();
        let error = match kind {
            VirtualHost => self.take_hosts(&resources, &response.removed_resources),
            _ => {
                self.take(kind, &resources, &response.removed_resources);
                None
            }
        };
        let error_detail = error.map(|message: String| Status { code: 13, message, ..Default::default() });
        self.outbox.push_back(DeltaDiscoveryRequest {
            type_url: response.type_url,
            response_nonce: response.nonce,
            error_detail,
            ..Default::default()
        });
        if !self.live.is_empty() && !self.asks {
            self.asks = true;
            self.outbox.push_back(request(VirtualHost, []));
        }
        self.check();
        true
    }

    fn take(&mut self, kind: ResourceType, resources: &[(DeltaResource, Thing)], removed: &[String]) {
        let has = match kind {
            Cluster => &mut self.clusters,
            Endpoint => &mut self.endpoints,
            Listener => &mut self.listener,
            Route | VirtualHost => {
                for (resource, _) in resources.iter().filter(|(it, _)| self.wanted.contains(&it.name)) {
                    self.live.entry(resource.name.clone()).or_default();
                }
                return;
            }
        };
        let before: BTreeSet<String> = has.keys().cloned().collect();
        removed.iter().for_each(|name| _ = has.remove(name));
        has.extend(resources.iter().map(|(it, _)| (it.name.clone(), it.version.clone())));
        if kind != Cluster {
            return;
        }
        let now: BTreeSet<String> = has.keys().cloned().collect();
        let gone: Vec<String> = before.difference(&now).cloned().collect();
        self.endpoints.retain(|name, _| !gone.contains(name));
        let mut change = request(Endpoint, now.difference(&before).cloned());
        change.resource_names_unsubscribe = gone;
        if !(change.resource_names_subscribe.is_empty() && change.resource_names_unsubscribe.is_empty()) {
            self.outbox.push_back(change);
        }
    }

    /// Gives why it refuses the response. What it took of one set of routes it has then all the same.
    fn take_hosts(&mut self, resources: &[(DeltaResource, Thing)], removed: &[String]) -> Option<String> {
        let of = |name: &str| name.rsplit_once('/').unwrap().0.to_owned();
        let names = resources.iter().map(|(it, _)| &it.name).chain(removed);
        let routes: BTreeSet<String> = names.map(|name| of(name)).collect();
        for name in routes {
            let Some(live) = self.live.get_mut(&name) else { continue };
            let mut hosts = live.hosts.clone();
            removed.iter().filter(|it| of(it) == name).for_each(|it| _ = hosts.remove(it));
            for (resource, thing) in resources.iter().filter(|(it, _)| of(&it.name) == name) {
                let (cluster, how) = thing.content[1..].split_once('!').unwrap();
                if how.starts_with("bad") {
                    return Some("missing ): ((".to_owned());
                }
                hosts.insert(resource.name.clone(), (cluster.to_owned(), how.to_owned()));
            }
            let domains: BTreeSet<String> = hosts.keys().map(|it| domain(it).to_owned()).collect();
            assert_eq!(domains.len(), hosts.len(), "a domain twice in {hosts:?}");
            match !live.warm || self.retaken.contains(&name) {
                true => live.early = domains,
                false => live.early.retain(|it| domains.contains(it)),
            }
            (live.hosts, live.warm) = (hosts, true);
        }
        removed.iter().for_each(|name| _ = self.claims.remove(name));
        self.claims.extend(resources.iter().map(|(it, _)| (it.name.clone(), it.version.clone())));
        None
    }

    fn is_idle(&self) -> bool {
        self.inbox.is_empty() && self.outbox.is_empty()
    }

    fn check(&mut self) {
        if self.is_idle() {
            self.retaken.clear();
        }
        for live in self.live.values_mut() {
            for (host, (cluster, _)) in &live.hosts {
                let known = self.clusters.contains_key(cluster) && self.endpoints.contains_key(cluster);
                let is_early = live.early.contains(domain(host));
                assert!(known || is_early, "{host} leads to {cluster}, which is not there");
                if known {
                    live.early.remove(domain(host));
                }
            }
        }
    }

    pub(crate) fn quiet(&mut self) {
        self.connect();
        let mut steps = 0;
        while self.deliver_request() || self.deliver_response() {
            steps += 1;
            assert!(steps < 10_000, "the two never stop talking");
        }
    }
}
