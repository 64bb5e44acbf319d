//! How VirtualServices name the Gateways at which they count.

use super::virtual_service::VirtualService;

/// The name of the gateway that stands for all proxies of services.
pub const MESH: &str = "mesh";

/// A gateway as `NAMESPACE/NAME`: `name`, `./name` and, of old, `name.namespace.svc.domain` are that, too.
fn gateway(written: &str, own: &str) -> String {
    match (written, written.split_once('/')) {
        (MESH, _) => MESH.to_owned(),
        (_, Some((".", name))) => format!("{own}/{name}"),
        (_, Some(_)) => written.to_owned(),
        (_, None) => {
            let mut labels = written.split('.');
            let name = labels.next().unwrap_or_default();
            format!("{}/{name}", labels.next().unwrap_or(own))
        }
    }
}

impl VirtualService {
    /// Writes all gateways as `NAMESPACE/NAME`, but `mesh`. `own`: the document's namespace.
    pub(in crate::rules) fn name_gateways(&mut self, own: &str) {
        let http = self.http.iter_mut().flat_map(|rule| &mut rule.matches).flat_map(|it| &mut it.gateways);
        let tls = self.tls.iter_mut().flat_map(|rule| &mut rule.matches).flat_map(|it| &mut it.gateways);
        let tcp = self.tcp.iter_mut().flat_map(|rule| &mut rule.matches).flat_map(|it| &mut it.gateways);
        for name in self.gateways.iter_mut().chain(http).chain(tls).chain(tcp) {
            *name = gateway(name, own);
        }
    }

    /// Whether it counts for proxies of services.
    pub fn is_of_mesh(&self) -> bool {
        self.gateways.is_empty() || self.gateways.iter().any(|gateway| gateway == MESH)
    }
}

#[cfg(test)]
mod tests {
    use super::gateway;

    #[test]
    fn gateways_are_named_by_namespace_and_name() {
        for (written, meant) in [
            ("mesh", "mesh"),
            ("edge", "shop/edge"),
            ("./edge", "shop/edge"),
            ("infra/edge", "infra/edge"),
            ("edge.infra.svc.cluster.local", "infra/edge"),
        ] {
            assert_eq!(gateway(written, "shop"), meant, "{written}");
        }
    }
}
