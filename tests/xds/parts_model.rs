//! Random interleavings with a client that takes routes in parts as Envoy 1.40 does. It drops virtual hosts of routes
//! that it does not have, and says that it has them. Of a response it takes all or nothing for each of its routes. It
//! lets go of routes and takes them again, and it loses its stream and comes back, whatever is on its way.
//!
//! No domain ever leads to a cluster that is not there, none is ever in two virtual hosts, and after quiet all good
//! virtual hosts are as they are to be.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use pilot::resources::ResourceType::{self, Cluster, Endpoint, Listener, Route, VirtualHost};
use pilot::resources::View;
use pilot::xds::{Delta, Machine, Shared};
use pilot_envoy_api::discovery::DeltaDiscoveryResponse;
use pilot_envoy_api::envoy::service::discovery::v3::{DeltaDiscoveryRequest, Resource as DeltaResource};
use pilot_envoy_api::google::rpc::Status;
use proptest::prelude::*;
use prost::Message;

use crate::driver::LIMITS;
use crate::properties::config;
use crate::things::{Thing, Things};

const ROUTES: [&str; 2] = ["p~v", "q~v"];

#[derive(Clone, Debug)]
enum Step {
    Service(usize),
    NoService(usize),
    /// In these routes, that virtual host leads to that service, if there is one. It may be bad, and it may be another
    /// virtual host that takes the domain over.
    Host(usize, usize, usize, bool, bool),
    NoHost(usize, usize),
    Publish,
    Request,
    Response,
    /// The client lets go of routes, or takes them.
    Drop(usize),
    Take(usize),
    Break,
    Connect,
}

fn step() -> impl Strategy<Value = Step> {
    let host = (0..2usize, 0..4usize, 0..3usize, proptest::bool::weighted(0.15), any::<bool>());
    prop_oneof![
        3 => (0..3usize).prop_map(Step::Service),
        1 => (0..3usize).prop_map(Step::NoService),
        6 => host.prop_map(|(routes, host, n, bad, other)| Step::Host(routes, host, n, bad, other)),
        2 => (0..2usize, 0..4usize).prop_map(|(routes, host)| Step::NoHost(routes, host)),
        5 => Just(Step::Publish),
        10 => Just(Step::Request),
        10 => Just(Step::Response),
        1 => (0..2usize).prop_map(Step::Drop),
        2 => (0..2usize).prop_map(Step::Take),
        1 => Just(Step::Break),
        2 => Just(Step::Connect),
    ]
}

/// By routes and domain: the virtual host that has it, its service, and how it is.
type Hosts = BTreeMap<(usize, usize), (usize, usize, String)>;

#[derive(Default)]
struct Server {
    things: Things,
    services: BTreeSet<usize>,
    hosts: Hosts,
    changes: usize,
}

impl Server {
    fn apply(&mut self, step: &Step) {
        self.changes += 1;
        match step {
            Step::Service(n) => {
                self.services.insert(*n);
                self.things.service(&format!("c{n}"), &self.changes.to_string());
            }
            Step::NoService(n) => {
                self.services.remove(n);
                self.things.remove_service(&format!("c{n}"));
                self.hosts.retain(|_, (_, cluster, _)| cluster != n);
            }
            Step::Host(routes, host, n, is_bad, other) if self.services.contains(n) => {
                let how = format!("{}{}", if *is_bad { "bad" } else { "good" }, self.changes);
                self.hosts.insert((*routes, *host), (usize::from(*other), *n, how));
            }
            Step::NoHost(routes, host) => _ = self.hosts.remove(&(*routes, *host)),
            _ => {}
        }
        for (at, name) in ROUTES.iter().enumerate() {
            let own = self.hosts.iter().filter(|((routes, _), _)| *routes == at);
            let text = |((_, host), (owner, n, how)): (&(usize, usize), &(usize, usize, String))| {
                format!("{owner}/h{host}>c{n}!{how}")
            };
            let hosts: Vec<String> = own.map(text).collect();
            self.things.parts(name, &hosts.iter().map(String::as_str).collect::<Vec<_>>());
        }
    }
}

/// What the client has of routes.
#[derive(Default)]
struct Live {
    /// By virtual host: its cluster, and how it is.
    hosts: BTreeMap<String, (String, String)>,
    /// It has heard of some virtual host.
    warm: bool,
    /// Virtual hosts that came with the first word of these routes, which may be ahead of clusters that came later
    /// (P15a): nobody could call them before.
    early: BTreeSet<String>,
}

struct Envoy {
    machine: Machine<Delta>,
    shared: Arc<Shared>,
    view: Arc<View>,
    inbox: VecDeque<DeltaDiscoveryResponse>,
    outbox: VecDeque<DeltaDiscoveryRequest>,
    connected: bool,
    /// Names and versions.
    clusters: BTreeMap<String, String>,
    endpoints: BTreeMap<String, String>,
    listener: BTreeMap<String, String>,
    wanted: BTreeSet<String>,
    /// Routes that it let go of and took again while something was on its way: what it gets then is once more the first
    /// word of them.
    retaken: BTreeSet<String>,
    live: BTreeMap<String, Live>,
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

impl Envoy {
    fn new(view: &Arc<View>) -> Self {
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

    fn connect(&mut self) {
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

    fn disconnect(&mut self) {
        self.connected = false;
        self.inbox.clear();
        self.outbox.clear();
    }

    fn update(&mut self, view: &Arc<View>) {
        self.view = Arc::clone(view);
        if self.connected {
            self.machine.update(Arc::clone(view));
            self.collect();
        }
    }

    fn collect(&mut self) {
        self.inbox.extend(self.machine.responses().into_iter().map(|response| response.message));
    }

    fn change_routes(&mut self, name: &str, takes: bool) {
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

    fn deliver_request(&mut self) -> bool {
        let Some(request) = self.outbox.pop_front() else { return false };
        self.machine.request(request).unwrap();
        self.collect();
        true
    }

    fn deliver_response(&mut self) -> bool {
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
            let domains: BTreeSet<&str> = hosts.keys().map(|it| it.rsplit_once('~').unwrap().1).collect();
            assert_eq!(domains.len(), hosts.len(), "a domain twice in {hosts:?}");
            if !live.warm || self.retaken.contains(&name) {
                live.early = hosts.keys().cloned().collect();
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
                assert!(known || live.early.contains(host), "{host} leads to {cluster}, which is not there");
                if known {
                    live.early.remove(host);
                }
            }
        }
    }

    fn quiet(&mut self) {
        self.connect();
        let mut steps = 0;
        while self.deliver_request() || self.deliver_response() {
            steps += 1;
            assert!(steps < 10_000, "the two never stop talking");
        }
    }
}

fn run(steps: &[Step]) {
    let mut server = Server::default();
    server.things.listener("l", "1", &ROUTES);
    server.apply(&Step::Publish);
    let mut envoy = Envoy::new(&server.things.publish());
    for step in steps {
        match step {
            Step::Publish => envoy.update(&server.things.publish()),
            Step::Request => _ = envoy.deliver_request(),
            Step::Response => _ = envoy.deliver_response(),
            Step::Drop(routes) => envoy.change_routes(ROUTES[*routes], false),
            Step::Take(routes) => envoy.change_routes(ROUTES[*routes], true),
            Step::Break => envoy.disconnect(),
            Step::Connect => envoy.connect(),
            step => server.apply(step),
        }
    }
    envoy.update(&server.things.publish());
    // What its listener names, it asks for in the end.
    ROUTES.iter().for_each(|name| envoy.change_routes(name, true));
    envoy.quiet();
    assert!(!envoy.machine.is_waiting(), "patience should not be needed");
    for (at, name) in ROUTES.iter().enumerate().filter(|(_, name)| envoy.wanted.contains(**name)) {
        let live = &envoy.live[*name];
        assert!(live.warm, "{name} waits for a word of its virtual hosts");
        // Of what it refuses it keeps what it had.
        let is_bad =
            |domain: &usize| server.hosts.get(&(at, *domain)).is_some_and(|it| it.2.starts_with("bad"));
        let mut having = BTreeMap::new();
        for (host, (_, how)) in &live.hosts {
            let domain: usize = host.rsplit_once("~h").unwrap().1.parse().unwrap();
            if !is_bad(&domain) {
                having.insert(host.clone(), how.clone());
            }
        }
        let own = server.hosts.iter().filter(|((routes, domain), _)| *routes == at && !is_bad(domain));
        let there = own.map(|((_, host), (owner, _, how))| (format!("{name}/{owner}~h{host}"), how.clone()));
        let there: BTreeMap<_, _> = there.collect();
        assert_eq!(having, there, "{name}");
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn virtual_hosts_of_their_own_lead_to_what_is_there_and_end_as_they_are_to_be(
        steps in proptest::collection::vec(step(), 0..120),
    ) {
        run(&steps);
    }
}

/// Cases that chance found, made small.
#[test]
fn virtual_hosts_of_their_own_that_once_went_wrong() {
    use Step::{Break, Host, NoService, Publish, Request, Response, Service};
    // What a client came back with, and nobody else knew, was sent in place of a virtual host of that version.
    run(&[
        Request,
        Request,
        Request,
        Response,
        Request,
        Response,
        Service(2),
        Response,
        Service(0),
        Service(2),
        Request,
        Publish,
        Request,
        Response,
        Host(0, 3, 2, false, false),
        Request,
        Response,
        Request,
        Request,
        Request,
        Service(1),
        NoService(0),
        Host(0, 0, 1, true, false),
        Response,
        Publish,
        NoService(2),
        Request,
        Response,
        Response,
        Break,
        Host(1, 0, 1, false, false),
    ]);
}
