//! Certificates for servers and clients of a test.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};

/// A certificate authority that lives as long as a test. Its files are in a folder that the test names.
pub struct Authority {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    issued: u64,
    revoked: Vec<u64>,
}

/// The files of a certificate and its key, in PEM.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    serial: u64,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Authority {
    /// A new authority with its certificate and an empty list of revoked ones in `folder`.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn new(folder: &Path) -> Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "authority of a test");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        let issuer = Issuer::new(params, key);
        let authority = Self { folder: folder.to_owned(), issuer, issued: 0, revoked: Vec::new() };
        fs::write(authority.certificate(), certificate.pem())?;
        authority.write_revoked()?;
        Ok(authority)
    }

    /// The file with its own certificate.
    pub fn certificate(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// The file with the list of revoked certificates, in DER. It is replaced by [`revoke`](Self::revoke).
    pub fn revocations(&self) -> PathBuf {
        self.folder.join("revoked.crl")
    }

    /// Issues a certificate with `name` as its subject, for these DNS names and IP addresses. It serves
    /// servers and clients.
    ///
    /// # Errors
    /// The folder cannot be written, or a host is none.
    pub fn issue(&mut self, name: &str, hosts: &[&str]) -> Result<Certificate> {
        self.issued += 1;
        let serial = self.issued;
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts)?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.serial_number = Some(SerialNumber::from(serial));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let place = |end: &str| self.folder.join(format!("{name}-{serial}{end}"));
        let issued = Certificate { certificate: place(".pem"), key: place(".key"), serial };
        fs::write(&issued.certificate, certificate.pem())?;
        fs::write(&issued.key, key.serialize_pem())?;
        Ok(issued)
    }

    /// Puts a certificate on the list of revoked ones, or with `None` empties the list.
    ///
    /// # Errors
    /// The list cannot be written.
    pub fn revoke(&mut self, certificate: Option<&Certificate>) -> Result<()> {
        match certificate {
            Some(certificate) => self.revoked.push(certificate.serial),
            None => self.revoked.clear(),
        }
        self.write_revoked()
    }

    fn write_revoked(&self) -> Result<()> {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(2100, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: self.revoked.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&self.issuer)?;
        // Replaced as a whole: servers read it whenever somebody connects.
        let new = self.folder.join("revoked.new");
        fs::write(&new, list.der())?;
        Ok(fs::rename(new, self.revocations())?)
    }
}
