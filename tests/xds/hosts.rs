//! Random interleavings of services and virtual hosts that come, change, move and go, with a client that answers when it
//! likes and refuses bad virtual hosts: no domain ever leads to a cluster that is not there, and after quiet all good
//! virtual hosts are as they are to be.

use std::collections::{BTreeMap, BTreeSet};

use pilot::resources::ResourceType::{self, Cluster, Endpoint, Listener, Route};
use pilot::xds::Delta;
use proptest::prelude::*;

use crate::driver::Stream;
use crate::properties::config;
use crate::things::Things;

#[derive(Clone, Debug)]
enum Step {
    Service(usize),
    NoService(usize),
    /// A virtual host leads to that service, if there is one. It may be bad.
    Host(usize, usize, bool),
    NoHost(usize),
    Publish,
    Answer(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..4usize).prop_map(Step::Service),
        1 => (0..4usize).prop_map(Step::NoService),
        5 => (0..5usize, 0..4usize, proptest::bool::weighted(0.2)).prop_map(|(host, n, bad)| Step::Host(host, n, bad)),
        2 => (0..5usize).prop_map(Step::NoHost),
        5 => Just(Step::Publish),
        10 => (0..4usize).prop_map(Step::Answer),
    ]
}

/// What there is: virtual hosts, each with its cluster and how often it has changed.
#[derive(Default)]
struct Server {
    things: Things,
    services: BTreeSet<usize>,
    hosts: BTreeMap<usize, (usize, String)>,
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
                self.hosts.retain(|_, (cluster, _)| cluster != n);
            }
            Step::Host(host, n, is_bad) if self.services.contains(n) => {
                let how = if *is_bad { "bad" } else { "good" };
                self.hosts.insert(*host, (*n, format!("{how}{}", self.changes)));
            }
            Step::NoHost(host) => _ = self.hosts.remove(host),
            _ => {}
        }
        let host = |(host, (cluster, how)): (&usize, &(usize, String))| format!("h{host}>c{cluster}!{how}");
        let hosts: Vec<String> = self.hosts.iter().map(host).collect();
        self.things.rope("r", &hosts.iter().map(String::as_str).collect::<Vec<_>>());
    }
}

struct Client {
    stream: Stream<Delta>,
    inbox: Vec<String>,
    clusters: BTreeSet<String>,
    endpoints: BTreeSet<String>,
    /// By virtual host: its cluster, and its version.
    hosts: BTreeMap<String, (String, String)>,
}

impl Client {
    /// Reads and answers what came of a type. Says whether something did.
    fn answer(&mut self, kind: ResourceType) -> bool {
        self.inbox.append(&mut self.stream.received());
        let is_own = |text: &String| text.split(' ').next() == Some(kind.as_str());
        let texts: Vec<String> = self.inbox.iter().filter(|text| is_own(text)).cloned().collect();
        self.inbox.retain(|text| !is_own(text));
        if texts.is_empty() {
            return false;
        }
        if texts.iter().any(|text| text.contains("!bad")) {
            self.stream.nack(kind);
            return true;
        }
        let before = self.clusters.clone();
        texts.iter().flat_map(|text| text.split(' ').skip(1)).for_each(|word| self.take(kind, word));
        self.stream.ack(kind);
        self.check();
        let names = |from: &BTreeSet<String>, without: &BTreeSet<String>| -> Vec<String> {
            from.difference(without).cloned().collect()
        };
        let (new, gone) = (names(&self.clusters, &before), names(&before, &self.clusters));
        if !new.is_empty() {
            self.stream.ask(Endpoint, &new.iter().map(String::as_str).collect::<Vec<_>>());
        }
        if !gone.is_empty() {
            self.stream.drop_names(Endpoint, &gone.iter().map(String::as_str).collect::<Vec<_>>());
            self.endpoints.retain(|name| !gone.contains(name));
        }
        true
    }

    fn take(&mut self, kind: ResourceType, word: &str) {
        match (kind, word.strip_prefix('-'), word.split_once('@')) {
            (Cluster, Some(gone), _) => _ = self.clusters.remove(gone),
            (Endpoint, Some(gone), _) => _ = self.endpoints.remove(gone),
            (Cluster, _, Some((name, _))) => _ = self.clusters.insert(name.to_owned()),
            (Endpoint, _, Some((name, _))) => _ = self.endpoints.insert(name.to_owned()),
            (Route, _, Some((_, hosts))) => {
                let host = |text: &str| {
                    let (host, rest) = text.split_once('>')?;
                    let (cluster, how) = rest.split_once('!')?;
                    Some((host.to_owned(), (cluster.to_owned(), how.to_owned())))
                };
                self.hosts = hosts.split('+').filter_map(host).collect();
            }
            _ => {}
        }
    }

    fn check(&self) {
        for (host, (cluster, _)) in &self.hosts {
            let known = self.clusters.contains(cluster) && self.endpoints.contains(cluster);
            assert!(known, "{host} leads to {cluster}, which is not there");
        }
    }

    fn quiet(&mut self) {
        let mut rounds = 0;
        while ResourceType::ALL.into_iter().filter(|kind| self.answer(*kind)).count() > 0 {
            rounds += 1;
            assert!(rounds < 1000, "the two never stop talking");
        }
    }
}

fn run(steps: &[Step]) {
    let mut server = Server::default();
    server.things.listener("l", "1", &["r"]);
    server.apply(&Step::Publish);
    let mut client = Client {
        stream: Stream::ads(&server.things.publish()),
        inbox: Vec::new(),
        clusters: BTreeSet::new(),
        endpoints: BTreeSet::new(),
        hosts: BTreeMap::new(),
    };
    client.stream.ask(Cluster, &[]);
    client.stream.ask(Listener, &[]);
    client.stream.ask(Route, &["r"]);
    client.quiet();
    for step in steps {
        match step {
            Step::Publish => client.stream.update(&server.things.publish()),
            Step::Answer(kind) => _ = client.answer(ResourceType::ALL[*kind]),
            step => server.apply(step),
        }
    }
    client.stream.update(&server.things.publish());
    client.quiet();
    assert!(!client.stream.machine.is_waiting(), "patience should not be needed");
    let expected = |hosts: &BTreeMap<usize, (usize, String)>| -> BTreeMap<String, String> {
        let good = hosts.iter().filter(|(_, (_, how))| how.starts_with("good"));
        good.map(|(host, (_, how))| (format!("h{host}"), how.clone())).collect()
    };
    let mut having: BTreeMap<String, String> =
        client.hosts.iter().map(|(host, (_, how))| (host.clone(), how.clone())).collect();
    // Of what it refuses it keeps what it had.
    let bad: Vec<String> = client.stream.refused(Route);
    having.retain(|host, _| !bad.contains(&format!("r (virtual host {host})")));
    assert_eq!(having, expected(&server.hosts), "refused: {bad:?}");
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn virtual_hosts_lead_to_what_is_there_and_end_as_they_are_to_be(steps in proptest::collection::vec(step(), 0..80)) {
        run(&steps);
    }
}
