//! The services of a running pilot, to compare documents with.

use std::sync::Arc;

use pilot_registry::{Hostname, Service, ServiceSpec, Snapshot, Visibility};

use crate::admin::{ServiceSummary, ServicesReport};
use crate::catalog::{Catalog, Source};
use crate::cli::Global;
use crate::cli::client::{Question, Target};

/// What the pilot serves whose admin server is there, without endpoints.
///
/// # Errors
/// It does not answer.
pub(super) fn services(global: &Global, admin: String) -> anyhow::Result<Catalog> {
    let report: ServicesReport = Target::at(admin).ask(global, &Question::new("/debug/services"))?;
    let services = report.services.iter().filter_map(service).map(Arc::new);
    let source = Source::new("running", 0, Arc::new(Snapshot::new(services)?));
    Ok(Catalog::merge(&[source], &Catalog::default()))
}

/// As far as documents ask for it. `None` = it is of a pilot that knows more than this one.
fn service(summary: &ServiceSummary) -> Option<Service> {
    let parsed =
        |names: &[String]| names.iter().filter_map(|name| name.parse().ok()).collect::<Vec<Hostname>>();
    let local = summary.local_names.get(&summary.namespace).map(Vec::as_slice);
    let spec = ServiceSpec {
        aliases: parsed(&summary.aliases),
        local_names: parsed(local.unwrap_or_default()),
        ports: summary.ports.clone(),
        namespace: summary.namespace.clone(),
        visibility: summary.seen_by.clone().map_or(Visibility::Everybody, Visibility::Only),
        ..ServiceSpec::new(summary.host.parse().ok()?)
    };
    Service::new(spec).ok()
}
