//! What holds of the client: after quiet, and at each moment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pilot::resources::ResourceType::{self, Cluster, Endpoint, Listener, Route, VirtualHost};
use pilot::resources::{PerType, Resource, is_in_parts};

use super::hosts::routes_of;
use super::words::{Having, Host, Words, hosts, is_read, named, routed};
use super::{Envoy, Kind};
use crate::things::Things;

/// Virtual hosts, by routes and name.
type Hosts = BTreeMap<(String, String), Host>;

/// Those of whole routes, and those that came one by one.
fn all_hosts(of: impl Fn(ResourceType) -> Having) -> Hosts {
    let whole = of(Route).into_iter().filter(|(name, _)| !is_in_parts(name));
    let whole = whole.flat_map(|(routes, it)| {
        hosts(&it).map(|(name, host)| ((routes.clone(), name), host)).collect::<Vec<_>>()
    });
    let parts = of(VirtualHost).into_iter().flat_map(|(name, it)| {
        let routes = routes_of(&name).to_owned();
        hosts(&it).map(|(name, host)| ((routes.clone(), name), host)).collect::<Vec<_>>()
    });
    whole.chain(parts).collect()
}

/// Of routes that are read virtual host by virtual host, only that they are there.
fn outline(kind: ResourceType, content: &str) -> String {
    let is_outline = kind == Route && is_read(content);
    if is_outline { "routes".to_owned() } else { content.to_owned() }
}

impl<V: Words> Envoy<V> {
    /// Whether it refuses a resource with that content.
    pub(super) fn refuses(&self, content: &str) -> bool {
        let is_odd = self.traits.is_picky && content.ends_with("odd");
        is_odd || content.ends_with("bad") || content.ends_with("worse")
    }

    /// What it has is what there is, of all that it wants; and nobody had to lose patience for that.
    pub(crate) fn assert_in_sync(&self, things: &Things) {
        let of = |(name, resource): (&String, &Arc<Resource>)| (name.clone(), resource.version().to_owned());
        self.assert_has(&PerType::of(|kind| things.of(kind).iter().map(of).collect()));
    }

    /// The same, of all content that there is.
    pub(crate) fn assert_has(&self, all: &PerType<Having>) {
        let kept = self.kept(all);
        self.assert_has_hosts(all);
        for kind in ResourceType::ASKED {
            let Kind { having, names, refused, .. } = &self.kinds[kind as usize];
            let wanted = |name: &str| kind.has_wildcard() || names.contains(name);
            let there = all[kind].iter().filter(|(name, it)| wanted(name) && !it.is_empty());
            let there = there.map(|(name, content)| (name, outline(kind, content)));
            // Of what it refuses it keeps what it had. Who cannot say what it has may be given what others had.
            let is_unsaid = self.came_back && !V::TELLS && V::is_full(kind);
            let given = |name: &String| having.get(name).filter(|_| is_unsaid).cloned();
            let best = |(name, content): (&String, String)| match self.refuses(&content) {
                true => {
                    let had = refused.get(name).cloned().flatten().or_else(|| given(name));
                    Some((name.clone(), had.filter(|it| !it.is_empty())?))
                }
                false => Some((name.clone(), content)),
            };
            let there: Having = there.filter_map(best).collect();
            // What that names stays, too.
            let mut having: Having =
                having.iter().map(|(name, content)| (name.clone(), outline(kind, content))).collect();
            // Nor is it known what an older version from before it came back names.
            let users: &[ResourceType] = match kind {
                Cluster => &[Listener, Route, VirtualHost],
                Endpoint => &[Listener, Route, VirtualHost, Cluster],
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
            // Nor does anybody know what it took as one of another scope and has not told.
            let mut there = there;
            let foreign = &self.kinds[kind as usize].foreign;
            [&mut having, &mut there].into_iter().for_each(|of| of.retain(|name, _| !foreign.contains(name)));
            assert_eq!(having, there, "{kind}");
        }
        let states = ResourceType::ASKED.map(|kind| self.machine.state(kind));
        let refuses = |kind| self.machine.state(kind).refusals().next().is_some();
        if !ResourceType::ALL.into_iter().any(refuses) && self.kinds.iter().all(|kind| kind.lost.is_empty()) {
            let asked = ResourceType::ASKED.into_iter().filter(|kind| self.kinds[*kind as usize].asked);
            let unsettled: Vec<_> = asked.filter(|kind| !self.machine.is_settled(*kind)).collect();
            assert!(unsettled.is_empty(), "what is not settled: {unsettled:?} of {states:?}");
        }
        assert!(!self.machine.is_waiting(), "patience should not be needed: {states:?}");
    }

    /// The virtual hosts that it has are those that there are, but for those that it refuses and those that exchange
    /// domains with them.
    fn assert_has_hosts(&self, all: &PerType<Having>) {
        let Kind { names, refused, .. } = &self.kinds[Route as usize];
        // Of whole routes that it came back with, the server does not know what they were.
        let is_known =
            |routes: &str| is_in_parts(routes) || !(self.came_back && refused.contains_key(routes));
        let compared =
            |routes: &str| names.contains(routes) && all[Route].contains_key(routes) && is_known(routes);
        let foreign = &self.kinds[VirtualHost as usize].foreign;
        let of = |having: &dyn Fn(ResourceType) -> Having| {
            let mut hosts = all_hosts(|kind| {
                let mut all = having(kind);
                all.retain(|name, _| kind != VirtualHost || !foreign.contains(name));
                all
            });
            hosts.retain(|(routes, _), _| compared(routes));
            hosts
        };
        let there = of(&|kind| all[kind].clone());
        let having = of(&|kind| self.kinds[kind as usize].having.clone());
        let differs: BTreeSet<_> =
            there.keys().chain(having.keys()).filter(|key| there.get(key) != having.get(key)).collect();
        let is_refused = |key: &(String, String)| there.get(key).is_some_and(|it| self.refuses(&it.how));
        let domains = |key: &(String, String)| -> BTreeSet<&str> {
            let both = [&there, &having].into_iter().filter_map(|it| it.get(key));
            both.flat_map(|it| &it.domains).map(String::as_str).collect()
        };
        let mut excused: BTreeSet<_> = differs.iter().filter(|key| is_refused(key)).copied().collect();
        loop {
            let with = |key: &(String, String)| {
                let meets = |other: &&&(String, String)| {
                    other.0 == key.0 && !domains(other).is_disjoint(&domains(key))
                };
                excused.iter().any(|other| meets(&other))
            };
            let more: Vec<_> = differs.difference(&excused).copied().filter(|key| with(key)).collect();
            if more.is_empty() {
                break;
            }
            excused.extend(more);
        }
        let wrong: Vec<_> =
            differs.difference(&excused).map(|key| (key, having.get(key), there.get(key))).collect();
        assert!(wrong.is_empty(), "has and should have: {wrong:?}");
        self.assert_warm();
        if differs.is_empty() {
            for (name, content) in
                all[Route].iter().filter(|(name, content)| compared(name) && is_read(content))
            {
                assert_eq!(
                    self.kinds[Route as usize].having.get(name),
                    Some(content),
                    "other words for the same"
                );
            }
        }
    }

    /// What is named by what it keeps because it refuses another version of it.
    fn kept(&self, all: &PerType<Having>) -> [BTreeSet<String>; 5] {
        let mut kept: [BTreeSet<String>; 5] = Default::default();
        // Which of its virtual hosts are older ones is another question: of routes with a refused one, any may be.
        let is_spoilt = |name: &String| self.kinds[VirtualHost as usize].refused.contains_key(name);
        let whole =
            all[Route].iter().filter(|(_, content)| self.refuses(content)).map(|(name, _)| name.clone());
        let parts = all[VirtualHost].iter().filter(|(_, content)| self.refuses(content));
        let parts = parts.map(|(name, _)| routes_of(name).to_owned());
        let spoilt: BTreeSet<String> = whole.chain(parts).collect();
        let contents = |kind: ResourceType| self.kinds[kind as usize].having.iter();
        let old_whole = contents(Route).filter(|(name, _)| spoilt.contains(*name));
        let old_parts =
            contents(VirtualHost).filter(|(name, _)| spoilt.contains(routes_of(name)) || is_spoilt(name));
        for (_, content) in old_whole.chain(old_parts) {
            kept[Cluster as usize].extend(routed(content).map(|(_, cluster)| cluster.to_owned()));
        }
        for from in [Listener, Route, VirtualHost, Cluster] {
            if from == VirtualHost {
                // All of a route configuration that a listener keeps.
                let hosts = contents(from).filter(|(name, _)| kept[Route as usize].contains(routes_of(name)));
                let clusters: Vec<_> = hosts.flat_map(|(_, content)| routed(content)).collect();
                kept[Cluster as usize].extend(clusters.into_iter().map(|(_, cluster)| cluster.to_owned()));
                continue;
            }
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
            self.routed.clear();
            return;
        }
        let having = |kind: ResourceType| &self.kinds[kind as usize].having;
        let is_foreign =
            |(name, _): &(&String, &String)| self.kinds[Listener as usize].foreign.contains(*name);
        let users = having(Listener).iter().filter(|it| !is_foreign(it)).chain(having(Route));
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
        let whole =
            self.kinds[Route as usize].having.iter().map(|(route, content)| (route.as_str(), content));
        let hosts = self.kinds[VirtualHost as usize].having.iter();
        for (route, content) in whole.chain(hosts.map(|(name, content)| (routes_of(name), content))) {
            for (name, cluster) in self::routed(content) {
                routed.entry((route.to_owned(), name.to_owned())).or_default().insert(cluster.to_owned());
            }
        }
        let ready = |cluster: &String| self.active.contains(cluster);
        for (at, clusters) in
            routed.iter().filter(|((route, _), _)| is_in_parts(route) || self.routes.contains(route))
        {
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
