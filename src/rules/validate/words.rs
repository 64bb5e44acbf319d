//! How names are written: hosts, headers, labels, namespaces.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::super::envelope::dns_label;
use super::super::kinds::Span;
use super::super::node::Path;
use super::Report;

/// A host name, or `*.suffix`.
pub(super) fn host(text: &str) -> Result<(), String> {
    let name = text.strip_prefix("*.").or_else(|| text.strip_prefix('*').filter(|rest| !rest.is_empty()));
    let name = name.unwrap_or(text);
    match name.parse::<pilot_registry::Hostname>() {
        Ok(_) => Ok(()),
        Err(_) => Err(format!(
            "{text:?} is no host: expected a DNS name like reviews or api.example.com, or *.example.com"
        )),
    }
}

/// What follows the star in wildcards that a host, or a narrower wildcard, is within: the longest first.
pub(super) fn suffixes(host: &str) -> impl Iterator<Item = &str> {
    let name = host.strip_prefix('*').unwrap_or(host);
    let ends = name.char_indices().skip(1).map(|(i, _)| &name[i..]);
    ends.chain([""])
}

/// A host, a wildcard or an address, for the names that clients call.
pub(super) fn called_host(text: &str) -> Result<(), String> {
    if text == "*" || text.parse::<IpAddr>().is_ok() { Ok(()) } else { host(text) }
}

/// The namespaces of `exportTo`.
pub(super) fn export_to(names: &[String], path: &Path<'_>, report: &mut Report<'_>) {
    let mut seen = BTreeSet::new();
    for (i, name) in names.iter().enumerate() {
        let path = path.index(i);
        if !matches!(name.as_str(), "*" | "." | "~") {
            report.check(&path, dns_label(name).map_err(|_| {
                format!("{name:?} is no namespace: expected a name, \".\" for the document's own, or \"*\" for all")
            }));
        }
        if !seen.insert(name) {
            report.error(&path, format!("{name:?} is there twice"));
        }
    }
    if names.len() > 1 && (seen.contains(&"*".to_owned()) || seen.contains(&"~".to_owned())) {
        report.error(path, "\"*\" and \"~\" stand alone");
    }
}

/// The gateways at which something counts.
pub(super) fn gateways(names: &[String], path: &Path<'_>, report: &mut Report<'_>) {
    for (i, name) in names.iter().enumerate() {
        let fits = match name.split_once('/') {
            Some((".", name)) => dns_label(name).is_ok(),
            Some((namespace, name)) => dns_label(namespace).is_ok() && dns_label(name).is_ok(),
            None => name.split('.').all(|label| dns_label(label).is_ok()),
        };
        if !fits {
            let message = format!("{name:?} is no gateway: expected mesh, a name, or NAMESPACE/NAME");
            report.error(&path.index(i), message);
        } else if !name.contains('/') && name.contains('.') {
            let mut labels = name.split('.');
            let (first, second) = (labels.next().unwrap_or_default(), labels.next().unwrap_or_default());
            let message = format!("it is an old spelling: write {second}/{first}");
            report.warning(&path.index(i), message);
        }
    }
}

/// Labels of workloads and endpoints, as Kubernetes writes them.
pub(super) fn labels(labels: &BTreeMap<String, String>, path: &Path<'_>, report: &mut Report<'_>) {
    let is_word = |text: &str| {
        let ends = |c: char| c.is_ascii_alphanumeric();
        text.len() <= 63
            && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
            && text.starts_with(ends)
            && text.ends_with(ends)
    };
    for (key, value) in labels {
        let path = path.key(key);
        let name = key.rsplit('/').next().unwrap_or_default();
        if !is_word(name) || key.len() > 253 + 64 {
            report.error(
                &path,
                format!("{key:?} is no label: expected letters, digits, '-', '_' and '.', like app"),
            );
        }
        if !value.is_empty() && !is_word(value) {
            let message = format!(
                "{value:?} is no value of a label: expected at most 63 letters, digits, '-', '_' and '.'"
            );
            report.error(&path, message);
        }
    }
}

/// The name of a header (RFC 9110, 5.6.2).
pub(super) fn header_name(name: &str) -> Result<(), String> {
    let is_token = |c: u8| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c);
    if !name.is_empty() && name.bytes().all(is_token) {
        return Ok(());
    }
    Err(format!("{name:?} is no name of a header: expected letters, digits and '-', like x-user"))
}

/// A duration that has to be there at all.
pub(super) fn lasts(span: Option<Span>, path: &Path<'_>, report: &mut Report<'_>) {
    if span.is_some_and(|span| span.0.is_zero()) {
        report.error(path, "\"0s\" does not fit: expected at least 1ms");
    }
}

/// A text that Envoy takes as a part of a path or a host: one line.
pub(super) fn one_line(text: &str) -> Result<(), String> {
    match text.chars().find(|c| c.is_control()) {
        Some(c) => Err(format!("{text:?} has a control character, {c:?}")),
        None => Ok(()),
    }
}
