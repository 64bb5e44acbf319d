//! Random interleavings with a client that takes routes in parts as Envoy 1.40 does. It drops virtual hosts of routes
//! that it does not have, and says that it has them. Of a response it takes all or nothing for each of its routes. It
//! lets go of routes and takes them again, and it loses its stream and comes back, whatever is on its way.
//!
//! No domain ever leads to a cluster that is not there, none is ever in two virtual hosts, and after quiet all good
//! virtual hosts are as they are to be.

#[path = "parts_model/envoy.rs"]
mod envoy;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use self::envoy::Envoy;
use crate::properties::config;
use crate::things::Things;

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
    use Step::{Break, Connect, Host, NoService, Publish, Request, Response, Service};
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
    // A domain that led to nothing with the first word of it went over to another virtual host of the same service.
    run(&[
        Service(0),
        Host(1, 0, 0, false, false),
        Publish,
        Service(1),
        Request,
        Request,
        Request,
        Host(1, 0, 1, false, false),
        Publish,
        Host(1, 0, 1, false, true),
    ]); // A client came back without a virtual host of these routes, or with one that it does not tell of. It refused the only
    // one that it was sent, and was told nothing else.
    run(&[
        Request,
        Request,
        Request,
        Response,
        Response,
        Request,
        Request,
        Service(1),
        Service(2),
        Response,
        Response,
        Publish,
        Request,
        Response,
        Request,
        Host(1, 0, 1, false, false),
        Request,
        Host(0, 3, 1, false, true),
        Publish,
        Request,
        Response,
        Request,
        Request,
        Break,
        Host(0, 3, 1, true, true),
    ]); // Of a response that it refused because of other routes, a client had a virtual host. That came to another service
    // before this one was there.
    run(&[
        Request,
        Response,
        Request,
        Response,
        Request,
        Service(1),
        Response,
        Publish,
        Request,
        Response,
        Response,
        Break,
        Connect,
        Request,
        Host(0, 0, 1, false, false),
        Request,
        Host(1, 0, 1, true, false),
        Publish,
        Request,
        Request,
        Request,
        Service(2),
        Response,
        Request,
        Host(0, 0, 2, false, false),
        Publish,
        Service(0),
    ]);
}
