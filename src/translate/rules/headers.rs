//! What becomes of headers.

use pilot_envoy_api::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use pilot_envoy_api::envoy::config::core::v3::{HeaderValue, HeaderValueOption};
use pilot_envoy_api::envoy::config::route::v3 as route;

use crate::rules::kinds::{HeaderOperations, Headers};

/// Changes of headers, in the order in which Envoy makes them.
#[derive(Debug, Default)]
pub(super) struct Lists {
    request_add: Vec<HeaderValueOption>,
    request_remove: Vec<String>,
    response_add: Vec<HeaderValueOption>,
    response_remove: Vec<String>,
    /// The host that the destination sees, which is no header to Envoy.
    pub(super) host: Option<String>,
}

impl Lists {
    /// Adds changes behind those that are there.
    pub(super) fn append(&mut self, headers: &Headers) {
        if let Some(request) = &headers.request {
            let host = |values: &std::collections::BTreeMap<String, String>| {
                values.iter().find(|(name, _)| is_host(name)).map(|(_, value)| value.clone())
            };
            // What is set wins over what is added.
            self.host = host(&request.set).or_else(|| host(&request.add)).or(self.host.take());
            append(request, &mut self.request_add, &mut self.request_remove);
        }
        if let Some(response) = &headers.response {
            append(response, &mut self.response_add, &mut self.response_remove);
        }
    }

    /// The route, with these changes.
    pub(super) fn into_route(self, route: route::Route) -> route::Route {
        route::Route {
            request_headers_to_add: self.request_add,
            request_headers_to_remove: self.request_remove,
            response_headers_to_add: self.response_add,
            response_headers_to_remove: self.response_remove,
            ..route
        }
    }

    /// One of several clusters, with these changes.
    pub(super) fn into_weight(
        self,
        weight: route::weighted_cluster::ClusterWeight,
    ) -> route::weighted_cluster::ClusterWeight {
        route::weighted_cluster::ClusterWeight {
            request_headers_to_add: self.request_add,
            request_headers_to_remove: self.request_remove,
            response_headers_to_add: self.response_add,
            response_headers_to_remove: self.response_remove,
            ..weight
        }
    }
}

fn append(operations: &HeaderOperations, add: &mut Vec<HeaderValueOption>, remove: &mut Vec<String>) {
    let set = operations.set.iter().map(|it| (it, HeaderAppendAction::OverwriteIfExistsOrAdd));
    let added = operations.add.iter().map(|it| (it, HeaderAppendAction::AppendIfExistsOrAdd));
    let values = set.chain(added).filter(|((name, _), _)| !is_host(name));
    add.extend(values.map(|((name, value), action)| header_option(name, value, action)));
    remove.extend(operations.remove.iter().cloned());
}

fn is_host(name: &str) -> bool {
    name.eq_ignore_ascii_case("host") || name.eq_ignore_ascii_case(":authority")
}

fn header_option(name: &str, value: &str, action: HeaderAppendAction) -> HeaderValueOption {
    let header = HeaderValue { key: name.to_owned(), value: value.to_owned(), ..Default::default() };
    HeaderValueOption {
        header: Some(header),
        append_action: action.into(),
        // An empty value is a value.
        keep_empty_value: true,
        ..Default::default()
    }
}
