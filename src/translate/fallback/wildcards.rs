//! Hosts of wildcards that come with a port, where the port counts.
//!
//! Envoy's domains have one star: `*.example.com` is not for `a.example.com:15080`, and nothing is `*.example.com:*`. Exact
//! hosts go first in any case (`host:*`). What is left comes to the last virtual host: it has the wildcards' routes once more,
//! each for the hosts of its wildcard.

use std::cmp::Reverse;
use std::sync::Arc;

use pilot_envoy_api::envoy::config::route::v3 as route;
use pilot_envoy_api::envoy::r#type::matcher::v3 as matcher;
use prost::Message;

use crate::resources::{Rope, VirtualHost};
use crate::translate::routes::authority;

/// The routes of wildcards, for hosts with a port, and the clusters to which they lead. The most specific wildcard comes first.
pub(super) fn with_a_port(hosts: &Rope) -> (Vec<route::Route>, Vec<Arc<str>>) {
    let suffix =
        |host: &VirtualHost| host.domains().find_map(|domain| domain.strip_prefix('*')).map(str::to_owned);
    let all = hosts.beginning_with("*").filter_map(|host| Some((suffix(host)?, host)));
    let mut all: Vec<_> = all.filter(|(suffix, _)| !suffix.is_empty()).collect();
    all.sort_by_key(|(suffix, _)| Reverse(suffix.len()));
    let (mut routes, mut clusters) = (Vec::new(), Vec::new());
    for (suffix, host) in all {
        let Ok(decoded) = route::VirtualHost::decode(host.bytes().clone()) else { continue };
        let own = within(&suffix);
        routes.extend(decoded.routes.into_iter().map(|route| {
            let mut matches = route.r#match.unwrap_or_default();
            matches.headers.extend(own.iter().cloned());
            route::Route { r#match: Some(matches), ..route }
        }));
        for cluster in host.clusters().filter(|cluster| !clusters.contains(*cluster)).collect::<Vec<_>>() {
            clusters.push(Arc::clone(cluster));
        }
    }
    (routes, clusters)
}

/// Host headers that a wildcard is for, with a port. A regular expression would do, but Envoys limit their size.
fn within(suffix: &str) -> [route::HeaderMatcher; 2] {
    use matcher::string_matcher::MatchPattern;
    let text = |pattern| matcher::StringMatcher { match_pattern: Some(pattern), ignore_case: true };
    let named = format!("{suffix}:");
    [
        authority(text(MatchPattern::Contains(named.clone()))),
        // The star stands for something.
        route::HeaderMatcher { invert_match: true, ..authority(text(MatchPattern::Prefix(named))) },
    ]
}
