//! Secrets on an aggregated stream: a secret is what its name says (`resources/secret.rs`), so there is nothing to follow. A
//! client is answered once for each name, and again where it asks again.
//!
//! One that the client refused is offered again after a while: a file may be there by then.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::composed::Composed;
use super::variant::Variant;
use crate::resources::secret;

/// What a client asks for, and is owed.
#[derive(Debug, Default)]
pub(super) struct Secrets {
    /// All names that a client of the state of the world listed last.
    listed: Vec<String>,
    /// Names that it is to be sent.
    owed: BTreeSet<String>,
    /// The nonce and the names of the last response, until it is answered.
    sent: Option<(Box<str>, Vec<String>)>,
    /// Names that it refused, and how often.
    refused: BTreeMap<String, u32>,
}

impl Secrets {
    /// Takes in a request.
    pub(super) fn request<V: Variant>(&mut self, request: &V::Request) {
        let parts = V::parts(request);
        if let Some((_, names)) = self.sent.take_if(|(nonce, _)| **nonce == *parts.nonce) {
            for name in names {
                match parts.error {
                    Some(_) => *self.refused.entry(name).or_default() += 1,
                    None => _ = self.refused.remove(&name),
                }
            }
        }
        let names = V::asked_names(request, &mut self.listed);
        self.owed.extend(names.into_iter().filter(|name| !name.is_empty()));
    }

    /// What is to be sent now, if anything. One after the other: who refuses a response says of none which it was.
    pub(super) fn compose(&mut self, nonce: &str) -> Option<Composed> {
        let mut composed = Composed::default();
        while self.sent.is_none() {
            let Some(name) = self.owed.pop_first() else { break };
            match secret(&name, self.refused.get(&name).copied().unwrap_or_default()) {
                Some(secret) => {
                    composed.resources.push(Arc::new(secret));
                    self.sent = Some((nonce.into(), vec![name]));
                }
                None => composed.removed.push(name.into()),
            }
        }
        let is_empty = composed.resources.is_empty() && composed.removed.is_empty();
        (!is_empty).then_some(composed)
    }

    /// Whether the client refused some.
    pub(super) fn has_refused(&self) -> bool {
        !self.refused.is_empty()
    }

    /// Offers those again that the client refused.
    pub(super) fn offer_refused(&mut self) {
        self.owed.extend(self.refused.keys().cloned());
    }
}
