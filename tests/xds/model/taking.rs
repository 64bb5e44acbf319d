//! What the client takes of a response, and what it refuses.

use std::collections::BTreeSet;

use pilot::resources::ResourceType::{self, Cluster, Listener};
use pilot_envoy_api::google::rpc::Status;

use super::Envoy;
use super::words::{Words, is_bad};
use crate::driver::Content;

impl<V: Words> Envoy<V> {
    /// Takes of a response what it can, and says what is wrong with the rest.
    pub(super) fn take(&mut self, kind: ResourceType, content: &Content) -> Option<Status> {
        let mut taken: Vec<(String, String)> = content.resources.clone();
        let bad: Vec<String> =
            taken.iter().filter(|(_, content)| is_bad(content)).map(|(name, _)| name.clone()).collect();
        if bad.is_empty() {
            self.accept(kind, content, taken);
            self.kinds[kind as usize].accepted.clone_from(&content.version);
            return None;
        }
        let state = &mut self.kinds[kind as usize];
        state.allowed += 2 * taken.len() + 2;
        for (name, content) in taken.iter().filter(|(_, content)| is_bad(content)) {
            let had = state.having.get(name).cloned();
            state.refused.insert(name.clone(), had);
            let alone = state.alone.entry((name.clone(), content.clone())).or_default();
            *alone += usize::from(taken.len() == 1);
            let asks = state.asks.get(name).copied().unwrap_or_default().max(1);
            assert!(*alone <= asks || kind == Listener, "{kind} {name}@{content} is tried twice");
        }
        let message = if let Some((name, _)) = taken.iter().find(|it| it.1.ends_with("worse")) {
            // Envoy prints the resource. A client that has forgotten what it has needs the name.
            let name = if V::is_full(kind) { name.clone() } else { String::new() };
            taken.clear();
            format!("name: \"{name}\"\n: Proto constraint validation failed")
        } else if kind.has_wildcard() {
            taken.retain(|(name, _)| !bad.contains(name));
            let what = if kind == Cluster { "cluster" } else { "listener" };
            let each: Vec<String> = bad.iter().map(|name| format!("{name}: no good")).collect();
            format!("Error adding/updating {what}(s) {}", each.join(", "))
        } else {
            taken.sort_by_key(|(name, _)| name.bytes().map(|byte| byte.wrapping_mul(37)).collect::<Vec<_>>());
            taken.truncate(taken.iter().position(|(_, content)| is_bad(content)).unwrap());
            "malformed IP address".to_owned()
        };
        if !taken.is_empty() || message.contains("(s)") {
            let mut whole = content.clone();
            if !kind.has_wildcard() {
                whole.removed.clear();
            }
            let names: Vec<String> = taken.iter().map(|(name, _)| name.clone()).collect();
            self.accept(kind, &whole, taken);
            self.kinds[kind as usize].untold.extend(names);
        }
        Some(Status { code: 13, message, ..Default::default() })
    }

    fn accept(&mut self, kind: ResourceType, response: &Content, taken: Vec<(String, String)>) {
        let state = &mut self.kinds[kind as usize];
        state.stuck = false;
        if V::is_full(kind) {
            let stays: BTreeSet<&String> = response.resources.iter().map(|(name, _)| name).collect();
            state.having.retain(|name, _| stays.contains(name));
            state.refused.retain(|name, _| stays.contains(name));
        }
        for (name, content) in taken {
            if state.having.get(&name) != Some(&content) {
                state.refused.remove(&name);
            }
            state.untold.remove(&name);
            if kind.has_wildcard() || state.names.contains(&name) {
                state.having.insert(name, content);
            }
        }
        for name in &response.removed {
            state.refused.remove(name);
            state.untold.remove(name);
            state.having.remove(name);
        }
    }
}
