//! Views with older versions, of any two meshes: what they name is there, and nothing else differs.

use std::collections::BTreeSet;
use std::sync::Arc;

use pilot::resources::{Resource, ResourceType, View, dangling};
use pilot::xds::older::{self, Older};
use pilot::xds::{Rejection, Rejections};
use proptest::prelude::*;

use crate::drawn::services;
use crate::meshes::scopes;
use crate::properties::config;
use crate::world::{Translator, empty, mesh_after, source};

/// All that differs between the two and was there before, as if the newer version were refused.
fn refused(before: &Arc<View>, now: &Arc<View>, rejections: &Rejections) -> Vec<Arc<Rejection>> {
    let mut all = Vec::new();
    for kind in ResourceType::ALL {
        for change in now.changes_since(before).of(kind) {
            let (Some(before), Some(now)) = (&change.before, &change.resource) else { continue };
            match (before.rope(), now.rope()) {
                (Some(before), Some(rope)) => {
                    let hosts = rope.changes_since(before).into_iter();
                    let hosts = hosts.filter(|host| host.before.is_some()).filter_map(|host| host.now);
                    all.extend(hosts.map(|host| rejections.note_host(kind, now, &host, "no good")));
                }
                _ => all.push(rejections.note(kind, now, "no good", None)),
            }
        }
    }
    all
}

/// Envoy refuses routes in which a domain is there twice.
fn twice(view: &View) -> Vec<String> {
    let mut found = Vec::new();
    for rope in view.of(ResourceType::Route).iter().filter_map(|routes| routes.rope()) {
        let mut seen = BTreeSet::new();
        let domains = rope.virtual_hosts().flat_map(|host| host.domains());
        found.extend(domains.filter(|domain| !seen.insert(domain.to_string())).map(str::to_owned));
    }
    found
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn p04_an_older_version_is_whole_or_not_used(
        before in services(),
        now in services(),
        scope in 0..scopes().len(),
        all: bool,
    ) {
        let mut translator = Translator::of([scopes()[scope].clone()]);
        let mesh = mesh_after(&empty(), &[source("file", 0, before)]);
        let before = translator.translate(&mesh).view;
        let now = translator.translate(&mesh_after(&mesh, &[source("file", 0, now)])).view;
        let rejections = Rejections::default();
        let has = |kind: ResourceType, name: &str| before.of(kind).get(name).cloned();
        let refused = refused(&before, &now, &rejections);
        let known: Vec<Arc<Older>> =
            refused.iter().map(|it| Arc::new(Older::of(it, has).unwrap())).collect();
        let cases = if all { vec![known] } else { known.into_iter().map(|it| vec![it]).collect() };
        for known in cases {
            let (view, in_force) = older::over(&now, &known, |resource| resource);
            prop_assert_eq!(dangling(&view), vec![]);
            prop_assert_eq!(twice(&view), Vec::<String>::new());
            let differs = view.changes_since(&now);
            let replaced: BTreeSet<&str> = in_force.iter().map(|older| &*older.refused().name).collect();
            for kind in ResourceType::ALL {
                for change in differs.of(kind) {
                    // What is kept for an older version is what there was, and what nothing of today has.
                    let old = before.of(kind).get(&change.name);
                    let is_kept = change.before.is_none() && old == change.resource.as_ref();
                    prop_assert!(is_kept || replaced.contains(&*change.name), "{change:?}");
                }
            }
            for older in in_force {
                let is_refused = |it: &Arc<Resource>| older.refused().is_version_of(it);
                let given = view.of(older.refused().kind).get(&older.refused().name);
                prop_assert!(given.is_some_and(|given| !is_refused(given)));
            }
        }
    }
}
