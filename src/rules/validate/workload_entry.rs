//! What no shape can say of a WorkloadEntry.

use pilot_registry::Address;

use super::super::kinds::WorkloadEntry;
use super::super::node::Path;
use super::{Report, words};

/// Says what is wrong with a document.
pub(in super::super) fn workload_entry(entry: &WorkloadEntry, report: &mut Report<'_>) {
    endpoint(entry, &Path::new("spec"), report);
}

/// Says what is wrong with an endpoint, wherever it stands.
pub(super) fn endpoint(entry: &WorkloadEntry, path: &Path<'_>, report: &mut Report<'_>) {
    match entry.address() {
        Err(why) => report.error(&path.key("address"), why),
        Ok(Address::Unix(_)) if !entry.ports.is_empty() => {
            report.error(&path.key("ports"), "a Unix socket has no ports: leave ports out");
        }
        Ok(_) => {}
    }
    let ports = path.key("ports");
    for (name, number) in entry.ports.iter().filter(|(_, number)| **number == 0) {
        let message = format!("{number} does not fit: expected a whole number from 1 to 65535");
        report.error(&ports.key(name), message);
    }
    words::labels(&entry.labels, &path.key("labels"), report);
    let is_place = |text: &str| {
        let parts = text.split('/').take(3);
        !text.contains('*') && parts.clone().all(|part| !part.is_empty())
    };
    if let Some(locality) = entry.locality.as_deref().filter(|text| !text.is_empty()) {
        let path = path.key("locality");
        if !is_place(locality) {
            report.error(&path, format!("{locality:?} is no place: expected region/zone/subzone"));
        } else if locality.split('/').count() > 3 {
            report.warning(&path, "only region, zone and subzone count: what follows them is left out");
        }
    }
}
