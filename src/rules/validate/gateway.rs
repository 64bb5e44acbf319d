//! What no shape can say of a Gateway.

mod tls;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::super::envelope::dns_label;
use super::super::kinds::{Gateway, Server, ServerProtocol, ServerTls};
use super::super::node::Path;
use super::{Report, words};

/// Says what is wrong with a Gateway.
pub(in super::super) fn gateway(gateway: &Gateway, report: &mut Report<'_>) {
    let spec = Path::new("spec");
    words::labels(&gateway.selector, &spec.key("selector"), report);
    let servers = spec.key("servers");
    let mut names = BTreeMap::new();
    for (i, server) in gateway.servers.iter().enumerate() {
        let path = servers.index(i);
        if let Some(other) = names.insert(&server.port.name, i) {
            let message = format!("{:?} is there twice: servers[{other}] has it, too", server.port.name);
            report.error(&path.key("port").key("name"), message);
        }
        self::server(server, &path, report);
    }
}

fn server(server: &Server, path: &Path<'_>, report: &mut Report<'_>) {
    let protocol = server.port.protocol;
    if protocol == ServerProtocol::GrpcWeb {
        let message = "\"GRPC-WEB\" is not served yet: write HTTP, and let the service translate it";
        report.error(&path.key("port").key("protocol"), message);
    }
    if let Some(bind) = &server.bind {
        report.check(&path.key("bind"), self::bind(bind));
    }
    hosts(&server.hosts, &path.key("hosts"), report);
    let place = path.key("tls");
    match &server.tls {
        None if protocol.is_tls() => {
            let message =
                format!("a server of {} needs tls: expected tls.mode, and certificates", protocol.as_str());
            report.error(path, message);
        }
        Some(tls) if !protocol.is_tls() => plain(server, tls, &place, report),
        Some(tls) => {
            if tls.https_redirect {
                report.warning(
                    &place.key("httpsRedirect"),
                    "it does nothing: what arrives here is HTTPS already",
                );
            }
            tls::tls(tls, &place, report);
        }
        None => {}
    }
}

/// Of a server without TLS, only a redirect may be said.
fn plain(server: &Server, tls: &ServerTls, path: &Path<'_>, report: &mut Report<'_>) {
    let only = ServerTls { https_redirect: true, ..ServerTls::default() };
    let protocol = server.port.protocol;
    if !protocol.is_http() || *tls != only {
        let what = if protocol.is_http() { "nothing but httpsRedirect: true" } else { "no tls" };
        report.error(path, format!("a server of {} has {what}", protocol.as_str()));
    }
}

/// An address, or a socket's path.
fn bind(text: &str) -> Result<(), String> {
    let is_path = text.strip_prefix("unix://").is_some_and(|path| path.starts_with('/') && path.len() <= 100);
    if is_path || text.parse::<IpAddr>().is_ok() {
        return words::one_line(text);
    }
    Err(format!("{text:?} is no address: expected one like 10.0.0.7 or ::, or unix:///run/edge.sock"))
}

fn hosts(hosts: &[String], path: &Path<'_>, report: &mut Report<'_>) {
    let mut seen = BTreeSet::new();
    for (i, host) in hosts.iter().enumerate() {
        let path = path.index(i);
        let (namespace, name) = host.split_once('/').unwrap_or(("*", host));
        if !matches!(namespace, "*" | ".") && dns_label(namespace).is_err() {
            let message = format!(
                "{namespace:?} is no namespace: expected a name, \".\" for the document's own, or \"*\" for all"
            );
            report.error(&path, message);
        }
        report.check(&path, served_host(name));
        if !seen.insert(host.to_ascii_lowercase()) {
            report.error(&path, format!("{host:?} is there twice"));
        }
    }
}

/// A host that clients name in full, or a wildcard.
fn served_host(name: &str) -> Result<(), String> {
    if matches!(name, "*" | "localhost") || name.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    words::host(name)?;
    match name.strip_prefix('*') {
        Some(suffix) if !suffix.starts_with('.') => {
            Err(format!("{name:?} does not fit: expected a star for whole labels, like *.example.com"))
        }
        None if !name.contains('.') => Err(format!(
            "{name:?} is a short name: expected the host as clients name it, like shop.example.com"
        )),
        _ => Ok(()),
    }
}
