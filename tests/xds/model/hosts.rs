//! Routes that the client takes in parts, as Envoy 1.40 does: it drops virtual hosts of routes that it does not have, and
//! says that it has them. Of a response it takes all or nothing for each of its routes.

use std::collections::{BTreeMap, BTreeSet};

use pilot::resources::ResourceType::{Route, VirtualHost};
use pilot::resources::is_in_parts;
use pilot_envoy_api::google::rpc::Status;

use super::Envoy;
use super::words::{Having, Words, hosts};
use crate::driver::Content;

/// What a client has of routes in parts, besides their virtual hosts.
#[derive(Default)]
pub(super) struct InParts {
    /// By routes: whether it has heard of some virtual host.
    live: BTreeMap<String, bool>,
    /// It has asked for virtual hosts, as it does once it has routes.
    asked: bool,
}

/// The routes that a virtual host belongs to.
pub(super) fn routes_of(name: &str) -> &str {
    name.rsplit_once('/').unwrap().0
}

/// Whether a domain is in two virtual hosts of these routes once the client takes what a response says.
fn is_doubled(having: &Having, response: &Content, is_own: impl Fn(&str) -> bool) -> bool {
    let said: Having = response.resources.iter().filter(|(name, _)| is_own(name)).cloned().collect();
    let is_gone = |name: &String| response.removed.contains(name) || said.contains_key(name);
    let kept = having.iter().filter(|(name, _)| is_own(name) && !is_gone(name));
    let mut domains = BTreeSet::new();
    let all = kept.chain(&said).flat_map(|(_, content)| hosts(content)).flat_map(|(_, host)| host.domains);
    all.into_iter().any(|domain| !domains.insert(domain))
}

impl<V: Words> Envoy<V> {
    /// It wants these routes, and drops all virtual hosts of others.
    pub(super) fn let_go_of_hosts(&mut self, wanted: &BTreeSet<String>) {
        self.in_parts.live.retain(|routes, _| wanted.contains(routes));
        let live = &self.in_parts.live;
        let state = &mut self.kinds[VirtualHost as usize];
        state.having.retain(|name, _| live.contains_key(routes_of(name)));
        state.refused.retain(|name, _| live.contains_key(routes_of(name)));
        state.untold.retain(|name| live.contains_key(routes_of(name)));
    }

    /// It has come back, and says which virtual hosts it has acknowledged.
    pub(super) fn come_back_with_hosts(&mut self) {
        let having = &self.kinds[VirtualHost as usize].having;
        for (routes, warm) in &mut self.in_parts.live {
            *warm &= having.keys().any(|name| routes_of(name) == routes);
        }
        if self.in_parts.asked {
            self.wish(VirtualHost, BTreeSet::new());
        }
    }

    /// It asks for virtual hosts once it has routes that it takes in parts.
    pub(super) fn ask_for_hosts(&mut self) {
        let routes = self.kinds[Route as usize].having.keys().filter(|name| is_in_parts(name));
        routes.for_each(|name| _ = self.in_parts.live.entry(name.clone()).or_default());
        if !self.in_parts.asked && !self.in_parts.live.is_empty() {
            self.in_parts.asked = true;
            self.wish(VirtualHost, BTreeSet::new());
        }
    }

    /// Behind routes come their virtual hosts.
    pub(super) fn expect_hosts(&mut self, routes: &Content) {
        for (name, _) in &routes.resources {
            let there =
                self.latest.of(VirtualHost).get(name).and_then(|it| it.rope()).map_or(0, |it| it.len());
            self.kinds[VirtualHost as usize].allowed += 1 + there;
        }
    }

    /// Takes what it can, routes by routes, and says what is wrong with the rest.
    pub(super) fn take_hosts(&mut self, content: &Content) -> Option<Status> {
        let refuses =
            |error: &str| Some(Status { code: 13, message: error.to_owned(), ..Default::default() });
        let bad: Vec<&(String, String)> =
            content.resources.iter().filter(|(_, content)| self.refuses(content)).collect();
        let state = &mut self.kinds[VirtualHost as usize];
        if !bad.is_empty() {
            state.allowed += 2 * content.resources.len() + 2;
        }
        for (name, _) in &bad {
            if self.in_parts.live.contains_key(routes_of(name)) {
                state.refused.insert(name.clone(), state.having.get(name).cloned());
            }
        }
        if bad.iter().any(|(_, content)| content.ends_with("worse")) {
            return refuses("name: \"\"\n: Proto constraint validation failed");
        }
        let names = content.resources.iter().map(|(name, _)| name).chain(&content.removed);
        let mut groups: Vec<&str> = names.map(|name| routes_of(name)).collect();
        groups.sort_by_key(|name| name.bytes().map(|byte| byte.wrapping_mul(37)).collect::<Vec<_>>());
        groups.dedup();
        let first_bad =
            groups.iter().position(|routes| bad.iter().any(|(name, _)| routes_of(name) == *routes));
        let taken = &groups[..first_bad.unwrap_or(groups.len())];
        for routes in taken {
            let is_own = |name: &str| routes_of(name) == *routes;
            let doubled = self.came_back && is_doubled(&state.having, content, is_own);
            if doubled {
                state.allowed += 2 * content.resources.len() + 2;
                // What a virtual host was that it brought, nobody knows.
                let names = content.resources.iter().map(|(name, _)| name).filter(|name| is_own(name));
                for name in names.filter(|_| self.in_parts.live.contains_key(*routes)) {
                    state.refused.insert(name.clone(), state.having.get(name).cloned());
                }
                return refuses("Only unique values for domains are permitted.");
            }
            let Some(is_warm) = self.in_parts.live.get_mut(*routes) else { continue };
            content.removed.iter().filter(|name| routes_of(name) == *routes).for_each(|name| {
                state.having.remove(name);
                state.refused.remove(name);
            });
            for (name, content) in content.resources.iter().filter(|(name, _)| routes_of(name) == *routes) {
                if state.having.insert(name.clone(), content.clone()).as_ref() != Some(content) {
                    state.refused.remove(name);
                }
            }
            let own = state.having.iter().filter(|(name, _)| routes_of(name) == *routes);
            let mut domains = BTreeSet::new();
            for domain in own.flat_map(|(_, content)| hosts(content)).flat_map(|(_, host)| host.domains) {
                assert!(domains.insert(domain.clone()), "{domain} is twice in {routes}");
            }
            *is_warm = true;
        }
        let all = content.resources.iter().map(|(name, _)| name).chain(&content.removed).cloned();
        if first_bad.is_some() {
            let is_taken = |name: &String| {
                taken.contains(&routes_of(name)) && self.in_parts.live.contains_key(routes_of(name))
            };
            let names = all.filter(is_taken).collect();
            self.took_untold(VirtualHost, content, names);
            return refuses("missing ): ((");
        }
        for name in all {
            state.untold.remove(&name);
            state.foreign.remove(&name);
        }
        content.removed.iter().for_each(|name| _ = state.told.remove(name));
        state.told.extend(content.resources.iter().cloned());
        None
    }

    /// All routes that it has in parts have heard of their virtual hosts, and so do not keep their listeners waiting.
    pub(super) fn assert_warm(&self) {
        let cold: Vec<_> = self.in_parts.live.iter().filter(|(_, warm)| !**warm).collect();
        assert!(cold.is_empty(), "{cold:?} wait for a word of their virtual hosts");
    }
}
