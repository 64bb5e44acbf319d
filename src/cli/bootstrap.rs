//! `pilot bootstrap`: prints the document with which a client finds pilot.

use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::bail;
use pilot_envoy_api::envoy::config::core::v3::Node;

use super::Global;
use super::client::configuration;
use super::document::DocumentFormat;
use super::place::PlaceArgs;
use crate::bootstrap::{BootstrapOptions, DEFAULT_NODE_CLUSTER, Streams, XdsAddress, envoy, grpc};
use crate::proxy::Proxy;
use crate::register::address::outward;

/// Print what an Envoy, or a gRPC client, is started with
///
/// What the client is told depends on the role in its node id, role~ip~name~domain:
///
///   router    Runs for the clients on its machine. A listener on [router] bind for each port of the
///             services, and http_listen for all HTTP services. The default.
///   sidecar   Runs beside one program, whose address is its ip. The same without http_listen.
///   ingress   Takes requests from outside, where the Gateways say that select its labels (--label).
///
/// Several pilots with one configuration are replicas: name all of them. An Envoy takes any one, and goes to
/// another within seconds when it is lost; a gRPC client prefers the first.
///
///   pilot bootstrap --xds-address pilot-1.example.com:18000,pilot-2.example.com:18000
///
/// Example for an Envoy: pilot bootstrap > envoy.yaml && envoy -c envoy.yaml
///
/// Example for a gRPC client: pilot bootstrap --grpc > xds.json && GRPC_XDS_BOOTSTRAP=xds.json my-client
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
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
    place: PlaceArgs,
    /// Its namespace: what is there for that namespace alone, and rules that are, are there for it.
    /// Default: what the registries know of the workload at its address.
    #[arg(long, value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    namespace: Option<String>,
    /// A label that it has, beside those that the registries know: rules with sourceLabels or a
    /// workloadSelector ask for it. May be given several times.
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// Where the client reaches pilot's xDS server, by IP address or DNS name. Of several pilots: all
    /// addresses, separated by commas or given one by one. Default: where the configuration says that it
    /// listens, seen from this machine.
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',')]
    xds_address: Vec<XdsAddress>,
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
    /// Prints the bootstrap. What is worth a second look is said on standard error.
    ///
    /// # Errors
    /// The configuration, where it is needed, is not in order.
    pub fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let Self {
            node_id,
            node_cluster,
            place,
            namespace,
            labels,
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
        let xds = if xds_address.is_empty() { vec![listening(global)?] } else { xds_address };
        let options = BootstrapOptions {
            node_id: node_id.unwrap_or_else(|| default_node_id(for_grpc)),
            node_cluster,
            locality: place.into(),
            namespace,
            labels: labels.into_iter().collect(),
            xds,
            admin: Some(admin_address),
            streams: if per_type { Streams::PerType } else { Streams::Aggregated },
            delta: !sotw,
        };
        let document = if for_grpc { grpc(&options) } else { envoy(&options) };
        let header = if format == DocumentFormat::Yaml { header(&options) } else { String::new() };
        super::print(&(header + &format.render(&document)?))
    }
}

/// Where pilot listens, as this machine reaches it. Says so where others reach it elsewhere.
fn listening(global: &Global) -> anyhow::Result<XdsAddress> {
    let listen = configuration(global)?.xds.listen;
    let here = XdsAddress::from(listen);
    if listen.ip().is_unspecified() {
        let port = here.port();
        let there = match outward() {
            Ok(ip) => SocketAddr::new(ip, port.get()).to_string(),
            Err(_) => format!("HOST:{port}"),
        };
        eprintln!(
            "warning: pilot listens on all addresses (xds.listen is {listen}), and the bootstrap says {here}, which \
             is right on this machine only. For clients on other machines: --xds-address {there}"
        );
    }
    Ok(here)
}

fn header(options: &BootstrapOptions) -> String {
    let addresses: Vec<String> = options.xds.iter().map(ToString::to_string).collect();
    format!(
        "# Starts an Envoy that gets its configuration from pilot at {}:\n\
         #   pilot bootstrap > envoy.yaml && envoy -c envoy.yaml\n",
        addresses.join(", ")
    )
}

fn proxy(id: &str) -> Result<Proxy, crate::proxy::NodeError> {
    Proxy::from_node(Some(&Node { id: id.to_owned(), ..Node::default() }))
}

/// An id that pilot serves.
fn node_id(text: &str) -> Result<String, String> {
    proxy(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE, for example app=web".to_owned()),
    }
}

/// An Envoy and a gRPC client on one machine are two proxies.
fn default_node_id(for_grpc: bool) -> String {
    let name =
        std::fs::read_to_string("/proc/sys/kernel/hostname").ok().or_else(|| std::env::var("HOSTNAME").ok());
    let name = name.as_deref().map(str::trim).filter(|name| !name.is_empty() && !name.contains('~'));
    let suffix = if for_grpc { "-grpc" } else { "" };
    format!("router~127.0.0.1~{}{suffix}~local", name.unwrap_or("localhost"))
}
