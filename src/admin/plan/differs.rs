//! What differs between two views, resource by resource, for people.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::resources::{HostChange, ResourceChange, ResourceType, View, in_parts, part_to_json, to_json};

/// So many changes of a group are shown.
const CHANGES_MAX: usize = 200;

/// What would become of one resource, or of one virtual host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedChange {
    /// `cds`, `eds`, `lds`, `rds` or `vhds`.
    pub kind: String,
    /// The resource's name; of a virtual host, after that of its routes and a slash.
    pub name: String,
    /// What would become of it.
    pub change: ChangeKind,
    /// What it is there for.
    pub origin: String,
    /// As it is, with Envoy's field names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// As it would be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

/// What would become of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// It would be there, and is not.
    Added,
    /// It would be another one.
    Changed,
    /// It would not be there any more.
    Removed,
}

impl ChangeKind {
    fn of(is_there: bool, will_be: bool) -> Self {
        match (is_there, will_be) {
            (false, _) => Self::Added,
            (true, true) => Self::Changed,
            (true, false) => Self::Removed,
        }
    }
}

/// What differs, and how many changes there are beside these.
pub(super) fn between(before: &Arc<View>, after: &Arc<View>) -> (Vec<PlannedChange>, usize) {
    let changes = after.changes_since(before);
    let mut all = Vec::new();
    for kind in ResourceType::ALL {
        for change in changes.of(kind).iter().filter(|change| is_asked_for(kind, change, after)) {
            let rope = |it: &Option<Arc<_>>| {
                it.as_ref().and_then(|it: &Arc<crate::resources::Resource>| it.rope().cloned())
            };
            match (rope(&change.before), rope(&change.resource)) {
                (Some(old), Some(new)) => {
                    let hosts = new.changes_since(&old);
                    all.extend(hosts.iter().map(|host| of_host(kind, &change.name, host)));
                }
                _ => all.push(of_resource(kind, change)),
            }
        }
    }
    // What proxies are told says the same: only what it is made of differs.
    all.retain(|it| it.before.is_none() || it.after.is_none() || it.before != it.after);
    let more = all.len().saturating_sub(CHANGES_MAX);
    all.truncate(CHANGES_MAX);
    (all, more)
}

/// Who takes routes in parts does not ask for the same routes as a whole.
fn is_asked_for(kind: ResourceType, change: &ResourceChange, view: &View) -> bool {
    kind != ResourceType::Route || view.of(ResourceType::VirtualHost).get(&in_parts(&change.name)).is_none()
}

fn of_host(kind: ResourceType, routes: &str, HostChange { before, now }: &HostChange) -> PlannedChange {
    let host = now.as_ref().or(before.as_ref());
    let json = |host: &Arc<_>| part_to_json(host, routes).ok();
    PlannedChange {
        kind: kind.as_str().to_owned(),
        name: format!("{routes}/{}", host.map(|it| it.name().to_string()).unwrap_or_default()),
        change: ChangeKind::of(before.is_some(), now.is_some()),
        origin: host.map(|it| it.origin().to_string()).unwrap_or_default(),
        before: before.as_ref().and_then(json),
        after: now.as_ref().and_then(json),
    }
}

fn of_resource(kind: ResourceType, change: &ResourceChange) -> PlannedChange {
    let ResourceChange { name, before, resource } = change;
    let json = |it: &Arc<_>| to_json(it).ok();
    PlannedChange {
        kind: kind.as_str().to_owned(),
        name: name.to_string(),
        change: ChangeKind::of(before.is_some(), resource.is_some()),
        origin: resource.as_ref().or(before.as_ref()).map(|it| it.origin().to_string()).unwrap_or_default(),
        before: before.as_ref().and_then(json),
        after: resource.as_ref().and_then(json),
    }
}
