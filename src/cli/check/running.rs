//! The services of a running pilot, to compare documents with.

use std::collections::BTreeSet;
use std::sync::Arc;

use pilot_registry::{Endpoint, Hostname, Service, ServiceSpec, Snapshot, Visibility};

use crate::admin::{EndpointReport, ServiceReport, ServiceSummary, ServicesReport};
use crate::catalog::{Catalog, Source};
use crate::cli::Global;
use crate::cli::client::{Question, Target};

/// A running pilot, and the services that it has.
pub(super) struct Running<'a> {
    global: &'a Global,
    target: Target,
    services: Vec<ServiceSummary>,
}

impl<'a> Running<'a> {
    /// Asks the pilot whose admin server is there.
    ///
    /// # Errors
    /// It does not answer.
    pub(super) fn at(global: &'a Global, admin: String) -> anyhow::Result<Self> {
        let target = Target::at(admin);
        let ServicesReport { services, .. } = target.ask(global, &Question::new("/debug/services"))?;
        // Documents are looked at by themselves.
        let is_of_registry =
            |service: &ServiceSummary| service.registries.iter().any(|name| !name.contains('/'));
        let services = services.into_iter().filter(is_of_registry).collect();
        Ok(Self { global, target, services })
    }

    /// Its services. Only those that `has_policies` picks have their endpoints, which are asked for one by one: documents compare
    /// subsets and places with them.
    ///
    /// # Errors
    /// It does not answer.
    pub(super) fn catalog(
        &self,
        has_policies: impl FnOnce(&Catalog) -> BTreeSet<Hostname>,
    ) -> anyhow::Result<Catalog> {
        let alone: Vec<Service> = self.services.iter().filter_map(|it| service(it.clone())).collect();
        let hosts = has_policies(&merged(alone)?);
        let whole = self.services.iter().map(|summary| {
            let is_meant = hosts.iter().any(|host| host.as_str() == summary.host);
            if is_meant { self.whole(summary) } else { Ok(service(summary.clone())) }
        });
        merged(whole.filter_map(Result::transpose).collect::<anyhow::Result<Vec<Service>>>()?)
    }

    /// A service with its endpoints. `None` = it is of a pilot that knows more than this one.
    fn whole(&self, summary: &ServiceSummary) -> anyhow::Result<Option<Service>> {
        let question = Question::new("/debug/services").with("host", &summary.host);
        let question = question.with("namespace", summary.namespace.as_str());
        let ServiceReport { summary, resolution, instances, .. } = self.target.ask(self.global, &question)?;
        let endpoints = instances.into_iter().filter_map(endpoint).collect();
        Ok(spec(summary).and_then(|spec| Service::new(ServiceSpec { resolution, endpoints, ..spec }).ok()))
    }
}

fn merged(services: Vec<Service>) -> anyhow::Result<Catalog> {
    let snapshot = Snapshot::new(services.into_iter().map(Arc::new))?;
    Ok(Catalog::merge(&[Source::new("running", 0, Arc::new(snapshot))], &Catalog::default()))
}

/// A service without endpoints. `None` = it is of a pilot that knows more than this one.
fn service(summary: ServiceSummary) -> Option<Service> {
    Service::new(spec(summary)?).ok()
}

/// As far as documents ask for it.
fn spec(summary: ServiceSummary) -> Option<ServiceSpec> {
    let parsed =
        |names: &[String]| names.iter().filter_map(|name| name.parse().ok()).collect::<Vec<Hostname>>();
    let local = summary.local_names.get(&summary.namespace).map(Vec::as_slice);
    Some(ServiceSpec {
        aliases: parsed(&summary.aliases),
        local_names: parsed(local.unwrap_or_default()),
        ports: summary.ports,
        namespace: summary.namespace,
        visibility: summary.seen_by.map_or(Visibility::Everybody, Visibility::Only),
        ..ServiceSpec::new(Hostname::or_wildcard(&summary.host).ok()?)
    })
}

/// An endpoint that is used: where it is, and its labels. `None` = a preferred registry has it, too.
fn endpoint(report: EndpointReport) -> Option<Endpoint> {
    let EndpointReport { address, ports, labels, locality, health, shadowed_by: None, .. } = report else {
        return None;
    };
    let mut endpoint = Endpoint { labels, locality, health, ..Endpoint::new(address.parse().ok()?) };
    for (port, own) in ports {
        endpoint.ports.insert(port.parse().ok()?, u32::from(own).try_into().ok()?);
    }
    Some(endpoint)
}
