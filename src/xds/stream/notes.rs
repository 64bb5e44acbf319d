//! Reports of a stream to the metrics, the log and the list of proxies. They never change what the client is
//! sent.

use prost::Message;
use tonic::Status;

use super::Session;
use crate::proxies::{REFUSED_NAMES_MAX, cut};
use crate::resources::ResourceType;
use crate::xds::machine::{Answer, Outcome, Refusal, Response, Variant};

impl<V: Variant, S> Session<V, S> {
    pub(super) fn note_outcome(&mut self, outcome: Outcome) {
        let Some(client) = &mut self.client else { return };
        let Some(kind) = outcome.kind else {
            self.context.metrics.unknown_type();
            tracing::debug!(proxy = &*client.proxy.id, "a type that does not exist was asked for");
            return;
        };
        let state = self.machine.state(kind);
        client.connection.update(kind, |status| {
            status.wildcard = state.subscription.is_wildcard();
            status.names = state.subscription.names().len();
        });
        let refused = || state.rejected.keys().take(REFUSED_NAMES_MAX).map(|name| (**name).into()).collect();
        match outcome.answer {
            Some(Answer::Ack { version, .. }) => {
                let changed = client.changed[kind as usize].take();
                self.context.metrics.acked(kind, changed.map(|changed| changed.elapsed()));
                client.connection.update(kind, |status| status.on_acked(&version, refused()));
            }
            Some(Answer::Nack { version, message }) => {
                self.context.metrics.nacked(kind);
                // A string value is escaped in either format of the log; the client's words are not to look
                // like pilot's own.
                let (id, reason) = (&*client.proxy.id, cut(&message));
                tracing::warn!(proxy = id, %kind, %version, reason, "proxy rejected its configuration");
                client.connection.update(kind, |status| status.on_nacked(&version, reason, refused()));
            }
            None => {}
        }
    }

    pub(super) fn note_sent(&mut self, response: &Response<V::Response>) {
        let (Some(client), Some(kind)) = (&mut self.client, response.kind) else { return };
        self.context.metrics.pushed(kind, response.resources, response.message.encoded_len());
        client.changed[kind as usize] = client.news[kind as usize].take();
        let Response { version, nonce, resources, .. } = response;
        client.connection.update(kind, |status| status.on_sent(version, nonce, *resources));
    }

    /// A type of which the client brought everything that there is from an earlier stream is in sync,
    /// although nothing is sent. And what is not owed any more is no news.
    pub(super) fn note_brought(&mut self) {
        let Some(client) = &mut self.client else { return };
        for kind in ResourceType::ALL {
            let state = self.machine.state(kind);
            if state.in_flight.is_some() || state.pending.has_updates() || !state.pending.removals.is_empty()
            {
                continue;
            }
            client.news[kind as usize] = None;
            if let Some(set) = client.set.as_ref().filter(|_| state.last_nonce.is_none())
                && !state.held.resources().is_empty()
            {
                client.connection.update(kind, |status| status.on_brought(set.of(kind).version()));
            }
        }
    }
}

/// What ends the stream of a client that sent what is refused.
pub(super) fn refusal_status(refusal: &Refusal) -> Status {
    let reason = refusal.to_string();
    match refusal {
        Refusal::NoType | Refusal::WrongType { .. } | Refusal::TooLong { .. } => {
            Status::invalid_argument(reason)
        }
        Refusal::TooManyNames { .. } | Refusal::TooManyTypes => Status::resource_exhausted(reason),
    }
}

/// What it is counted as.
pub(super) fn refusal_name(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::NoType => "no_type",
        Refusal::WrongType { .. } => "wrong_type",
        Refusal::TooManyNames { .. } => "names",
        Refusal::TooLong { .. } => "length",
        Refusal::TooManyTypes => "types",
    }
}
