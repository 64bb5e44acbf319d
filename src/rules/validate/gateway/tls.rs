//! What no shape can say of TLS of a server.

use std::collections::BTreeSet;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::super::super::kinds::{ServerTls, ServerTlsMode, TlsVersion};
use super::super::super::node::Path;
use super::super::{Report, words};

/// The cipher suites of TLS 1.2 and older that Envoy has.
const CIPHERS: [&str; 14] = [
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-RSA-AES128-SHA",
    "ECDHE-ECDSA-AES256-SHA",
    "ECDHE-RSA-AES256-SHA",
    "AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
    "AES128-SHA",
    "AES256-SHA",
];

/// How many certificates a server may have: one of each kind of key.
const CERTIFICATES_MAX: usize = 2;

pub(super) fn tls(tls: &ServerTls, path: &Path<'_>, report: &mut Report<'_>) {
    let mode = tls.mode();
    match mode {
        ServerTlsMode::Passthrough => {
            unused("TLS is not ended with PASSTHROUGH", ends_tls(tls), path, report);
            return;
        }
        ServerTlsMode::AutoPassthrough | ServerTlsMode::IstioMutual => {
            let message = "it needs the identities of a mesh, which pilot does not issue: write SIMPLE, MUTUAL, \
                           OPTIONAL_MUTUAL or PASSTHROUGH";
            return report.error(&path.key("mode"), message);
        }
        ServerTlsMode::Simple | ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual => {}
    }
    certificates(tls, path, report);
    if mode == ServerTlsMode::Simple {
        unused("clients need no certificate with SIMPLE", of_clients(tls), path, report);
    } else if tls.ca_certificates.is_none() {
        report.error(path, "caCertificates is missing: clients' certificates have to come from somewhere");
    }
    versions(tls, path, report);
    ciphers(tls, path, report);
    hashes(tls, path, report);
    for (i, name) in tls.subject_alt_names.iter().enumerate() {
        let path = path.key("subjectAltNames");
        let fits = if name.is_empty() { Err("it is empty".to_owned()) } else { words::one_line(name) };
        report.check(&path.index(i), fits);
    }
}

fn certificates(tls: &ServerTls, path: &Path<'_>, report: &mut Report<'_>) {
    let (certificate, key) = (&tls.server_certificate, &tls.private_key);
    let has_one = certificate.is_some() || key.is_some();
    if has_one && !tls.tls_certificates.is_empty() {
        report
            .error(path, "only one of serverCertificate with privateKey, and tlsCertificates, may be there");
    } else if has_one && certificate.is_none() {
        report.error(path, "serverCertificate is missing: privateKey is there");
    } else if has_one && key.is_none() {
        report.error(path, "privateKey is missing: serverCertificate is there");
    } else if !has_one && tls.tls_certificates.is_empty() {
        report.error(
            path,
            "serverCertificate and privateKey are missing: they are files of the proxy's machine",
        );
    }
    if tls.tls_certificates.len() > CERTIFICATES_MAX {
        let message = format!(
            "there are {}: expected at most {CERTIFICATES_MAX}, one with an RSA key and one with an ECDSA key",
            tls.tls_certificates.len()
        );
        report.error(&path.key("tlsCertificates"), message);
    }
    let files = tls.certificates().into_iter().flat_map(|(certificate, key)| [certificate, key]);
    let more = tls.ca_certificates.iter().chain(&tls.ca_crl).map(String::as_str);
    for file in files.chain(more) {
        report.check(path, words::one_line(file));
    }
}

/// Fields that count only where TLS is ended.
fn ends_tls(tls: &ServerTls) -> Vec<&'static str> {
    let fields = [
        ("serverCertificate", tls.server_certificate.is_some()),
        ("privateKey", tls.private_key.is_some()),
        ("tlsCertificates", !tls.tls_certificates.is_empty()),
        ("caCertificates", tls.ca_certificates.is_some()),
        ("minProtocolVersion", tls.min_protocol_version.is_some()),
        ("maxProtocolVersion", tls.max_protocol_version.is_some()),
        ("cipherSuites", !tls.cipher_suites.is_empty()),
    ];
    let there = fields.into_iter().filter(|(_, is_there)| *is_there).map(|(name, _)| name);
    there.chain(of_clients(tls)).collect()
}

/// Fields that count only where clients have certificates.
fn of_clients(tls: &ServerTls) -> Vec<&'static str> {
    let fields = [
        ("caCrl", tls.ca_crl.is_some()),
        ("subjectAltNames", !tls.subject_alt_names.is_empty()),
        ("verifyCertificateSpki", !tls.verify_certificate_spki.is_empty()),
        ("verifyCertificateHash", !tls.verify_certificate_hash.is_empty()),
        ("insecureSkipVerify", tls.insecure_skip_verify),
    ];
    fields.into_iter().filter(|(_, is_there)| *is_there).map(|(name, _)| name).collect()
}

/// Fields that somebody counts on who writes them.
fn unused(why: &str, fields: Vec<&str>, path: &Path<'_>, report: &mut Report<'_>) {
    for field in fields {
        report
            .error(&path.key(field), format!("it does nothing: {why}; leave it out, or write another mode"));
    }
}

fn versions(tls: &ServerTls, path: &Path<'_>, report: &mut Report<'_>) {
    let said = |version: Option<TlsVersion>| version.filter(|version| *version != TlsVersion::Auto);
    let (min, max) = (said(tls.min_protocol_version), said(tls.max_protocol_version));
    let (oldest, newest) = (min.unwrap_or(TlsVersion::Tls12), max.unwrap_or(TlsVersion::Tls13));
    if oldest > newest {
        report.error(path, "no version of TLS is left: minProtocolVersion is newer than maxProtocolVersion");
    } else if oldest < TlsVersion::Tls12 && tls.cipher_suites.is_empty() {
        let message = "versions before TLS 1.2 are broken, and Envoy's cipher suites are for 1.2 and newer: write \
                       cipherSuites, too, or better TLSV1_2";
        report.warning(&path.key("minProtocolVersion"), message);
    }
}

fn ciphers(tls: &ServerTls, path: &Path<'_>, report: &mut Report<'_>) {
    let path = path.key("cipherSuites");
    let mut seen = BTreeSet::new();
    for (i, cipher) in tls.cipher_suites.iter().enumerate() {
        let path = path.index(i);
        if cipher.starts_with("TLS_") {
            report.error(
                &path,
                format!("{cipher:?} is of TLS 1.3, whose cipher suites are fixed: leave it out"),
            );
        } else if !CIPHERS.contains(&cipher.as_str()) {
            report.error(&path, format!("{cipher:?} does not fit: expected one of {}", CIPHERS.join(", ")));
        }
        if !seen.insert(cipher) {
            report.error(&path, format!("{cipher:?} is there twice"));
        }
    }
}

fn hashes(tls: &ServerTls, path: &Path<'_>, report: &mut Report<'_>) {
    for (i, key) in tls.verify_certificate_spki.iter().enumerate() {
        let is_hash = BASE64_STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == 32);
        if !is_hash {
            let message = format!("{key:?} does not fit: expected the 32 bytes of a SHA-256 in base64");
            report.error(&path.key("verifyCertificateSpki").index(i), message);
        }
    }
    for (i, hash) in tls.verify_certificate_hash.iter().enumerate() {
        let digits = hash.chars().filter(|c| *c != ':');
        let is_hash = digits.clone().count() == 64 && digits.clone().all(|c| c.is_ascii_hexdigit());
        if !is_hash {
            let message =
                format!("{hash:?} does not fit: expected the 64 digits of a SHA-256 in hexadecimal");
            report.error(&path.key("verifyCertificateHash").index(i), message);
        }
    }
}
