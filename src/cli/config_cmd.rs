//! `pilot config`: the resources that a running pilot sends to a proxy.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{anyhow, bail};
use clap::ValueEnum;
use pilot_registry::Locality;
use serde_json::Value;

use super::Global;
use super::client::{Question, Target};
use super::document::DocumentFormat;
use super::place::PlaceArgs;
use crate::admin::ResourcesReport;
use crate::resources::ResourceType;

/// Show what a running pilot tells a proxy, with Envoy's field names
///
/// Example: pilot config router~127.0.0.1~laptop~local --type cds
///
/// What would a sidecar in that zone get? pilot config sidecar~10.0.0.1~a~b --not-connected --region eu --zone a
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The proxy's node id, as `pilot proxies` shows it, or the beginning of one that no other has.
    proxy: String,
    /// Show what a proxy of that node id would be told, although it is not connected.
    #[arg(long)]
    not_connected: bool,
    #[command(flatten)]
    place: PlaceArgs,
    /// Its namespace, whose short names it uses. Default: the one in its node id.
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
    /// Only resources of this type.
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<Kind>,
    /// Only resources of this name.
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    target: Target,
    /// How to write it.
    #[arg(short = 'o', long = "output", value_name = "FORMAT", default_value = "yaml")]
    format: DocumentFormat,
}

/// A resource type on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// Clusters: how a service is reached.
    Cds,
    /// Endpoints: where a service is.
    Eds,
    /// Listeners: what the proxy accepts.
    Lds,
    /// Routes: where requests go.
    Rds,
    /// Virtual hosts of routes that the proxy takes in parts.
    Vhds,
}

impl From<Kind> for ResourceType {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Cds => Self::Cluster,
            Kind::Eds => Self::Endpoint,
            Kind::Lds => Self::Listener,
            Kind::Rds => Self::Route,
            Kind::Vhds => Self::VirtualHost,
        }
    }
}

impl Args {
    /// Asks, and prints the answer.
    ///
    /// # Errors
    /// pilot does not answer, does not know the proxy or the resource, or cannot show one.
    pub fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let Self { proxy, not_connected, place, namespace, kind, name, target, format } = self;
        let mut question = Question::new("/debug/resources");
        question = question.with(if not_connected { "node" } else { "proxy" }, &proxy);
        let Locality { region, zone, sub_zone } = place.into();
        let namespace = namespace.unwrap_or_default();
        let said = [("region", &region), ("zone", &zone), ("sub_zone", &sub_zone), ("namespace", &namespace)];
        for (part, value) in said {
            if value.is_empty() {
                continue;
            }
            if !not_connected {
                bail!(
                    "where a connected proxy runs, and its namespace, are known: leave them out, or add --not-connected"
                );
            }
            question = question.with(part, value);
        }
        if let Some(kind) = kind {
            question = question.with("type", ResourceType::from(kind).as_str());
        }
        if let Some(name) = &name {
            question = question.with("name", name);
        }
        let report: ResourcesReport = target.ask(global, &question)?;
        super::print(&format.render(&document(report)?)?)
    }
}

/// The resources themselves, by type.
fn document(report: ResourcesReport) -> anyhow::Result<BTreeMap<String, Vec<Value>>> {
    let mut document = BTreeMap::new();
    for (kind, resources) in report.resources {
        let shown = resources.into_iter().map(|report| {
            let why = report.error.unwrap_or_else(|| "the answer holds no resource".to_owned());
            report.resource.ok_or_else(|| anyhow!("{kind} {} cannot be shown: {why}", report.name))
        });
        document.insert(kind.clone(), shown.collect::<anyhow::Result<_>>()?);
    }
    Ok(document)
}
