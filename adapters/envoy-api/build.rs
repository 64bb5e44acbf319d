//! Compiles the part of Envoy's API that pilot speaks. The .proto files are those that the
//! `envoy-types` crate ships; `protox` parses them without a `protoc` on the machine.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use prost::Message;

/// The files pilot names itself; what they import is found from them.
const FILES: &[&str] = &[
    "envoy/config/accesslog/v3/accesslog.proto",
    "envoy/config/bootstrap/v3/bootstrap.proto",
    "envoy/config/cluster/v3/cluster.proto",
    "envoy/config/endpoint/v3/endpoint.proto",
    "envoy/config/listener/v3/listener.proto",
    "envoy/config/route/v3/route.proto",
    "envoy/extensions/access_loggers/file/v3/file.proto",
    "envoy/extensions/access_loggers/stream/v3/stream.proto",
    "envoy/extensions/clusters/aggregate/v3/cluster.proto",
    "envoy/extensions/clusters/dns/v3/dns_cluster.proto",
    "envoy/extensions/filters/http/cors/v3/cors.proto",
    "envoy/extensions/filters/http/fault/v3/fault.proto",
    "envoy/extensions/filters/http/router/v3/router.proto",
    "envoy/extensions/filters/listener/http_inspector/v3/http_inspector.proto",
    "envoy/extensions/filters/listener/original_dst/v3/original_dst.proto",
    "envoy/extensions/filters/listener/tls_inspector/v3/tls_inspector.proto",
    "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.proto",
    "envoy/extensions/filters/network/tcp_proxy/v3/tcp_proxy.proto",
    "envoy/extensions/filters/udp/udp_proxy/v3/route.proto",
    "envoy/extensions/filters/udp/udp_proxy/v3/udp_proxy.proto",
    "envoy/extensions/load_balancing_policies/least_request/v3/least_request.proto",
    "envoy/extensions/load_balancing_policies/maglev/v3/maglev.proto",
    "envoy/extensions/load_balancing_policies/random/v3/random.proto",
    "envoy/extensions/load_balancing_policies/round_robin/v3/round_robin.proto",
    "envoy/extensions/load_balancing_policies/wrr_locality/v3/wrr_locality.proto",
    "envoy/extensions/retry/host/previous_hosts/v3/previous_hosts.proto",
    "envoy/extensions/retry/priority/previous_priorities/v3/previous_priorities_config.proto",
    "envoy/extensions/transport_sockets/proxy_protocol/v3/upstream_proxy_protocol.proto",
    "envoy/extensions/transport_sockets/raw_buffer/v3/raw_buffer.proto",
    "envoy/extensions/transport_sockets/tls/v3/tls.proto",
    "envoy/extensions/upstreams/http/v3/http_protocol_options.proto",
    "envoy/service/cluster/v3/cds.proto",
    "envoy/service/discovery/v3/ads.proto",
    "envoy/service/discovery/v3/discovery.proto",
    "envoy/service/endpoint/v3/eds.proto",
    "envoy/service/listener/v3/lds.proto",
    "envoy/service/route/v3/rds.proto",
];

/// Folders of the protos' sources that are import roots.
const ROOTS: &[&str] = &[
    "cel-spec/proto",
    "client_model",
    "data-plane-api",
    "googleapis",
    "opentelemetry-proto",
    "protoc-gen-validate",
    "xds",
];

fn main() -> Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    let protos = proto_folder()?;
    let roots = ROOTS.iter().map(|root| protos.join(root));
    let set = protox::compile(FILES, roots).context("compiling Envoy's .proto files")?;

    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), set.encode_to_vec())?;

    // Responses are written from bytes that are encoded once for all streams: `src/discovery.rs` has
    // messages of the same wire form whose resources are shared `Bytes`.
    let mut config = prost_build::Config::new();
    config
        .enable_type_names()
        .type_name_domain(["."], "type.googleapis.com")
        .btree_map(["."])
        .bytes([".google.protobuf.Any"])
        .compile_well_known_types()
        .extern_path(".envoy.service.discovery.v3.DiscoveryResponse", "crate::discovery::DiscoveryResponse")
        .extern_path(
            ".envoy.service.discovery.v3.DeltaDiscoveryResponse",
            "crate::discovery::DeltaDiscoveryResponse",
        )
        .disable_comments(["."])
        .include_file("envoy_api.rs");
    tonic_prost_build::configure().compile_fds_with_config(set, config)?;
    Ok(())
}

fn proto_folder() -> Result<PathBuf> {
    let manifest = std::env::var("CARGO_MANIFEST_DIR")?;
    let output = Command::new(std::env::var("CARGO")?)
        .args(["metadata", "--format-version=1", "--locked", "--manifest-path"])
        .arg(Path::new(&manifest).join("Cargo.toml"))
        .output()
        .context("running `cargo metadata`")?;
    if !output.status.success() {
        bail!("`cargo metadata` failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let package = metadata["packages"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|package| package["name"] == "envoy-types")
        .context("`cargo metadata` does not list envoy-types")?;
    let manifest = package["manifest_path"].as_str().context("no manifest_path")?;
    let folder = Path::new(manifest).parent().context("manifest without folder")?.join("proto");
    println!("cargo::rerun-if-changed={}", folder.display());
    Ok(folder)
}
