//! TLS of servers, with files of the proxy's machine.
//!
//! On an aggregated stream they come as secrets, so that Envoy takes files that are renewed without a change of the listener; a
//! file that is missing costs the server that names it, and no other. Where each type has a stream of its own there is none
//! for secrets, and files are read when the listener comes.

use pilot_envoy_api::envoy::config::core::v3 as core;
use pilot_envoy_api::envoy::extensions::transport_sockets::tls::v3 as tls;
use pilot_envoy_api::to_any;

use super::GatewayTranslation;
use crate::resources::{authorities_secret, certificate_secret};
use crate::rules::kinds::{ServerTls, ServerTlsMode, TlsVersion};
use crate::translate::rules::{exact_name, file};
use crate::translate::source::boolean;

impl GatewayTranslation<'_> {
    /// What a chain has that ends TLS. `protocols`: what clients may choose from, the preferred one first.
    pub(super) fn socket(&self, settings: &ServerTls, protocols: &[&str]) -> core::TransportSocket {
        socket(settings, protocols, self.secrets.as_ref())
    }
}

/// `secrets`: where these come from; `None` = there are none.
fn socket(
    settings: &ServerTls,
    protocols: &[&str],
    secrets: Option<&core::ConfigSource>,
) -> core::TransportSocket {
    use core::transport_socket::ConfigType;
    let files = settings.certificates().into_iter();
    let (mut certificates, mut as_secrets) = (Vec::new(), Vec::new());
    for (certificate, key) in files {
        match secrets {
            Some(source) => as_secrets.push(sds(certificate_secret(certificate, key), source)),
            None => certificates.push(tls::TlsCertificate {
                certificate_chain: Some(file(certificate)),
                private_key: Some(file(key)),
                ..Default::default()
            }),
        }
    }
    let asks = matches!(settings.mode(), ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual);
    let common = tls::CommonTlsContext {
        tls_params: Some(tls::TlsParameters {
            tls_minimum_protocol_version: version(settings.min_protocol_version, TlsVersion::Tls12),
            tls_maximum_protocol_version: version(settings.max_protocol_version, TlsVersion::Tls13),
            cipher_suites: settings.cipher_suites.clone(),
            ..Default::default()
        }),
        tls_certificates: certificates,
        tls_certificate_sds_secret_configs: as_secrets,
        alpn_protocols: protocols.iter().map(|it| (*it).to_owned()).collect(),
        validation_context_type: asks.then(|| validated_by(settings, secrets)),
        ..Default::default()
    };
    let context = tls::DownstreamTlsContext {
        common_tls_context: Some(common),
        require_client_certificate: boolean(settings.mode() == ServerTlsMode::Mutual),
        ..Default::default()
    };
    core::TransportSocket {
        name: "envoy.transport_sockets.tls".to_owned(),
        config_type: Some(ConfigType::TypedConfig(to_any(&context))),
    }
}

fn version(said: Option<TlsVersion>, usual: TlsVersion) -> i32 {
    use tls::tls_parameters::TlsProtocol;
    let said = said.filter(|version| *version != TlsVersion::Auto).unwrap_or(usual);
    let version = match said {
        TlsVersion::Auto => TlsProtocol::TlsAuto,
        TlsVersion::Tls10 => TlsProtocol::TlSv10,
        TlsVersion::Tls11 => TlsProtocol::TlSv11,
        TlsVersion::Tls12 => TlsProtocol::TlSv12,
        TlsVersion::Tls13 => TlsProtocol::TlSv13,
    };
    version.into()
}

fn sds(name: String, source: &core::ConfigSource) -> tls::SdsSecretConfig {
    tls::SdsSecretConfig { name, sds_config: Some(source.clone()) }
}

/// Which certificates clients may have, and where the authorities come from.
fn validated_by(
    settings: &ServerTls,
    secrets: Option<&core::ConfigSource>,
) -> tls::common_tls_context::ValidationContextType {
    use tls::common_tls_context::{CombinedCertificateValidationContext, ValidationContextType};
    let context = validation(settings);
    let Some((source, authorities)) = secrets.zip(settings.ca_certificates.as_deref()) else {
        return ValidationContextType::ValidationContext(context);
    };
    let name = authorities_secret(authorities, settings.ca_crl.as_deref());
    let own = tls::CertificateValidationContext { trusted_ca: None, crl: None, ..context };
    ValidationContextType::CombinedValidationContext(CombinedCertificateValidationContext {
        default_validation_context: Some(own),
        validation_context_sds_secret_config: Some(sds(name, source)),
        ..Default::default()
    })
}

/// Which certificates clients may have.
fn validation(settings: &ServerTls) -> tls::CertificateValidationContext {
    use tls::certificate_validation_context::TrustChainVerification;
    let trust = match settings.insecure_skip_verify {
        true => TrustChainVerification::AcceptUntrusted,
        false => TrustChainVerification::VerifyTrustChain,
    };
    tls::CertificateValidationContext {
        trusted_ca: settings.ca_certificates.as_deref().map(file),
        crl: settings.ca_crl.as_deref().map(file),
        match_typed_subject_alt_names: settings.subject_alt_names.iter().map(|it| exact_name(it)).collect(),
        verify_certificate_spki: settings.verify_certificate_spki.clone(),
        verify_certificate_hash: settings.verify_certificate_hash.clone(),
        trust_chain_verification: trust.into(),
        ..Default::default()
    }
}
