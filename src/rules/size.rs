//! How many routes a document becomes: rules times hosts, and times what other documents have that it delegates to.

use super::kinds::{HttpRoute, VirtualService};

/// How many routes a document may become, all of its hosts together.
pub const ROUTES_MAX: usize = 20_000;

/// The routes that a rule becomes at one host.
fn routes_of(rule: &HttpRoute) -> usize {
    rule.matches.len().max(1)
}

/// The routes that a rule becomes at one host when it delegates to that document.
pub fn delegated_routes(rule: &HttpRoute, other: &VirtualService) -> usize {
    let own = routes_of(rule);
    other.http.iter().fold(0, |sum, leaf| sum.saturating_add(own.saturating_mul(routes_of(leaf))))
}

impl VirtualService {
    /// The routes that its own rules become at one host.
    pub fn own_routes(&self) -> usize {
        self.http.iter().filter(|rule| rule.delegate.is_none()).map(routes_of).sum()
    }

    /// How many routes it may become at each of its hosts.
    pub fn routes_max(&self) -> usize {
        ROUTES_MAX / self.hosts.len().max(1)
    }
}
