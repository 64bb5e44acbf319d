//! `pilot bootstrap`: prints the document with which a client finds pilot.

use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::bail;
use pilot_envoy_api::envoy::config::core::v3::Node;

use super::Global;
use super::client::configuration;
use super::document::DocumentFormat;
use super::place::Place;
use crate::bootstrap::{BootstrapOptions, DEFAULT_NODE_CLUSTER, Streams, XdsAddress, envoy, grpc};
use crate::proxy::Proxy;

/// Print what an Envoy, or a gRPC client, is started with
///
/// Example for an Envoy: pilot bootstrap > envoy.yaml && envoy -c envoy.yaml
///
/// Example for a gRPC client: pilot bootstrap --grpc > xds.json && GRPC_XDS_BOOTSTRAP=xds.json my-client
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Who the client is, as role~ip~name~domain with role one of sidecar, router, ingress. An id in
    /// another form is a router. Default: a router that is named like this machine, with -grpc after the
    /// name for a gRPC client.
    #[arg(long, value_name = "ID", value_parser = node_id)]
    node_id: Option<String>,
    /// The group of clients that it is in.
    #[arg(long, value_name = "NAME", default_value = DEFAULT_NODE_CLUSTER, value_parser = clap::builder::NonEmptyStringValueParser::new())]
    node_cluster: String,
    #[command(flatten)]
    place: Place,
    /// Where the client reaches pilot's xDS server. Default: where the configuration says that it listens.
    #[arg(long, value_name = "HOST:PORT")]
    xds_address: Option<XdsAddress>,
    /// Where Envoy serves its own admin pages.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:9901")]
    admin_address: SocketAddr,
    /// State of the world instead of delta: each update repeats what did not change.
    #[arg(long)]
    sotw: bool,
    /// A stream for each type of resource, instead of one for all, which keeps updates in order.
    #[arg(long)]
    per_type: bool,
    /// The bootstrap of a gRPC client (JSON) instead of Envoy's.
    #[arg(long, conflicts_with_all = ["sotw", "per_type", "admin_address"])]
    grpc: bool,
    /// How to write it.
    #[arg(
        short = 'o',
        long = "output",
        value_name = "FORMAT",
        default_value = "yaml",
        default_value_if("grpc", "true", "json")
    )]
    format: DocumentFormat,
}

impl Args {
    /// Prints the bootstrap.
    ///
    /// # Errors
    /// The configuration, where it is needed, is not in order.
    pub fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let Self {
            node_id,
            node_cluster,
            place,
            xds_address,
            admin_address,
            sotw,
            per_type,
            grpc: for_grpc,
            format,
        } = self;
        if for_grpc && format != DocumentFormat::Json {
            bail!("gRPC clients read their bootstrap as JSON only: leave -o out");
        }
        let options = BootstrapOptions {
            node_id: node_id.unwrap_or_else(|| default_node_id(for_grpc)),
            node_cluster,
            locality: place.into(),
            xds: match xds_address {
                Some(address) => address,
                None => configuration(global)?.xds.listen.into(),
            },
            admin: Some(admin_address),
            streams: if per_type { Streams::PerType } else { Streams::Aggregated },
            delta: !sotw,
        };
        let document = if for_grpc { grpc(&options) } else { envoy(&options) };
        let header = if format == DocumentFormat::Yaml { header(&options) } else { String::new() };
        super::print(&(header + &format.render(&document)?))
    }
}

fn header(options: &BootstrapOptions) -> String {
    format!(
        "# Starts an Envoy that gets its configuration from pilot at {}:\n\
         #   pilot bootstrap > envoy.yaml && envoy -c envoy.yaml\n",
        options.xds
    )
}

/// An id that pilot serves.
fn node_id(text: &str) -> Result<String, String> {
    let node = Node { id: text.to_owned(), ..Node::default() };
    Proxy::from_node(Some(&node)).map_err(|error| error.to_string())?;
    Ok(text.to_owned())
}

/// An Envoy and a gRPC client on one machine are two proxies.
fn default_node_id(for_grpc: bool) -> String {
    let name =
        std::fs::read_to_string("/proc/sys/kernel/hostname").ok().or_else(|| std::env::var("HOSTNAME").ok());
    let name = name.as_deref().map(str::trim).filter(|name| !name.is_empty() && !name.contains('~'));
    let suffix = if for_grpc { "-grpc" } else { "" };
    format!("router~127.0.0.1~{}{suffix}~local", name.unwrap_or("localhost"))
}
