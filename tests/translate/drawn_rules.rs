//! Documents of rules that chance draws: few names and hosts, so that they meet each other, and services.

use std::sync::Arc;

use pilot::rules::{DocumentChange, Library, Rules, StoreRank};
use pilot_registry::{Text, Texts};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

fn word(words: &[&'static str]) -> impl Strategy<Value = &'static str> + use<> {
    prop::sample::select(words.to_vec())
}

/// Few hosts, so that documents meet, and services have some of them.
fn host() -> impl Strategy<Value = &'static str> {
    word(&["a", "b", "c", "x", "web", "gone", "shop.example", "*.example", "A"])
}

fn export_to() -> impl Strategy<Value = Value> {
    prop::sample::select(vec![
        json!([]),
        json!(["*"]),
        json!(["."]),
        json!(["shop"]),
        json!(["default", "shop"]),
    ])
}

fn condition() -> impl Strategy<Value = Value> {
    prop::sample::select(vec![
        json!([]),
        json!([{ "sourceNamespace": "shop" }]),
        json!([{ "sourceLabels": { "app": "web" } }]),
        json!([{ "port": 80 }, { "uri": { "prefix": "/x" } }]),
    ])
}

fn rule() -> impl Strategy<Value = Value> {
    let destination = (host(), word(&["", "v1", "v2"])).prop_map(|(host, subset)| match subset {
        "" => json!({ "host": host.trim_start_matches('*').trim_start_matches('.') }),
        subset => json!({ "host": host.trim_start_matches('*').trim_start_matches('.'), "subset": subset }),
    });
    (condition(), vec(destination, 1..3), any::<u8>()).prop_map(|(condition, destinations, what)| {
        match what % 4 {
            0 => json!({ "match": condition, "delegate": { "name": "delegated" } }),
            1 => json!({ "match": condition, "directResponse": { "status": 299 } }),
            _ => {
                let weighted = |destination| json!({ "destination": destination, "weight": 1 });
                let route: Vec<Value> = destinations.into_iter().map(weighted).collect();
                json!({ "match": condition, "route": route })
            }
        }
    })
}

fn places() -> impl Strategy<Value = Option<Value>> {
    prop::sample::select(vec![
        None,
        None,
        Some(json!({})),
        Some(json!({ "enabled": true })),
        Some(json!({ "enabled": false })),
        Some(json!({ "failover": [{ "from": "eu", "to": "us" }] })),
        Some(json!({ "failoverPriority": ["version", "topology.kubernetes.io/region"] })),
        Some(json!({ "failoverPriority": ["version=v2"] })),
        Some(json!({ "distribute": [{ "from": "eu/*", "to": { "eu/a/*": 70, "us/*": 30 } }] })),
        Some(json!({ "distribute": [{ "from": "*", "to": { "us": 100 } }] })),
    ])
}

/// A document's name, namespace, kind and spec.
pub(crate) fn document() -> impl Strategy<Value = Value> {
    let named = |kind: &str, name: &str, namespace: &str, spec: Value| {
        let metadata = json!({ "name": name, "namespace": namespace });
        json!({ "apiVersion": "networking.istio.io/v1", "kind": kind, "metadata": metadata, "spec": spec })
    };
    let spaces = || word(&["default", "shop"]);
    let routes = (word(&["one", "two"]), spaces(), host(), vec(rule(), 1..4), export_to());
    let routes = routes.prop_map(move |(name, namespace, host, http, export_to)| {
        let spec = json!({ "hosts": [host], "http": http, "exportTo": export_to });
        named("VirtualService", name, namespace, spec)
    });
    let delegated = (spaces(), vec(rule(), 1..3)).prop_map(move |(namespace, mut http)| {
        // One level only.
        http.retain(|rule| rule.get("delegate").is_none());
        http.push(json!({ "directResponse": { "status": 298 } }));
        named("VirtualService", "delegated", namespace, json!({ "http": http }))
    });
    let balancer = word(&["RANDOM", "LEAST_REQUEST", "ROUND_ROBIN"]);
    let policies = (spaces(), host(), balancer, export_to(), 0..4u8, places(), places());
    let policies = policies.prop_map(move |(namespace, host, balancer, export_to, form, own, of_subset)| {
        let labels = if form == 0 { json!({}) } else { json!({ "version": "v1" }) };
        let mut spec = json!({
            "host": host,
            "subsets": [{ "name": "v1", "labels": labels }],
            "trafficPolicy": { "loadBalancer": { "simple": balancer } },
            "exportTo": export_to,
        });
        if let Some(own) = own {
            spec["trafficPolicy"]["loadBalancer"]["localityLbSetting"] = own;
        }
        if let Some(of_subset) = of_subset {
            spec["subsets"][0]["trafficPolicy"] =
                json!({ "loadBalancer": { "localityLbSetting": of_subset } });
        }
        if form == 1 {
            spec["workloadSelector"] = json!({ "matchLabels": { "app": "web" } });
            spec["exportTo"] = json!(["."]);
        }
        named("DestinationRule", balancer.to_lowercase().replace('_', "-").as_str(), namespace, spec)
    });
    prop_oneof![3 => routes, 1 => delegated, 2 => policies]
}

/// What a store has, and what is in force of it.
#[derive(Default)]
pub(crate) struct Store {
    library: Library,
    pub(crate) rules: Rules,
}

impl Store {
    pub(crate) fn take(&mut self, documents: &[Value]) {
        let text = |document: &Value| {
            let text = Text { text: document.to_string().into(), age: None, namespace: None };
            (document["metadata"].to_string().into(), Arc::new(text))
        };
        self.take_texts(&documents.iter().map(text).collect());
    }

    /// Takes in documents as users write them.
    pub(crate) fn read(&mut self, text: &str) {
        let text = Text { text: text.into(), age: None, namespace: None };
        self.take_texts(&Texts::from_iter([("rules.yaml".into(), Arc::new(text))]));
    }

    fn take_texts(&mut self, texts: &Texts) {
        let changed = self.library.take(texts, "default").documents;
        let rank = StoreRank { priority: 0, name: "local".into() };
        let in_force = self.library.in_force();
        let change = |id| DocumentChange { store: rank.clone(), now: in_force.get(&id).cloned(), id };
        self.rules = self.rules.with(changed.into_iter().map(change)).0;
    }

    /// What is said against documents that are rejected.
    pub(crate) fn rejections(&self) -> Vec<String> {
        let rejected = self.library.entries().iter().filter(|entry| entry.is_rejected());
        rejected.map(|entry| format!("{}: {:?}", entry.place, entry.findings)).collect()
    }
}
