//! What proxies refuse, and new ones are spared, by what it is there for.

use std::collections::{BTreeMap, BTreeSet};

use super::Admin;
use crate::resources::Origin;
use crate::xds::builds::Withheld;

/// In words, by what `of` makes of the origin of what is refused; `None` = it is left out.
pub(super) fn by<K: Ord>(admin: &Admin, of: impl Fn(&Origin) -> Option<K>) -> BTreeMap<K, Vec<String>> {
    let shared = admin.proxies.shared();
    let mut all: BTreeMap<_, _> =
        shared.rejections.list().into_iter().map(|it| (it.key(), ((*it).clone(), String::new()))).collect();
    for Withheld { rejection, build, refused_by } in shared.builds.withheld() {
        let (_, words) = all.entry(rejection.key()).or_insert((rejection, String::new()));
        words.push_str(&format!("; withheld from new proxies of {build}, refused by {refused_by}"));
    }
    let mut refused: BTreeMap<K, Vec<String>> = BTreeMap::new();
    for (rejection, withheld) in all.into_values() {
        if let Some(key) = of(&rejection.origin) {
            let words = format!("{} {rejection}: {}{withheld}", rejection.kind, rejection.words.trim_end());
            refused.entry(key).or_default().push(words);
        }
    }
    refused
}

/// The connected proxies that refuse something, by what it is there for: a document, a service.
pub(super) fn proxies(admin: &Admin) -> BTreeMap<String, BTreeSet<String>> {
    let mut proxies: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for proxy in admin.proxies.list() {
        let reports = proxy.streams.iter().flat_map(|stream| stream.types.values());
        for refused in reports.filter_map(|report| report.nack.as_ref()).flat_map(|nack| &nack.refused) {
            proxies.entry(refused.origin.clone()).or_default().insert(proxy.id.clone());
        }
    }
    proxies
}
