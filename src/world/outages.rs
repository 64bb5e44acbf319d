//! What the log says of services that no request can reach: at once when one loses its last usable endpoint, and
//! when it has one again.

use std::collections::BTreeSet;
use std::sync::Arc;

use pilot_registry::ServiceId;

use crate::catalog::{CatalogService, changes};
use crate::mesh::Mesh;

/// How many services a line names.
const NAMED: usize = 10;

/// The services that are known to have no usable endpoint.
#[derive(Default)]
pub(super) struct Outages {
    down: BTreeSet<ServiceId>,
    seen: Arc<Vec<Arc<CatalogService>>>,
}

impl Outages {
    /// Takes in the catalog as it is now. Costs a look at the services that changed.
    pub(super) fn tell(&mut self, Mesh { catalog, options, .. }: &Mesh) {
        let now = Arc::clone(catalog.shared_services());
        let (mut lost, mut back) = (Vec::new(), Vec::new());
        for change in changes(&self.seen, &now) {
            let Some(service) = change.new else {
                // Whoever takes a service away knows that.
                change.old.iter().for_each(|old| _ = self.down.remove(old.id()));
                continue;
            };
            let id = service.id().clone();
            if service.is_served() {
                back.extend(self.down.take(&id));
            } else if self.down.insert(id.clone()) {
                lost.push(id);
            }
        }
        self.seen = now;
        if !lost.is_empty() {
            let (services, names) = (lost.len(), named(&lost));
            match options.serves_unhealthy {
                false => tracing::warn!(services, names, "services have no usable endpoint: clients get 503"),
                true => tracing::warn!(
                    services,
                    names,
                    "services have no usable endpoint: unhealthy ones are tried"
                ),
            }
        }
        if !back.is_empty() {
            let (services, names) = (back.len(), named(&back));
            tracing::info!(services, names, "services have a usable endpoint again");
        }
    }
}

fn named(services: &[ServiceId]) -> String {
    let named = services.iter().take(NAMED).map(ToString::to_string);
    let mut names = named.collect::<Vec<_>>().join(", ");
    if services.len() > NAMED {
        names.push_str(", ...");
    }
    names
}
