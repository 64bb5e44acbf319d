//! A client's end of one machine: says requests as real clients write them, reads responses as text.
//!
//! A response reads `cds a@1 b@2 -c`: type, resources with their content, removed names.

use std::collections::BTreeMap;
use std::sync::Arc;

use pilot::resources::{ResourceType, View};
use pilot::xds::{
    Delta, Limits, Machine, Refusal, RequestOutcome, Response, Shared, Sotw, StateRequest, Variant,
};
use pilot_envoy_api::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DiscoveryRequest, Resource as DeltaResource,
};
use pilot_envoy_api::google::protobuf::Any;
use pilot_envoy_api::google::rpc::Status;
use prost::Message;

use crate::things::Thing;

/// What a response holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Content {
    /// Name and content.
    pub(crate) resources: Vec<(String, String)>,
    pub(crate) removed: Vec<String>,
    pub(crate) version: String,
    pub(crate) nonce: String,
    pub(crate) type_url: String,
}

/// The two variants, as far as a driver has to tell them apart.
pub(crate) trait Dialect: Variant {
    /// The acknowledgement of a response, or its rejection. `names`: what the client is subscribed to.
    fn answer(content: &Content, accepted: &str, names: &[String], error: Option<Status>) -> Self::Request;
    /// What a response holds. `read`: what stands for a resource, which in delta has a version of its own.
    fn read(message: &Self::Response, read: Read<'_>) -> Content;

    fn content(message: &Self::Response) -> Content {
        Self::read(message, &|any, version| {
            let thing = Thing::of(any);
            let is_rope = thing.content.contains('>') || thing.content.is_empty();
            assert!(is_rope || version.is_none_or(|version| version == thing.content));
            thing
        })
    }
}

pub(crate) type Read<'a> = &'a dyn Fn(&Any, Option<&str>) -> Thing;

impl Dialect for Sotw {
    fn answer(content: &Content, accepted: &str, names: &[String], error: Option<Status>) -> StateRequest {
        let request = DiscoveryRequest {
            version_info: accepted.to_owned(),
            resource_names: names.to_vec(),
            type_url: content.type_url.clone(),
            response_nonce: content.nonce.clone(),
            error_detail: error,
            ..Default::default()
        };
        request.into()
    }

    fn read(message: &Self::Response, read: Read<'_>) -> Content {
        let anys = message.resources.iter().map(|bytes| Any::decode(bytes.clone()).unwrap());
        let things = anys.map(|any| read(&any, None));
        Content {
            resources: things.map(|thing| (thing.name, thing.content)).collect(),
            removed: Vec::new(),
            version: message.version_info.clone(),
            nonce: message.nonce.clone(),
            type_url: message.type_url.clone(),
        }
    }
}

impl Dialect for Delta {
    fn answer(content: &Content, _: &str, _: &[String], error: Option<Status>) -> DeltaDiscoveryRequest {
        DeltaDiscoveryRequest {
            type_url: content.type_url.clone(),
            response_nonce: content.nonce.clone(),
            error_detail: error,
            ..Default::default()
        }
    }

    fn read(message: &Self::Response, read: Read<'_>) -> Content {
        let things = message.resources.iter().map(|bytes| {
            let resource = DeltaResource::decode(bytes.clone()).unwrap();
            let thing = read(resource.resource.as_ref().unwrap(), Some(&resource.version));
            assert_eq!(thing.name, resource.name);
            (thing.name, thing.content)
        });
        Content {
            resources: things.collect(),
            removed: message.removed_resources.clone(),
            version: message.system_version_info.clone(),
            nonce: message.nonce.clone(),
            type_url: message.type_url.clone(),
        }
    }
}

/// One stream. What it receives stays unanswered until the test answers it.
pub(crate) struct Stream<V: Dialect> {
    pub(crate) machine: Machine<V>,
    received: Vec<String>,
    /// By type URL: the last response.
    last: BTreeMap<String, Content>,
    accepted: BTreeMap<String, String>,
    names: BTreeMap<String, Vec<String>>,
}

pub(crate) const LIMITS: Limits = Limits { max_names: 100 };

impl<V: Dialect> Stream<V> {
    /// An aggregated stream.
    pub(crate) fn ads(set: &Arc<View>) -> Self {
        let mut stream = Self::new(None);
        stream.update(set);
        stream
    }

    /// A stream of one type.
    pub(crate) fn of(kind: ResourceType, set: &Arc<View>) -> Self {
        let mut stream = Self::new(Some(kind));
        stream.update(set);
        stream
    }

    /// A stream on which nothing is known yet.
    pub(crate) fn new(only: Option<ResourceType>) -> Self {
        Self::beside(only, &Arc::default())
    }

    /// The same, of a server that has other streams.
    pub(crate) fn beside(only: Option<ResourceType>, shared: &Arc<Shared>) -> Self {
        Self {
            machine: Machine::new(only, LIMITS, Arc::clone(shared)),
            received: Vec::new(),
            last: BTreeMap::new(),
            accepted: BTreeMap::new(),
            names: BTreeMap::new(),
        }
    }

    pub(crate) fn update(&mut self, set: &Arc<View>) {
        self.machine.update(Arc::clone(set));
        self.collect();
    }

    pub(crate) fn request(&mut self, request: impl Into<V::Request>) -> RequestOutcome {
        self.try_request(request).unwrap()
    }

    pub(crate) fn try_request(&mut self, request: impl Into<V::Request>) -> Result<RequestOutcome, Refusal> {
        let outcome = self.machine.request(request)?;
        self.collect();
        Ok(outcome)
    }

    pub(crate) fn ack(&mut self, kind: ResourceType) -> RequestOutcome {
        let content = self.last[kind.type_url()].clone();
        self.accepted.insert(kind.type_url().to_owned(), content.version.clone());
        self.answer(kind, &content, None)
    }

    pub(crate) fn nack(&mut self, kind: ResourceType) -> RequestOutcome {
        self.refuse(kind, "no good")
    }

    pub(crate) fn refuse(&mut self, kind: ResourceType, words: &str) -> RequestOutcome {
        let content = self.last[kind.type_url()].clone();
        let error = Status { code: 13, message: words.to_owned(), ..Default::default() };
        self.answer(kind, &content, Some(error))
    }

    /// Answers until nothing more comes: refuses, without a name, each response that holds something bad. Says all that
    /// came.
    pub(crate) fn judge(&mut self, is_bad: impl Fn(&str, &str) -> bool) -> Vec<String> {
        let mut all = self.received();
        loop {
            let waiting = ResourceType::ALL.into_iter().filter(|kind| self.is_unanswered(*kind));
            for kind in waiting.collect::<Vec<_>>() {
                let bad = self.last[kind.type_url()].resources.iter().any(|(name, it)| is_bad(name, it));
                _ = if bad { self.nack(kind) } else { self.ack(kind) };
            }
            if self.received.is_empty() {
                return all;
            }
            all.append(&mut self.received);
        }
    }

    /// What the client refuses of a type.
    pub(crate) fn refused(&self, kind: ResourceType) -> Vec<String> {
        self.machine.state(kind).refusals().map(|(_, refused)| refused.rejection.to_string()).collect()
    }

    fn answer(&mut self, kind: ResourceType, content: &Content, error: Option<Status>) -> RequestOutcome {
        let accepted = self.accepted.get(kind.type_url()).cloned().unwrap_or_default();
        let names = self.names.get(kind.type_url()).cloned().unwrap_or_default();
        self.request(V::answer(content, &accepted, &names, error))
    }

    /// Acknowledges everything until nothing more comes. Says all that came.
    pub(crate) fn settle(&mut self) -> Vec<String> {
        let mut all = self.received();
        loop {
            let waiting = ResourceType::ALL.into_iter().filter(|kind| self.is_unanswered(*kind));
            for kind in waiting.collect::<Vec<_>>() {
                self.ack(kind);
            }
            if self.received.is_empty() {
                return all;
            }
            all.append(&mut self.received);
        }
    }

    pub(crate) fn offer_unbound(&mut self) {
        self.machine.offer_unbound();
        self.collect();
    }

    pub(crate) fn end_patience(&mut self) {
        self.end_patience_until(self.machine.updates());
    }

    pub(crate) fn end_patience_until(&mut self, update: u64) {
        self.machine.end_patience(update);
        self.collect();
    }

    /// What came since this was last asked.
    pub(crate) fn received(&mut self) -> Vec<String> {
        std::mem::take(&mut self.received)
    }

    pub(crate) fn last(&self, kind: ResourceType) -> &Content {
        &self.last[kind.type_url()]
    }

    fn is_unanswered(&self, kind: ResourceType) -> bool {
        !self.machine.state(kind).in_flight.is_empty()
    }

    fn collect(&mut self) {
        let responses = self.machine.responses();
        for Response { message, .. } in responses {
            let content = V::content(&message);
            let names = content.resources.iter().map(|(name, _)| name).chain(&content.removed);
            let mut names: Vec<_> = names.collect();
            names.sort();
            assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "P13: a name twice in {content:?}");
            self.received.push(text(&content));
            self.last.insert(content.type_url.clone(), content);
        }
        assert!(self.machine.responses().is_empty(), "all that may be sent is sent at once");
    }
}

fn text(content: &Content) -> String {
    let kind = ResourceType::from_type_url(&content.type_url);
    let mut text = kind.map_or_else(|| content.type_url.clone(), |kind| kind.to_string());
    for (name, content) in &content.resources {
        text.push_str(&format!(" {name}@{content}"));
    }
    for name in &content.removed {
        text.push_str(&format!(" -{name}"));
    }
    text
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

impl Stream<Sotw> {
    /// Asks for these names, with the nonce of the last response of the type.
    pub(crate) fn ask(&mut self, kind: ResourceType, names: &[&str]) -> RequestOutcome {
        self.names.insert(kind.type_url().to_owned(), owned(names));
        let nonce = self.last.get(kind.type_url()).map(|content| content.nonce.clone());
        let request = self.request_for(kind, names, &nonce.unwrap_or_default());
        self.request(request)
    }

    /// Asks for these names, with no nonce.
    pub(crate) fn ask_anew(&mut self, kind: ResourceType, names: &[&str]) -> RequestOutcome {
        self.names.insert(kind.type_url().to_owned(), owned(names));
        let request = self.request_for(kind, names, "");
        self.request(request)
    }

    pub(crate) fn request_for(&self, kind: ResourceType, names: &[&str], nonce: &str) -> DiscoveryRequest {
        DiscoveryRequest {
            version_info: self.accepted.get(kind.type_url()).cloned().unwrap_or_default(),
            resource_names: owned(names),
            type_url: kind.type_url().to_owned(),
            response_nonce: nonce.to_owned(),
            ..Default::default()
        }
    }
}

/// A delta request without a nonce.
pub(crate) fn delta_request(
    kind: ResourceType,
    subscribe: &[&str],
    unsubscribe: &[&str],
) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        type_url: kind.type_url().to_owned(),
        resource_names_subscribe: owned(subscribe),
        resource_names_unsubscribe: owned(unsubscribe),
        ..Default::default()
    }
}

impl Stream<Delta> {
    pub(crate) fn ask(&mut self, kind: ResourceType, subscribe: &[&str]) -> RequestOutcome {
        self.request(delta_request(kind, subscribe, &[]))
    }

    pub(crate) fn drop_names(&mut self, kind: ResourceType, unsubscribe: &[&str]) -> RequestOutcome {
        self.request(delta_request(kind, &[], unsubscribe))
    }

    /// The first request of a type by a client that comes back: names, and `name@content` of what it holds.
    pub(crate) fn come_back(
        &mut self,
        kind: ResourceType,
        subscribe: &[&str],
        holds: &[&str],
    ) -> RequestOutcome {
        let held = holds.iter().map(|it| it.split_once('@').unwrap());
        let initial_resource_versions =
            held.map(|(name, content)| (name.to_owned(), content.to_owned())).collect();
        self.request(DeltaDiscoveryRequest {
            initial_resource_versions,
            ..delta_request(kind, subscribe, &[])
        })
    }
}
