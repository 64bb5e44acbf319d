//! Reports of a stream to the metrics, the log and the list of proxies. They never change what the client is
//! sent.

use std::sync::Arc;

use prost::Message;
use tonic::Status;
use tracing::field::display;

use super::{Refuses, Session};
use crate::proxies::{NAMES_MAX, RefusedStatus};
use crate::proxy::{Proxy, Transport};
use crate::resources::{ResourceType, is_in_parts};
use crate::xds::rejections::Rejection;
use crate::xds::type_state::TypeState;
use crate::xds::variant::{Answer, Refusal, RequestOutcome, Response, Variant};
use crate::xds::words::cut;

impl<V: Variant, S> Session<V, S> {
    pub(super) fn note_outcome(&mut self, outcome: RequestOutcome) {
        match &outcome.answer {
            Some(Answer::Ack { .. }) => self.testify(),
            Some(Answer::Nack { culprits, .. }) => self.note_culprits(culprits),
            None => {}
        }
        let Some(client) = &mut self.client else { return };
        let Some(kind) = outcome.kind else { return };
        let state = self.machine.state(kind);
        client.connection.update(kind, |status| {
            status.wildcard = state.subscription.is_wildcard();
            status.names = state.subscription.names().len();
            status.withheld = client.spared.shown(kind);
        });
        match outcome.answer {
            Some(Answer::Ack { version, .. }) => {
                let changed = client.changed[kind].take();
                self.context.metrics.acked(kind, changed.map(|changed| changed.elapsed()));
                client.connection.update(kind, |status| status.on_acked(&version));
                if client.refuses[kind] == Refuses::Unknown {
                    client.refuses[kind] = Refuses::Known;
                }
            }
            Some(Answer::Nack { version, message, culprits }) => {
                self.context.metrics.nacked(kind);
                let id = &client.proxy.id;
                let told = &self.context.proxies.told().refused;
                let is_new = |culprit: &Arc<Rejection>| told.first((Arc::clone(id), culprit.key()));
                let is_news = culprits.iter().filter(|culprit| is_new(culprit)).count() > 0;
                let names: Vec<String> = culprits.iter().map(|culprit| culprit.to_string()).collect();
                // A string value is escaped in either format of the log; the client's words are not to look
                // like pilot's own.
                let (id, reason, refused) = (&**id, &*cut(&message), names.join(", "));
                if is_news || culprits.is_empty() {
                    tracing::warn!(proxy = id, %kind, %version, refused, reason, "proxy rejected its configuration");
                }
                client.connection.update(kind, |status| status.on_nacked(&version, reason));
                client.refuses[kind] = match culprits.is_empty() && !state.is_searching() {
                    true => Refuses::Unknown,
                    false => Refuses::Known,
                };
            }
            None => {}
        }
    }

    /// Shows what the client refuses now, of the types of which it refused something.
    pub(super) fn note_refusals(&mut self) {
        let Some(client) = &mut self.client else { return };
        for (kind, refuses) in client.refuses.iter_mut() {
            if *refuses != Refuses::Known {
                continue;
            }
            let state = self.machine.state(kind);
            let refused = state.refusals().take(NAMES_MAX).map(|(_, refused)| RefusedStatus::of(refused));
            let (refused, searching) = (refused.collect::<Vec<_>>(), state.is_searching());
            let is_mended = refused.is_empty() && !searching;
            if !searching {
                let view = self.machine.view();
                let is_there = |name: &str| view.is_some_and(|view| view.of(kind).get(name).is_some());
                let accepted = settled(state, &mut client.refused[kind], is_there);
                if !is_mended && !accepted.is_empty() {
                    let (accepted, count) = (accepted.join(", "), state.refusals().count());
                    tracing::info!(
                        proxy = &*client.proxy.id,
                        %kind,
                        accepted,
                        refused = count,
                        "proxy accepts again some of what it refused"
                    );
                }
            }
            client.connection.update(kind, |status| status.on_refusals(refused, searching));
            if is_mended {
                *refuses = Refuses::Nothing;
                tracing::info!(proxy = &*client.proxy.id, %kind, "proxy accepts its configuration again");
            }
        }
    }

    /// Notes the newest mesh of which the client has all that it asks for. What it was told in another scope does not count.
    pub(super) fn note_settled(&mut self) {
        let Some(client) = &mut self.client else { return };
        let now = client.set.as_ref().map(|set| set.generation());
        for kind in ResourceType::ALL {
            let state = self.machine.state(kind);
            let (before, names) = &mut client.settled[kind];
            let settled = match *before {
                _ if now.is_some() && self.machine.is_settled(kind) => now,
                // It has asked for more.
                before => before.filter(|_| now.is_some() && before != now),
            };
            let is_same = settled == *before && names.is_shared_with(state.subscription.names());
            if is_same || !state.requested {
                continue;
            }
            (*before, *names) = (settled, state.subscription.names().clone());
            client.connection.update(kind, |status| {
                (status.settled, status.asked) = (settled, names.clone());
            });
        }
    }

    /// The client asks for a type that does not exist here. The log says it once for each client and type.
    pub(super) fn note_unknown_type(&self, type_url: Box<str>) {
        let Some(client) = &self.client else { return };
        self.context.metrics.unknown_type();
        let id = &client.proxy.id;
        client.connection.asks_for_unknown(&type_url);
        if self.context.proxies.told().unknown_type.first((Arc::clone(id), type_url.clone())) {
            let (proxy, type_url) = (&**id, &*type_url);
            tracing::info!(proxy, type_url, "the proxy asks for a type that pilot does not serve");
        }
    }

    pub(super) fn note_sent(&mut self, response: &Response<V::Response>) {
        let (Some(client), Some(kind)) = (&mut self.client, response.kind) else { return };
        self.context.metrics.pushed(kind, response.resources, response.message.encoded_len());
        client.changed[kind] = client.news[kind].take();
        let Response { version, nonce, resources, .. } = response;
        client.connection.update(kind, |status| status.on_sent(version, nonce, *resources));
    }

    /// A type of which the client brought everything that there is from an earlier stream is in sync,
    /// although nothing is sent. And what is not owed any more is no news.
    pub(super) fn note_brought(&mut self) {
        let Some(client) = &mut self.client else { return };
        for kind in ResourceType::ALL {
            let state = self.machine.state(kind);
            if !state.is_quiet() {
                continue;
            }
            client.news[kind] = None;
            if let Some(set) = self.machine.view().filter(|_| state.last_nonce.is_none())
                && state.brought.came_back
            {
                client.connection.update(kind, |status| status.on_brought(set.of(kind).version()));
            }
        }
    }
}

impl<V: Variant, S> Session<V, S> {
    /// Says in the log what is worth a look about a client that opens a stream, once.
    pub(super) fn note_who(&self, proxy: &Proxy, transport: Transport) {
        let (told, id) = (self.context.proxies.told(), &*proxy.id);
        if let Some(why) = proxy.unsupported()
            && told.unsupported.first(Arc::clone(&proxy.id))
        {
            let client = &*proxy.user_agent;
            tracing::warn!(
                proxy = id,
                client,
                "the proxy is {why}: pilot is not tested with it, so upgrade it"
            );
        }
        if let Some(other) = self.context.proxies.twin(id, self.peer)
            && told.shared_id.first(Arc::clone(&proxy.id))
        {
            let peer = self.peer.map(|peer| display(peer.ip().to_canonical()));
            tracing::warn!(
                proxy = id, peer, %other,
                "2 proxies with one node id: give each its own (pilot bootstrap --node-id)"
            );
        }
        let is_silent = !proxy.says_xds_cluster() && proxy.user_agent.starts_with("envoy");
        if is_silent && transport != Transport::Ads && told.xds_cluster.first(Arc::clone(&proxy.id)) {
            let cluster = proxy.xds_cluster();
            tracing::info!(
                proxy = id,
                cluster,
                "the proxy does not use ADS: what it is sent names this cluster as the way to pilot. If its \
                 bootstrap has another name for it, set node.metadata.XDS_CLUSTER"
            );
        }
    }

    /// Lists the names that the client asks for and that do not exist. The names of routes in parts a client has from
    /// a listener alone: it asks for those of a listener that is gone until that has drained. Of listeners, which are what gRPC clients
    /// begin with, the log says it, too, once.
    pub(super) fn note_missing(&mut self) {
        let Some(client) = &mut self.client else { return };
        for kind in ResourceType::ALL {
            let known = &mut client.missing[kind];
            let missing = || {
                let missing = self.machine.state(kind).missing.iter();
                missing.filter(|name| !is_in_parts(name)).take(NAMES_MAX)
            };
            if missing().eq(known.iter()) {
                continue;
            }
            let fresh = missing().filter(|name| !known.contains(name)).cloned().collect::<Vec<_>>();
            *known = missing().cloned().collect();
            let names = known.iter().map(|name| (**name).into()).collect();
            client.connection.update(kind, |status| status.missing = names);
            for name in fresh.iter().filter(|_| kind == ResourceType::Listener) {
                let about = (Arc::clone(&client.proxy.id), Box::from(&**name));
                if self.context.proxies.told().missing.first(about) {
                    let (id, hint) = (&*client.proxy.id, self.context.source.hint(name));
                    tracing::warn!(
                        proxy = id,
                        name = &**name,
                        hint,
                        "no listener has the name that a client asks for"
                    );
                }
            }
        }
    }
}

/// What of `known` the client does not refuse any more, of what there still is. `known` is then what it refuses now.
fn settled(
    state: &TypeState,
    known: &mut Vec<(Arc<str>, String)>,
    is_there: impl Fn(&str) -> bool,
) -> Vec<String> {
    let all = || state.refusals().map(|(name, refused)| (name, &refused.rejection));
    let is = |(name, said): &(Arc<str>, String), rejection: &(&Arc<str>, &Arc<Rejection>)| {
        name == rejection.0 && *said == rejection.1.to_string()
    };
    let before = std::mem::take(known);
    *known = all().take(NAMES_MAX).map(|(name, it)| (Arc::clone(name), it.to_string())).collect();
    if before == *known {
        return Vec::new();
    }
    let is_over = |one: &&(Arc<str>, String)| is_there(&one.0) && !all().any(|it| is(one, &it));
    before.iter().filter(is_over).map(|(_, said)| said.clone()).collect()
}

/// What ends the stream of a client that sent what is refused.
pub(super) fn refusal_status(refusal: &Refusal) -> Status {
    let reason = refusal.to_string();
    match refusal {
        Refusal::NoType | Refusal::WrongType { .. } | Refusal::TooLong { .. } => {
            Status::invalid_argument(reason)
        }
        Refusal::TooManyNames { .. } | Refusal::TooManyBytes { .. } | Refusal::TooManyTypes => {
            Status::resource_exhausted(reason)
        }
    }
}

/// What it is counted as.
pub(super) fn refusal_name(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::NoType => "no_type",
        Refusal::WrongType { .. } => "wrong_type",
        Refusal::TooManyNames { .. } | Refusal::TooManyBytes { .. } => "names",
        Refusal::TooLong { .. } => "length",
        Refusal::TooManyTypes => "types",
    }
}
