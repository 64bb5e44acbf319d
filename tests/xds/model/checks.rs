//! What holds of the client: after quiet, and at each moment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pilot::resources::ResourceType::{self, Cluster, Endpoint, Listener, Route};
use pilot::resources::{PerType, Resource};

use super::words::{Having, Words, is_bad, named, routed};
use super::{Envoy, Kind};
use crate::things::Things;

impl<V: Words> Envoy<V> {
    /// What it has is what there is, of all that it wants; and nobody had to lose patience for that.
    pub(crate) fn assert_in_sync(&self, things: &Things) {
        let of = |(name, resource): (&String, &Arc<Resource>)| (name.clone(), resource.version().to_owned());
        self.assert_has(&PerType::of(|kind| things.of(kind).iter().map(of).collect()));
    }

    /// The same, of all content that there is.
    pub(crate) fn assert_has(&self, all: &PerType<Having>) {
        let kept = self.kept();
        for kind in ResourceType::ASKED {
            let Kind { having, names, refused, .. } = &self.kinds[kind as usize];
            let wanted = |name: &str| kind.has_wildcard() || names.contains(name);
            let there = all[kind].iter().filter(|(name, it)| wanted(name) && !it.is_empty());
            // Of what it refuses it keeps what it had.
            let best = |(name, content): (&String, &String)| match is_bad(content) {
                true => {
                    Some((name.clone(), refused.get(name).cloned().flatten().filter(|it| !it.is_empty())?))
                }
                false => Some((name.clone(), content.clone())),
            };
            let there: Having = there.filter_map(best).collect();
            // What that names stays, too.
            let mut having = having.clone();
            // Nor is it known what an older version from before it came back names.
            let users: &[ResourceType] = match kind {
                Cluster => &[Listener, Route],
                Endpoint => &[Listener, Route, Cluster],
                Listener => &[],
                Route | ResourceType::VirtualHost => &[Listener],
            };
            let unknown =
                self.came_back && users.iter().any(|it| !self.kinds[*it as usize].refused.is_empty());
            let stuck = self.kinds[kind as usize].stuck || unknown;
            // State of the world has no other word for "none".
            let lost = &self.kinds[kind as usize].lost;
            having.retain(|name, it| !it.is_empty() && (there.contains_key(name) || !lost.contains(name)));
            having
                .retain(|name, _| there.contains_key(name) || !(stuck || kept[kind as usize].contains(name)));
            assert_eq!(having, there, "{kind}");
        }
        let states = ResourceType::ASKED.map(|kind| self.machine.state(kind));
        assert!(!self.machine.is_waiting(), "patience should not be needed: {states:?}");
    }

    /// What is named by what it keeps because it refuses another version of it.
    fn kept(&self) -> [BTreeSet<String>; 4] {
        let mut kept: [BTreeSet<String>; 4] = Default::default();
        for from in [Listener, Route, Cluster] {
            let Kind { having, refused, .. } = &self.kinds[from as usize];
            let old = |name: &String| refused.contains_key(name) || kept[from as usize].contains(name);
            let contents: Vec<_> =
                having.iter().filter(|(name, _)| old(name)).map(|(_, it)| it.clone()).collect();
            for to in ResourceType::ASKED {
                kept[to as usize].extend(contents.iter().flat_map(|content| named(content, to)));
            }
            let clusters = contents.iter().flat_map(|content| routed(content));
            kept[Cluster as usize].extend(clusters.map(|(_, cluster)| cluster.to_owned()));
        }
        kept
    }

    /// Every cluster that the client's routes and listeners name is known to it, with endpoints.
    pub(super) fn check(&mut self) {
        let [clusters, endpoints, ..] = &self.kinds;
        let ready = |name: &str, content: &str| {
            self.active.contains(name)
                || named(content, Endpoint)
                    .all(|name| endpoints.having.contains_key(&name) || endpoints.refused.contains_key(&name))
        };
        let active = clusters.having.iter().filter(|(name, content)| ready(name, content));
        self.active = active.map(|(name, _)| name.clone()).collect();
        let serves = |name: &str, content: &str| {
            self.serving.contains(name)
                || named(content, Endpoint).all(|name| endpoints.having.contains_key(&name))
        };
        let serving = clusters.having.iter().filter(|(name, content)| serves(name, content));
        self.serving = serving.map(|(name, _)| name.clone()).collect();
        self.excused.extend(clusters.refused.keys().cloned());
        self.excused.retain(|name| !self.active.contains(name));
        let idle = self.requests.is_empty() && self.responses.is_empty();
        self.known |= idle;
        if !self.known {
            return;
        }
        let having = |kind: ResourceType| &self.kinds[kind as usize].having;
        let users = having(Listener).iter().chain(having(Route));
        for (user, content) in users {
            for cluster in named(content, Cluster) {
                assert!(
                    self.active.contains(&cluster) || self.excused.contains(&cluster),
                    "{user} ({content}) names {cluster}, which is not ready"
                );
            }
        }
        self.check_routed();
    }

    /// A name that leads to a cluster which takes traffic never comes to lead to one that does not (P15a). Contents say
    /// it with `@name@cluster`.
    fn check_routed(&mut self) {
        let mut routed: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
        for (route, content) in &self.kinds[Route as usize].having {
            for (name, cluster) in self::routed(content) {
                routed.entry((route.clone(), name.to_owned())).or_default().insert(cluster.to_owned());
            }
        }
        let ready = |cluster: &String| self.active.contains(cluster);
        for (at, clusters) in routed.iter().filter(|((route, _), _)| self.routes.contains(route)) {
            let served = |cluster: &String| self.serving.contains(cluster);
            let before = self.routed.get(at).filter(|before| before.iter().any(served));
            for gained in before.into_iter().flat_map(|before| clusters.difference(before)) {
                let is_right = ready(gained) || self.excused.contains(gained);
                assert!(is_right, "{at:?} led to {before:?} and leads to {gained}, which is not ready");
            }
        }
        self.routed = routed;
    }
}
