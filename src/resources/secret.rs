//! Secrets: certificates that stand in files of the proxy's machine (SDS).
//!
//! Envoy reads files anew when they are replaced only where they come as secrets. pilot has none of these files, and a secret
//! is nothing but their names: so the name of a secret says all of it, and whoever asks for one gets what its name says.
//!
//! | name | secret |
//! |---|---|
//! | `file-cert:CERTIFICATE~KEY` | a certificate and its key |
//! | `file-root:AUTHORITIES`, `file-root:AUTHORITIES~REVOKED` | whose certificates clients may have |

use std::path::Path;

use pilot_envoy_api::envoy::config::core::v3 as core;
use pilot_envoy_api::envoy::extensions::transport_sockets::tls::v3 as tls;
use prost::Name;

use super::{Origin, Resource};

/// What stands between the files in a name.
pub const BETWEEN_FILES: char = '~';

const CERTIFICATE: &str = "file-cert:";
const AUTHORITIES: &str = "file-root:";

/// The type that a discovery request names.
pub fn secret_type_url() -> String {
    tls::Secret::type_url()
}

/// The name of the secret of a certificate and its key.
pub fn certificate_secret(certificate: &str, key: &str) -> String {
    format!("{CERTIFICATE}{certificate}{BETWEEN_FILES}{key}")
}

/// The name of the secret of authorities, and of a list of certificates that are revoked.
pub fn authorities_secret(authorities: &str, revoked: Option<&str>) -> String {
    let revoked = revoked.map(|revoked| format!("{BETWEEN_FILES}{revoked}")).unwrap_or_default();
    format!("{AUTHORITIES}{authorities}{revoked}")
}

/// The secret of that name; `None` = there is none. `turn`: how often the client refused it. Envoy does not look at a secret
/// again whose words are the same, so they are others each time, and mean the same.
pub fn secret(name: &str, turn: u32) -> Option<Resource> {
    use tls::secret::Type;
    let file = |path: &str| file(path, turn);
    let kind = if let Some(files) = name.strip_prefix(CERTIFICATE) {
        let (certificate, key) = files.split_once(BETWEEN_FILES)?;
        Type::TlsCertificate(tls::TlsCertificate {
            certificate_chain: Some(file(certificate)),
            private_key: Some(file(key)),
            watched_directory: watched(&[certificate, key]),
            ..Default::default()
        })
    } else {
        let files: Vec<&str> = name.strip_prefix(AUTHORITIES)?.split(BETWEEN_FILES).collect();
        Type::ValidationContext(tls::CertificateValidationContext {
            trusted_ca: files.first().map(|path| file(path)),
            crl: files.get(1).map(|path| file(path)),
            watched_directory: watched(&files),
            ..Default::default()
        })
    };
    let message = tls::Secret { name: name.to_owned(), r#type: Some(kind) };
    Some(Resource::new(name.into(), &message, Vec::new(), Origin::Shared))
}

/// The folder in which all of these files are: whatever is moved there, they are read anew, also where they are links into
/// another folder. Of files in several folders each is watched alone.
fn watched(files: &[&str]) -> Option<core::WatchedDirectory> {
    let folder =
        |file: &str| Path::new(file).parent().filter(|it| !it.as_os_str().is_empty()).map(Path::to_owned);
    let first = folder(files.first()?)?;
    let is_one = files.iter().all(|file| folder(file).as_ref() == Some(&first));
    is_one.then(|| core::WatchedDirectory { path: first.to_string_lossy().into_owned(), watch_modify: true })
}

fn file(path: &str, turn: u32) -> core::DataSource {
    let path = match path.rsplit_once('/').filter(|_| turn % 2 == 1) {
        Some((folder, name)) => format!("{folder}/./{name}"),
        None => path.to_owned(),
    };
    let specifier = core::data_source::Specifier::Filename(path);
    core::DataSource { specifier: Some(specifier), ..Default::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::to_json;

    #[test]
    fn a_name_says_all_of_a_secret() {
        let name = certificate_secret("/tls/a.pem", "/tls/a.key");
        let made = to_json(&secret(&name, 0).unwrap()).unwrap();
        assert_eq!(made["name"], name);
        assert_eq!(made["tls_certificate"]["private_key"]["filename"], "/tls/a.key");
        assert_eq!(made["tls_certificate"]["watched_directory"]["path"], "/tls");
        let name = authorities_secret("/tls/ca.pem", Some("/crl/revoked.pem"));
        let made = to_json(&secret(&name, 0).unwrap()).unwrap();
        assert_eq!(made["validation_context"]["crl"]["filename"], "/crl/revoked.pem");
        assert!(made["validation_context"].get("watched_directory").is_none(), "two folders: {made}");
        let again = secret(&name, 1).unwrap();
        assert_ne!(again.version(), secret(&name, 0).unwrap().version());
        let again = to_json(&again).unwrap();
        assert_eq!(again["validation_context"]["trusted_ca"]["filename"], "/tls/./ca.pem");
        for none in ["", "default", "file-cert:/tls/a.pem", "kubernetes://a"] {
            assert!(secret(none, 0).is_none(), "{none}");
        }
    }
}
