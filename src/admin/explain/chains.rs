//! Which filter chain of a listener takes a connection, and what it does with it.

use pilot_envoy_api::envoy::config::listener::v3::{self as listener, Listener};
use pilot_envoy_api::envoy::extensions::filters::network::http_connection_manager::v3 as http;
use pilot_envoy_api::envoy::extensions::filters::network::tcp_proxy::v3::{TcpProxy, tcp_proxy};
use prost::{Message, Name};

/// What becomes of a connection.
#[derive(Debug, PartialEq)]
pub(super) enum Taken {
    /// Its requests are routed by this route configuration.
    Routes(String),
    /// Its bytes go to these clusters, each with its weight.
    Clusters(Vec<(String, u32)>),
}

/// What becomes of a connection of a client that asks for that name in TLS; without TLS, of any. `None` = it is closed.
pub(super) fn taken(listener: &Listener, name: &str) -> Option<Taken> {
    let chains = listener.filter_chains.iter();
    let ranked = chains.filter_map(|chain| Some((rank(chain, name)?, chain)));
    let chosen = ranked.max_by_key(|(rank, _)| *rank).map(|(_, chain)| chain);
    chosen.or(listener.default_filter_chain.as_ref())?.filters.iter().find_map(done)
}

/// How precisely a chain is for a name: exactly, by the longest `*.suffix`, or for all. `None` = not at all.
fn rank(chain: &listener::FilterChain, name: &str) -> Option<(u8, usize)> {
    let names = chain.filter_chain_match.as_ref().map(|it| it.server_names.as_slice()).unwrap_or_default();
    if names.is_empty() {
        return Some((0, 0));
    }
    let fits = |own: &String| match own.strip_prefix('*') {
        _ if own == name => Some((2, 0)),
        Some(suffix) => (name.len() > suffix.len() && name.ends_with(suffix)).then_some((1, suffix.len())),
        None => None,
    };
    names.iter().filter_map(fits).max()
}

fn done(filter: &listener::Filter) -> Option<Taken> {
    use http::http_connection_manager::RouteSpecifier;
    if let Some(manager) = typed::<http::HttpConnectionManager>(filter) {
        return match manager.route_specifier? {
            RouteSpecifier::Rds(rds) => Some(Taken::Routes(rds.route_config_name)),
            _ => None,
        };
    }
    match typed::<TcpProxy>(filter)?.cluster_specifier? {
        tcp_proxy::ClusterSpecifier::Cluster(only) => Some(Taken::Clusters(vec![(only, 1)])),
        tcp_proxy::ClusterSpecifier::WeightedClusters(several) => {
            let several = several.clusters.into_iter().map(|it| (it.name, it.weight));
            Some(Taken::Clusters(several.collect()))
        }
    }
}

/// The filter's configuration, if it is of that kind.
fn typed<M: Message + Name + Default>(filter: &listener::Filter) -> Option<M> {
    let Some(listener::filter::ConfigType::TypedConfig(any)) = &filter.config_type else { return None };
    (any.type_url == M::type_url()).then(|| M::decode(any.value.clone()).ok())?
}

#[cfg(test)]
mod tests {
    use pilot_envoy_api::to_any;

    use super::*;

    fn chain(names: &[&str], cluster: &str) -> listener::FilterChain {
        let specifier = tcp_proxy::ClusterSpecifier::Cluster(cluster.to_owned());
        let proxy = TcpProxy { cluster_specifier: Some(specifier), ..Default::default() };
        let config = listener::filter::ConfigType::TypedConfig(to_any(&proxy));
        let filter = listener::Filter { config_type: Some(config), ..Default::default() };
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        listener::FilterChain {
            filter_chain_match: Some(listener::FilterChainMatch {
                server_names: names,
                ..Default::default()
            }),
            filters: vec![filter],
            ..Default::default()
        }
    }

    /// envoy.config.listener.v3.FilterChainMatch, `server_names`.
    #[test]
    fn a_name_finds_the_chain_that_envoy_finds() {
        let named = vec![
            chain(&["*.example.com"], "far"),
            chain(&["a.example.com", "b.org"], "exact"),
            chain(&["*.api.example.com"], "near"),
        ];
        let rest = Some(chain(&[], "rest"));
        let listener = |rest| Listener {
            filter_chains: named.clone(),
            default_filter_chain: rest,
            ..Default::default()
        };
        for (name, cluster) in [
            ("a.example.com", "exact"),
            ("b.org", "exact"),
            ("v1.api.example.com", "near"),
            ("x.example.com", "far"),
            ("example.com", "rest"),
        ] {
            let expected = Taken::Clusters(vec![(cluster.to_owned(), 1)]);
            assert_eq!(taken(&listener(rest.clone()), name), Some(expected), "{name}");
        }
        assert_eq!(taken(&listener(None), "example.com"), None);
    }
}
