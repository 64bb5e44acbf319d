//! Gateway: where proxies at the edge listen, for which hosts, and with which certificates.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::common::Refused;

/// Where proxies of the role ingress listen.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Gateway {
    /// The labels of the proxies that it is for, in any namespace; they may have more. None: all of the role ingress.
    #[serde(default)]
    pub selector: BTreeMap<String, String>,
    /// Where they listen.
    #[schemars(length(min = 1))]
    pub servers: Vec<Server>,
}

/// A port, and the hosts that are served there.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Server {
    /// The port.
    pub port: ServerPort,
    /// Where it is opened: an address of the proxy's machine, or `unix:///path`. Without it, at all IPv4 addresses.
    #[schemars(length(min = 1))]
    pub bind: Option<String>,
    /// The hosts that VirtualServices may serve there: `[NAMESPACE/]HOST`, where HOST may be `*` or `*.suffix`, and
    /// NAMESPACE is that of the VirtualServices, `.` for the document's own, `*` for all.
    #[schemars(length(min = 1))]
    pub hosts: Vec<String>,
    /// TLS. `{}` = `mode: PASSTHROUGH`.
    pub tls: Option<ServerTls>,
    /// Where requests go that no rule is for.
    #[schemars(extend("x-rejected" = "write a VirtualService with a route for all requests"))]
    pub default_endpoint: Option<Refused>,
    /// For logs.
    pub name: Option<String>,
}

/// A port of a server.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServerPort {
    /// Its number.
    #[schemars(range(min = 1, max = 65535))]
    pub number: u16,
    /// What clients speak.
    pub protocol: ServerProtocol,
    /// Its name, unlike that of the document's other ports.
    #[schemars(length(min = 1))]
    pub name: String,
    /// Another port of the proxy.
    #[schemars(extend("x-rejected" = "it means nothing: the proxy listens at number"))]
    pub target_port: Option<Refused>,
}

/// What clients of a server speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum ServerProtocol {
    /// HTTP/1.1 or HTTP/2, without TLS.
    Http,
    /// HTTP over TLS.
    Https,
    /// The same as HTTP.
    Http2,
    /// The same as HTTP.
    Grpc,
    /// gRPC of browsers.
    #[serde(rename = "GRPC-WEB")]
    GrpcWeb,
    /// The same as TCP.
    Mongo,
    /// Any bytes.
    Tcp,
    /// Any bytes over TLS.
    Tls,
}

impl ServerProtocol {
    /// Whether it is HTTP without TLS.
    pub fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Http2 | Self::Grpc | Self::GrpcWeb)
    }

    /// Whether there is TLS.
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Https | Self::Tls)
    }

    /// As documents write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "HTTP",
            Self::Https => "HTTPS",
            Self::Http2 => "HTTP2",
            Self::Grpc => "GRPC",
            Self::GrpcWeb => "GRPC-WEB",
            Self::Mongo => "MONGO",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
        }
    }
}

/// TLS of a server. Files are those of the proxy's machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServerTls {
    /// Whether requests over HTTP are redirected to HTTPS, whatever rules say. For servers of HTTP.
    #[serde(default)]
    pub https_redirect: bool,
    /// What becomes of TLS. `PASSTHROUGH` if it is not there.
    pub mode: Option<ServerTlsMode>,
    /// The certificate, with those between it and its authority: a file of the proxy's machine.
    #[schemars(length(min = 1))]
    pub server_certificate: Option<String>,
    /// Its key.
    #[schemars(length(min = 1))]
    pub private_key: Option<String>,
    /// The certificates of authorities that clients' certificates have to come from.
    #[schemars(length(min = 1))]
    pub ca_certificates: Option<String>,
    /// A list of clients' certificates that are revoked.
    #[schemars(length(min = 1))]
    pub ca_crl: Option<String>,
    /// A Secret of Kubernetes.
    #[schemars(extend("x-rejected" = "certificates are files of the proxy's machine: write serverCertificate and privateKey"))]
    pub credential_name: Option<Refused>,
    /// Secrets of Kubernetes.
    #[schemars(extend("x-rejected" = "certificates are files of the proxy's machine: write tlsCertificates"))]
    pub credential_names: Option<Refused>,
    /// A Secret of Kubernetes.
    #[schemars(extend("x-rejected" = "certificates are files of the proxy's machine: write caCertificates"))]
    pub ca_cert_credential_name: Option<Refused>,
    /// Several certificates, of which each client gets the one that it understands: RSA and ECDSA.
    #[serde(default)]
    pub tls_certificates: Vec<ServerCertificate>,
    /// The names of which a client's certificate has to have one.
    #[serde(default)]
    pub subject_alt_names: Vec<String>,
    /// The keys of which a client's certificate has to have one: SHA-256 of the SPKI, in base64.
    #[serde(default)]
    pub verify_certificate_spki: Vec<String>,
    /// The certificates that clients may have: SHA-256, in hexadecimal.
    #[serde(default)]
    pub verify_certificate_hash: Vec<String>,
    /// The oldest version of TLS. `TLSV1_2` if it is not there.
    pub min_protocol_version: Option<TlsVersion>,
    /// The newest version of TLS. `TLSV1_3` if it is not there.
    pub max_protocol_version: Option<TlsVersion>,
    /// The cipher suites for TLS 1.2 and older, the preferred one first. Without any, Envoy's.
    #[serde(default)]
    pub cipher_suites: Vec<String>,
    /// Whether clients may have certificates that come from no authority of caCertificates.
    #[serde(default)]
    pub insecure_skip_verify: bool,
}

/// A certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServerCertificate {
    /// The certificate, with those between it and its authority: a file of the proxy's machine.
    #[schemars(length(min = 1))]
    pub server_certificate: String,
    /// Its key.
    #[schemars(length(min = 1))]
    pub private_key: String,
    /// Authorities.
    #[schemars(extend("x-rejected" = "write caCertificates beside tlsCertificates: all of them share it"))]
    pub ca_certificates: Option<Refused>,
}

/// What becomes of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ServerTlsMode {
    /// It is not ended: where connections go is decided by SNI.
    #[default]
    Passthrough,
    /// It is ended, with the server's certificate.
    Simple,
    /// It is ended, and clients need a certificate, too.
    Mutual,
    /// It is ended, and clients may have a certificate, which is then verified.
    OptionalMutual,
    /// Where connections go is in the SNI itself.
    AutoPassthrough,
    /// With certificates that Istio issues.
    IstioMutual,
}

/// Versions of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
pub enum TlsVersion {
    /// As if it were not there.
    #[serde(rename = "TLS_AUTO")]
    Auto,
    /// TLS 1.0.
    #[serde(rename = "TLSV1_0")]
    Tls10,
    /// TLS 1.1.
    #[serde(rename = "TLSV1_1")]
    Tls11,
    /// TLS 1.2.
    #[serde(rename = "TLSV1_2")]
    Tls12,
    /// TLS 1.3.
    #[serde(rename = "TLSV1_3")]
    Tls13,
}

impl ServerTls {
    /// What becomes of TLS.
    pub fn mode(&self) -> ServerTlsMode {
        self.mode.unwrap_or_default()
    }

    /// The certificates, each with its key.
    pub fn certificates(&self) -> Vec<(&str, &str)> {
        let only = self.server_certificate.as_deref().zip(self.private_key.as_deref());
        let several = self.tls_certificates.iter();
        let several = several.map(|it| (it.server_certificate.as_str(), it.private_key.as_str()));
        only.into_iter().chain(several).collect()
    }
}

impl Server {
    /// Whether the proxy ends TLS.
    pub fn ends_tls(&self) -> bool {
        let mode = self.tls.as_ref().map(ServerTls::mode);
        self.port.protocol.is_tls() && mode.is_some_and(|mode| mode != ServerTlsMode::Passthrough)
    }

    /// Whether what arrives is routed as HTTP requests.
    pub fn routes_http(&self) -> bool {
        let protocol = self.port.protocol;
        protocol.is_http() || protocol == ServerProtocol::Https && self.ends_tls()
    }

    /// Whether requests are redirected to HTTPS.
    pub fn redirects(&self) -> bool {
        self.port.protocol.is_http() && self.tls.as_ref().is_some_and(|tls| tls.https_redirect)
    }
}
