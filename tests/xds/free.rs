//! A client that asks for what it likes: names, the wildcard, both, neither; by what it may and by what no
//! Envoy would. After quiet it has of what it wants what there is.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use pilot::resources::ResourceType;
use pilot::xds::{Delta, Machine, Sotw};
use proptest::prelude::*;

use crate::driver::{Content, LIMITS};
use crate::model::{Having, Wish, Words};
use crate::properties::config;
use crate::things::Things;

const NAMES: [&str; 4] = ["a", "b", "c", "*"];

#[derive(Clone, Debug)]
enum Step {
    /// A resource appears or changes, and is for all or only for those who ask for it.
    Put(usize, usize, bool),
    Remove(usize, usize),
    Publish,
    Subscribe(usize, usize),
    Unsubscribe(usize, usize),
    Request,
    Response,
    Reconnect,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..4usize, 0..3usize, proptest::bool::weighted(0.2)).prop_map(|(kind, n, hidden)| Step::Put(kind, n, hidden)),
        2 => (0..4usize, 0..3usize).prop_map(|(kind, n)| Step::Remove(kind, n)),
        5 => Just(Step::Publish),
        4 => (0..4usize, 0..4usize).prop_map(|(kind, n)| Step::Subscribe(kind, n)),
        3 => (0..4usize, 0..4usize).prop_map(|(kind, n)| Step::Unsubscribe(kind, n)),
        8 => Just(Step::Request),
        8 => Just(Step::Response),
        1 => Just(Step::Reconnect),
    ]
}

#[derive(Default)]
struct Kind {
    having: Having,
    names: BTreeSet<String>,
    asked: bool,
    last: Option<Content>,
}

impl Kind {
    fn wants(&self, name: &str, by_name_only: bool) -> bool {
        self.names.contains(name) || (self.names.contains("*") && !by_name_only)
    }
}

struct Client<V: Words> {
    machine: Machine<V>,
    kinds: [Kind; 4],
    requests: VecDeque<V::Request>,
    responses: VecDeque<Content>,
}

impl<V: Words> Client<V> {
    fn wish(&mut self, kind: ResourceType, change: impl FnOnce(&mut BTreeSet<String>)) {
        let state = &mut self.kinds[kind as usize];
        let before = state.names.clone();
        change(&mut state.names);
        let old = if state.asked { before } else { BTreeSet::new() };
        if old == state.names {
            return;
        }
        let dropped: Vec<String> = old.difference(&state.names).cloned().collect();
        let wish = Wish {
            kind,
            names: &state.names,
            added: state.names.difference(&old).cloned().collect(),
            last: state.last.as_ref(),
            accepted: "",
            has: (!state.asked).then_some(&state.having),
            dropped,
        };
        self.requests.push_back(V::wish(wish));
        state.asked = true;
        // What the wildcard may still bring is the server's to say.
        if V::TELLS && !state.names.contains("*") {
            state.having.retain(|name, _| state.names.contains(name));
        }
    }

    fn deliver_request(&mut self) -> bool {
        let Some(request) = self.requests.pop_front() else { return false };
        self.machine.request(request).unwrap();
        self.collect();
        true
    }

    fn deliver_response(&mut self) -> bool {
        let Some(content) = self.responses.pop_front() else { return false };
        let kind = ResourceType::from_type_url(&content.type_url).unwrap();
        let state = &mut self.kinds[kind as usize];
        if V::is_full(kind) {
            state.having.clear();
        }
        for (name, content) in &content.resources {
            if state.names.contains(name) || state.names.contains("*") {
                state.having.insert(name.clone(), content.clone());
            }
        }
        for name in &content.removed {
            state.having.remove(name);
        }
        let names: Vec<String> = state.names.iter().cloned().collect();
        self.requests.push_back(V::answer(&content, &content.version, &names, None));
        state.last = Some(content);
        true
    }

    fn collect(&mut self) {
        let responses = self.machine.responses();
        self.responses.extend(responses.iter().map(|response| V::content(&response.message)));
    }

    fn reconnect(&mut self, things: &mut Things) {
        self.requests.clear();
        self.responses.clear();
        self.machine = Machine::new(None, LIMITS, std::sync::Arc::default());
        self.machine.update(things.publish());
        for kind in ResourceType::ASKED {
            let state = &mut self.kinds[kind as usize];
            (state.asked, state.last) = (false, None);
            if !V::TELLS {
                state.having.clear();
            }
            self.wish(kind, |_| {});
        }
    }
}

fn run<V: Words>(steps: &[Step]) {
    let mut things = Things::default();
    let mut hidden: BTreeMap<(ResourceType, &str), bool> = BTreeMap::new();
    let mut machine = Machine::new(None, LIMITS, std::sync::Arc::default());
    machine.update(things.publish());
    let mut client = Client::<V> {
        machine,
        kinds: Default::default(),
        requests: VecDeque::new(),
        responses: VecDeque::new(),
    };
    for (at, step) in steps.iter().enumerate() {
        let kind = |n: &usize| ResourceType::ASKED[*n];
        match step {
            Step::Put(of, n, true) => {
                hidden.insert((kind(of), NAMES[*n]), true);
                things.by_name_only(kind(of), NAMES[*n], &at.to_string());
            }
            Step::Put(of, n, false) => {
                hidden.insert((kind(of), NAMES[*n]), false);
                things.put(kind(of), NAMES[*n], &at.to_string(), Vec::new());
            }
            Step::Remove(of, n) => things.remove(kind(of), NAMES[*n]),
            Step::Publish => {
                client.machine.update(things.publish());
                client.collect();
            }
            Step::Subscribe(of, n) => client.wish(kind(of), |names| _ = names.insert(NAMES[*n].to_owned())),
            Step::Unsubscribe(of, n) => client.wish(kind(of), |names| _ = names.remove(NAMES[*n])),
            Step::Request => _ = client.deliver_request(),
            Step::Response => _ = client.deliver_response(),
            Step::Reconnect => client.reconnect(&mut things),
        }
    }
    client.machine.update(things.publish());
    client.collect();
    let mut talked = 0;
    while client.deliver_request() || client.deliver_response() || client.machine.is_waiting() {
        talked += 1;
        assert!(talked < 10_000, "the two never stop talking");
        if client.requests.is_empty() && client.responses.is_empty() && client.machine.is_waiting() {
            // It came back and says nothing of its listeners: the last resort.
            client.machine.end_patience(client.machine.updates());
            client.collect();
        }
    }
    for kind in ResourceType::ASKED {
        let state = &client.kinds[kind as usize];
        let is_hidden =
            |name: &str| hidden.iter().any(|((of, it), hidden)| *of == kind && *it == name && *hidden);
        let there = things.of(kind).iter().filter(|(name, _)| state.wants(name, is_hidden(name)));
        let there: Having =
            there.map(|(name, resource)| (name.clone(), resource.version().to_owned())).collect();
        let mut having = state.having.clone();
        if V::is_full(kind) || !V::TELLS {
            // It may keep what it does not want; and SotW has no word for "it is gone" but a full state.
            having.retain(|name, _| state.wants(name, is_hidden(name)));
            if !V::is_full(kind) {
                having.retain(|name, _| there.contains_key(name));
            }
        }
        assert_eq!(having, there, "{kind}");
    }
}

/// A case that chance found: what was on its way to a client that no longer wanted it looked to the client like
/// a part of the wildcard that it began meanwhile.
#[test]
fn what_is_on_its_way_when_the_wildcard_begins_is_told_of() {
    use Step::{Publish, Put, Remove, Request, Subscribe, Unsubscribe};
    run::<Delta>(&[Subscribe(2, 2), Put(2, 2, true), Unsubscribe(2, 2), Subscribe(2, 3)]);
    run::<Delta>(&[
        Put(2, 2, false),
        Publish,
        Subscribe(2, 2),
        Request,
        Unsubscribe(2, 2),
        Request,
        Remove(2, 2),
        Publish,
        Subscribe(2, 3),
    ]);
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_delta_client_ends_with_what_it_wants(steps in proptest::collection::vec(step(), 0..80)) {
        run::<Delta>(&steps);
    }

    #[test]
    fn any_sotw_client_ends_with_what_it_wants(steps in proptest::collection::vec(step(), 0..80)) {
        run::<Sotw>(&steps);
    }
}
