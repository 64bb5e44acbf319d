//! TLS towards endpoints, with files of the proxy's machine.

use pilot_envoy_api::envoy::config::cluster::v3::Cluster;
use pilot_envoy_api::envoy::config::core::v3 as core;
use pilot_envoy_api::envoy::extensions::transport_sockets::tls::v3 as tls;
use pilot_envoy_api::envoy::r#type::matcher::v3 as matcher;
use pilot_envoy_api::to_any;
use pilot_registry::Protocol;

use crate::catalog::CatalogService;
use crate::rules::kinds::{TlsMode, TlsSettings};
use crate::translate::upstream::Upstream;

/// Where Linux distributions keep the certificates of the authorities that they trust.
const SYSTEM_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The names of which one has to be in certificates: those that the rule says, or else the service.
pub(super) fn names<'a>(settings: &'a TlsSettings, service: &'a CatalogService) -> Vec<&'a String> {
    match settings.subject_alt_names.as_slice() {
        [] if settings.insecure_skip_verify != Some(true) => service.certificate_names().collect(),
        said => said.iter().collect(),
    }
}

/// Connections of the cluster have TLS, as documents say. `names`: those of which one has to be in certificates; where the
/// rule says none, the name that the request has has to be there, too.
pub(super) fn secure(
    cluster: &mut Cluster,
    upstream: &mut Upstream,
    settings: &TlsSettings,
    names: &[&String],
    protocol: Protocol,
) {
    let mode = settings.mode.unwrap_or(TlsMode::Disable);
    if matches!(mode, TlsMode::Disable | TlsMode::IstioMutual) {
        return;
    }
    let is_checked = settings.insecure_skip_verify != Some(true);
    // Without a name, the one that the request names is asked for, and has to be in the certificate.
    upstream.auto_sni = settings.sni.is_none() && protocol.is_http();
    upstream.auto_san = is_checked && settings.subject_alt_names.is_empty() && protocol.is_http();
    let certificates = settings.client_certificate.as_ref().zip(settings.private_key.as_ref());
    let certificates = certificates.map(|(certificate, key)| tls::TlsCertificate {
        certificate_chain: Some(file(certificate)),
        private_key: Some(file(key)),
        ..Default::default()
    });
    let is_http2 = protocol.is_http2() || upstream.is_upgraded;
    let protocols: &[&str] = match (protocol.is_http(), is_http2) {
        (true, true) => &["h2"],
        (true, false) => &["http/1.1"],
        (false, _) => &[],
    };
    let common = tls::CommonTlsContext {
        tls_params: Some(tls::TlsParameters {
            tls_minimum_protocol_version: tls::tls_parameters::TlsProtocol::TlSv12.into(),
            tls_maximum_protocol_version: tls::tls_parameters::TlsProtocol::TlSv13.into(),
            ..Default::default()
        }),
        tls_certificates: certificates.into_iter().collect(),
        alpn_protocols: protocols.iter().map(|it| (*it).to_owned()).collect(),
        validation_context_type: is_checked.then(|| {
            tls::common_tls_context::ValidationContextType::ValidationContext(validation(settings, names))
        }),
        ..Default::default()
    };
    let context = tls::UpstreamTlsContext {
        common_tls_context: Some(common),
        sni: settings.sni.clone().unwrap_or_default(),
        ..Default::default()
    };
    cluster.transport_socket = Some(core::TransportSocket {
        name: "envoy.transport_sockets.tls".to_owned(),
        config_type: Some(core::transport_socket::ConfigType::TypedConfig(to_any(&context))),
    });
}

/// A name that a certificate may have.
pub(in crate::translate) fn exact_name(name: &str) -> tls::SubjectAltNameMatcher {
    use matcher::string_matcher::MatchPattern;
    tls::SubjectAltNameMatcher {
        san_type: san_type(name).into(),
        matcher: Some(matcher::StringMatcher {
            match_pattern: Some(MatchPattern::Exact(name.to_owned())),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn validation(settings: &TlsSettings, names: &[&String]) -> tls::CertificateValidationContext {
    let authorities = settings.ca_certificates.as_deref().filter(|path| *path != "system");
    tls::CertificateValidationContext {
        trusted_ca: Some(file(authorities.unwrap_or(SYSTEM_AUTHORITIES))),
        crl: settings.ca_crl.as_deref().map(file),
        match_typed_subject_alt_names: names.iter().map(|it| exact_name(it)).collect(),
        ..Default::default()
    }
}

fn san_type(name: &str) -> tls::subject_alt_name_matcher::SanType {
    use tls::subject_alt_name_matcher::SanType;
    if name.contains("://") {
        SanType::Uri
    } else if name.parse::<std::net::IpAddr>().is_ok() {
        SanType::IpAddress
    } else if name.contains('@') {
        SanType::Email
    } else {
        SanType::Dns
    }
}

/// A file of the proxy's machine.
pub(in crate::translate) fn file(path: &(impl AsRef<str> + ?Sized)) -> core::DataSource {
    let specifier = core::data_source::Specifier::Filename(path.as_ref().to_owned());
    core::DataSource { specifier: Some(specifier), ..Default::default() }
}
