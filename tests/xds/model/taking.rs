//! What the client takes of a response, and what it refuses.

use std::collections::BTreeSet;

use pilot::resources::ResourceType::{self, Cluster, Listener, Route, VirtualHost};
use pilot_envoy_api::google::rpc::Status;

use super::words::{Words, hosts, is_read};
use super::{Envoy, Kind};
use crate::driver::Content;

/// The virtual hosts of these routes that are new to who has others.
fn news(having: Option<&String>, content: &str) -> Vec<String> {
    let before: Vec<_> = having.into_iter().flat_map(|content| hosts(content)).collect();
    let new = hosts(content).filter(|host| !before.contains(host));
    new.map(|(name, host)| format!("{name} {host:?}")).collect()
}

impl<V: Words> Envoy<V> {
    /// Takes of a response what it can, and says what is wrong with the rest.
    pub(super) fn take(&mut self, kind: ResourceType, content: &Content) -> Option<Status> {
        if kind == VirtualHost {
            return self.take_hosts(content);
        }
        if V::is_full(kind) && !V::TELLS {
            let before = self.versions.entry((kind, content.version.clone()));
            let before = before.or_insert_with(|| content.resources.clone());
            assert_eq!(*before, content.resources, "P4a: two contents of {kind} have one version");
        }
        let mut taken: Vec<(String, String)> = content.resources.clone();
        let bad: Vec<(String, String)> =
            taken.iter().filter(|(_, content)| self.refuses(content)).cloned().collect();
        if bad.is_empty() {
            self.accept(kind, content, taken);
            let Kind { told, names, .. } = &mut self.kinds[kind as usize];
            content.removed.iter().for_each(|name| _ = told.remove(name));
            let is_wanted = |name: &String| kind.has_wildcard() || names.contains(name);
            told.extend(content.resources.iter().filter(|(name, _)| is_wanted(name)).cloned());
            self.kinds[kind as usize].accepted.clone_from(&content.version);
            return None;
        }
        let state = &mut self.kinds[kind as usize];
        state.allowed += 2 * taken.len() + 2;
        for (name, content) in &bad {
            let had = state.having.get(name).cloned();
            state.refused.insert(name.clone(), had);
            // Of routes, virtual hosts are tried, each beside those that the client has.
            let tried: Vec<String> = match kind == Route && is_read(content) {
                true => news(state.having.get(name), content),
                false => vec![content.clone()],
            };
            let [tried] = tried.as_slice() else { continue };
            let alone = state.alone.entry((name.clone(), tried.clone())).or_default();
            *alone += usize::from(taken.len() == 1);
            // Of who came back and cannot say what it has, it is not known which virtual hosts are new to it.
            let is_unsaid = self.came_back && !V::TELLS && kind == Route;
            let asks = state.asks.get(name).copied().unwrap_or_default().max(1) + usize::from(is_unsaid);
            assert!(*alone <= asks || kind == Listener, "{kind} {name}@{content} is tried twice");
        }
        let message = if let Some((name, _)) = taken.iter().find(|it| it.1.ends_with("worse")) {
            // Envoy prints the resource. A client that has forgotten what it has needs the name.
            let name = if V::is_full(kind) { name.clone() } else { String::new() };
            taken.clear();
            format!("name: \"{name}\"\n: Proto constraint validation failed")
        } else if kind.has_wildcard() {
            taken.retain(|it| !bad.contains(it));
            let what = if kind == Cluster { "cluster" } else { "listener" };
            let each: Vec<String> = bad.iter().map(|(name, _)| format!("{name}: no good")).collect();
            format!("Error adding/updating {what}(s) {}", each.join(", "))
        } else {
            taken.sort_by_key(|(name, _)| name.bytes().map(|byte| byte.wrapping_mul(37)).collect::<Vec<_>>());
            taken.truncate(taken.iter().position(|it| bad.contains(it)).unwrap());
            "malformed IP address".to_owned()
        };
        if !taken.is_empty() || message.contains("(s)") {
            let mut whole = content.clone();
            if !kind.has_wildcard() {
                whole.removed.clear();
            }
            let names: Vec<String> = taken.iter().map(|(name, _)| name.clone()).collect();
            self.accept(kind, &whole, taken);
            self.took_untold(kind, content, names);
        }
        Some(Status { code: 13, message, ..Default::default() })
    }

    /// It took these from a response that it refuses.
    pub(super) fn took_untold(&mut self, kind: ResourceType, from: &Content, names: Vec<String>) {
        let state = &mut self.kinds[kind as usize];
        if V::TELLS && from.nonce.parse::<u64>().unwrap() <= self.moved {
            state.foreign.extend(names.iter().cloned());
        }
        state.untold.extend(names);
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
            state.foreign.remove(&name);
            if kind.has_wildcard() || state.names.contains(&name) {
                state.having.insert(name, content);
            }
        }
        for name in &response.removed {
            state.refused.remove(name);
            state.untold.remove(name);
            state.foreign.remove(name);
            state.having.remove(name);
        }
    }
}
