//! What other machines reach of pilot, and of services through it.

use std::net::SocketAddr;

use crate::config::{Config, Loaded, Problem};

/// What is to be known of a port of pilot that is not only for this machine.
pub(in crate::cli) const OPEN_PORT: &str = "other machines reach this port, and it has neither TLS nor a password: let only those reach it that you trust";

/// What is to be known of an Envoy that listens not only for its own machine.
const OPEN_ROUTER: &str = "other machines reach services through an Envoy that listens there, which asks nobody who \
                           they are: let only those reach it that you trust";

/// The ports of pilot that other machines reach, with their keys.
pub(in crate::cli) fn ports(config: &Config) -> impl Iterator<Item = (&'static str, SocketAddr)> {
    let ports = [("xds.listen", config.xds.listen), ("admin.listen", config.admin.listen)];
    ports.into_iter().filter(|(_, address)| !address.ip().is_loopback())
}

/// A warning for each key that opens something to other machines.
pub(super) fn warnings(loaded: &Loaded) -> impl Iterator<Item = Problem> {
    let router = &loaded.config.router;
    let own = ports(&loaded.config).map(|(key, at)| (key, format!("{at}: {OPEN_PORT}")));
    let bind =
        (!router.bind.is_loopback()).then(|| ("router.bind", format!("{}: {OPEN_ROUTER}", router.bind)));
    let http = router.http_listen.filter(|at| !at.ip().is_loopback());
    let http = http.map(|at| ("router.http_listen", format!("{at}: {OPEN_ROUTER}")));
    own.chain(bind).chain(http).map(|(key, message)| loaded.origins.problem(key, message))
}
