//! What no shape can say of places: of proxies, of endpoints.

use std::collections::BTreeMap;

use super::super::kinds::{Distribute, Failover, LocalityLoadBalancing, PLACE_LABELS, place};
use super::super::node::Path;
use super::{Report, words};

/// Says what is wrong. `ejects`: endpoints that fail are left out.
pub(super) fn locality(
    setting: &LocalityLoadBalancing,
    ejects: bool,
    path: &Path<'_>,
    report: &mut Report<'_>,
) {
    let list = path.key("distribute");
    let mut froms: Vec<&str> = Vec::new();
    for (i, distribute) in setting.distribute.iter().enumerate() {
        let path = list.index(i);
        self::distribute(distribute, &path, report);
        if let Some(other) = froms.iter().find(|other| meet(other, &distribute.from)) {
            report.error(&path.key("from"), overlap(&distribute.from, other));
        }
        froms.push(&distribute.from);
    }
    failovers(&setting.failover, &path.key("failover"), report);
    labels(setting, &path.key("failoverPriority"), report);
    let fails_over = !setting.failover.is_empty() || !setting.failover_priority.is_empty();
    if setting.enabled == Some(false) {
        if fails_over || !setting.distribute.is_empty() {
            let message = "with enabled: false, nothing else here counts";
            report.warning(&path.key("enabled"), message);
        }
    } else if fails_over && !ejects {
        let message = "without outlierDetection beside it, an endpoint is left only when its registry says that it is sick";
        report.warning(path, message);
    }
}

fn distribute(distribute: &Distribute, path: &Path<'_>, report: &mut Report<'_>) {
    let to = path.key("to");
    let weights: &BTreeMap<String, u32> = &distribute.to;
    for (place, weight) in weights {
        if !(1..=100).contains(weight) {
            report.error(&to.key(place), format!("{weight} does not fit: expected 1 to 100"));
        }
    }
    let sum: u64 = weights.values().map(|weight| u64::from(*weight)).sum();
    if sum != 100 {
        report.error(&to, format!("the sum is {sum}: expected 100"));
    }
    written(&distribute.from, &path.key("from"), report);
    let mut places: Vec<&str> = Vec::new();
    for place in weights.keys() {
        written(place, &to.key(place), report);
        if let Some(other) = places.iter().find(|other| meet(other, place)) {
            report.error(&to.key(place), overlap(place, other));
        }
        places.push(place);
    }
}

/// Says whether a place is written as one.
fn written(place: &str, path: &Path<'_>, report: &mut Report<'_>) {
    let parts: Vec<&str> = place.split('/').collect();
    let star = parts.iter().position(|part| part.contains('*'));
    let is_last = star.is_none_or(|star| star + 1 == parts.len() && parts[star] == "*");
    if parts.len() > 3 || !is_last || parts.contains(&"") {
        let message =
            format!("{place:?} is no place: expected region/zone/subzone, region/zone/*, region/* or *");
        report.error(path, message);
    }
}

/// Whether something is at both places: one of them is within the other.
fn meet(one: &str, other: &str) -> bool {
    let (one, other) = (place(one), place(other));
    let meets = |one: &str, other: &str| one.is_empty() || other.is_empty() || one == other;
    meets(&one.region, &other.region)
        && meets(&one.zone, &other.zone)
        && meets(&one.sub_zone, &other.sub_zone)
}

fn overlap(own: &str, other: &str) -> String {
    match place(own) == place(other) {
        true => format!("{own:?} is there twice"),
        false => format!("{own:?} and {other:?} have places in common: which one counts is not certain"),
    }
}

fn failovers(failovers: &[Failover], list: &Path<'_>, report: &mut Report<'_>) {
    let mut froms: Vec<&str> = Vec::new();
    for (i, failover) in failovers.iter().enumerate() {
        let path = list.index(i);
        for (key, region) in [("from", &failover.from), ("to", &failover.to)] {
            if region.contains(['/', '*']) {
                report.error(&path.key(key), format!("{region:?} does not fit: expected a region"));
            }
        }
        if failover.from == failover.to {
            report.error(&path, format!("from and to are the same region, {:?}", failover.from));
        }
        if froms.contains(&failover.from.as_str()) {
            let message = format!("{:?} is there twice: expected one region that takes over", failover.from);
            report.error(&path.key("from"), message);
        }
        froms.push(&failover.from);
    }
}

fn labels(setting: &LocalityLoadBalancing, list: &Path<'_>, report: &mut Report<'_>) {
    let mut keys: Vec<&str> = Vec::new();
    for (i, label) in setting.failover_priority.iter().enumerate() {
        let path = list.index(i);
        let (key, value) = label.split_once('=').unwrap_or((label, ""));
        let written = [(key.to_owned(), value.to_owned())].into();
        words::labels(&written, &path, report);
        if keys.contains(&key) {
            report.error(&path, format!("{key:?} is there twice"));
        }
        if PLACE_LABELS.contains(&key) && !setting.failover.is_empty() {
            let message = format!(
                "{key} beside failover: which of both says how near regions are? Leave out one of them"
            );
            report.error(&path, message);
        }
        keys.push(key);
    }
}
