//! HTTPS: certificates by SNI, clients' certificates, renewal, what is missing; TLS that is passed on.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use pilot_registry_testkit::server::{Authority, Certificate};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

use super::edge::{EDGE, Edge, all_to, bound, gateway};
use crate::support::tls::TlsClient;
use crate::support::wait::{holds, until};

/// The port of servers of HTTPS.
const HTTPS: u16 = 8443;

const BOTH: [&str; 2] = ["h2", "http/1.1"];

/// Certificates, in a folder that lasts as long as a test.
struct Certificates {
    folder: TempDir,
    authority: Authority,
}

impl Certificates {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let authority = Authority::new(folder.path()).unwrap();
        Self { folder, authority }
    }

    /// The files of a server, where they are replaced: of a certificate for this host.
    fn put(&mut self, name: &str, host: &str) -> Certificate {
        self.put_by(move_to, name, host)
    }

    /// The same, with another way to replace a file.
    fn put_by(&mut self, replace: fn(&Path, &Path), name: &str, host: &str) -> Certificate {
        let issued = self.authority.issue(name, &[host]).unwrap();
        let place = |end: &str| self.folder.path().join(format!("{name}{end}"));
        let mut live = issued.clone();
        (live.certificate, live.key) = (place(".pem"), place(".key"));
        replace(&issued.key, &live.key);
        replace(&issued.certificate, &live.certificate);
        live
    }

    fn client(&self, own: Option<&Certificate>) -> TlsClient {
        TlsClient::new(&self.authority.certificate(), own, &BOTH)
    }

    /// The list of revoked certificates, as Envoy reads it.
    fn revoked(&self) -> String {
        let list = BASE64_STANDARD.encode(fs::read(self.authority.revocations()).unwrap());
        let place = self.folder.path().join("revoked.pem");
        let new = place.with_extension("new");
        fs::write(&new, format!("-----BEGIN X509 CRL-----\n{list}\n-----END X509 CRL-----\n")).unwrap();
        fs::rename(new, &place).unwrap();
        place.display().to_string()
    }
}

/// Copies a file and puts the copy in another's place.
fn move_to(from: &Path, to: &Path) {
    let new = to.with_extension("new");
    fs::copy(from, &new).unwrap();
    fs::rename(new, to).unwrap();
}

/// Writes a file's content into another one.
fn write_to(from: &Path, to: &Path) {
    fs::write(to, fs::read(from).unwrap()).unwrap();
}

/// A server of HTTPS for a host.
fn https(name: &str, host: &str, files: &Certificate, more: &str) -> String {
    let (certificate, key) = (files.certificate.display(), files.key.display());
    let mode = if more.contains("mode:") { "" } else { "mode: SIMPLE, " };
    format!(
        "  - {{port: {{number: {HTTPS}, name: {name}, protocol: HTTPS}}, bind: ADDRESS, hosts: ['{host}'], tls: {{{mode}{more} \
         serverCertificate: {certificate}, privateKey: {key}}}}}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn each_host_has_its_certificate_and_no_connection_serves_another_servers_host() {
    let mut certificates = Certificates::new();
    let (shop, all) =
        (certificates.put("shop", "shop.example.com"), certificates.put("all", "*.example.com"));
    let servers = https("shop", "shop.example.com", &shop, "") + &https("all", "*.example.com", &all, "");
    let rules = gateway("edge", &servers)
        + &bound("shop", "shop.example.com", &all_to("shop.mesh"))
        + &bound("blog", "*.example.com", &all_to("blog.mesh"));
    let Some(edge) = Edge::open(&[("edge.yaml", &rules)]).await else { return };
    for protocols in [&BOTH[..], &BOTH[1..]] {
        let client = TlsClient::new(&certificates.authority.certificate(), None, protocols);
        let mut shop =
            until("the shop is served", async || client.open(edge.at(HTTPS), "shop.example.com").await).await;
        assert_eq!(shop.is_http2(), protocols.len() == 2);
        assert_eq!(shop.get("shop.example.com").await.unwrap(), (200.try_into().unwrap(), "shop".to_owned()));
        assert_eq!(shop.get("blog.example.com").await.unwrap().0, 421, "another server has it");
        assert_eq!(shop.get("example.org").await.unwrap().0, 404, "nobody has it");
        let mut blog = client.open(edge.at(HTTPS), "blog.example.com").await.unwrap();
        assert_eq!(blog.get("blog.example.com").await.unwrap().1, "blog");
        assert_eq!(blog.get("other.example.com").await.unwrap().1, "blog", "it is of the same server");
        assert_eq!(blog.get("shop.example.com").await.unwrap().0, 421);
        assert_ne!(blog.certificate, shop.certificate);
    }
    for (host, service) in [("shop.example.com", "shop.mesh"), ("other.example.com", "blog.mesh")] {
        let explained = edge.pilot.explained(&format!("https://{host}:{HTTPS}/"), &["--proxy", EDGE]).await;
        let services: Vec<_> = explained.destinations.iter().map(|it| it.service.as_deref()).collect();
        assert_eq!(services, [Some(service)], "{host}: {explained:?}");
    }
    let client = certificates.client(None);
    assert!(client.open(edge.at(HTTPS), "example.org").await.is_err(), "no server has that name");
    edge.envoy.assert_no_rejections().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_need_a_certificate_where_a_server_asks_for_one() {
    let mut certificates = Certificates::new();
    let server = certificates.put("server", "*.example.com");
    let (visitor, stranger) = (
        certificates.authority.issue("visitor", &["visitor.example.com"]).unwrap(),
        certificates.authority.issue("stranger", &["stranger.example.com"]).unwrap(),
    );
    let ca = certificates.authority.certificate().display().to_string();
    let revoked = certificates.revoked();
    let must = format!(
        "mode: MUTUAL, caCertificates: {ca}, caCrl: {revoked}, subjectAltNames: [visitor.example.com],"
    );
    let may = format!("mode: OPTIONAL_MUTUAL, caCertificates: {ca},");
    let servers =
        https("must", "must.example.com", &server, &must) + &https("may", "may.example.com", &server, &may);
    let rules = gateway("edge", &servers) + &bound("all", "*.example.com", &all_to("shop.mesh"));
    let Some(edge) = Edge::open(&[("edge.yaml", &rules)]).await else { return };
    let (nobody, visitor_client, stranger_client) = (
        certificates.client(None),
        certificates.client(Some(&visitor)),
        certificates.client(Some(&stranger)),
    );
    let at = edge.at(HTTPS);
    until("the visitor is served", async || visitor_client.get(at, "must.example.com").await).await;
    for (client, host, is_served) in [
        (&nobody, "must.example.com", false),
        (&stranger_client, "must.example.com", false),
        (&nobody, "may.example.com", true),
        (&stranger_client, "may.example.com", true),
    ] {
        let answer = client.get(at, host).await;
        assert_eq!(answer.is_ok(), is_served, "{host}: {answer:?}");
    }
    certificates.authority.revoke(Some(&visitor)).unwrap();
    certificates.revoked();
    until("the visitor is turned away", async || {
        holds(visitor_client.get(at, "must.example.com").await.is_err(), "it is served")
    })
    .await;
    edge.envoy.assert_no_rejections().await;
}

/// How often certificates are renewed under load.
fn renewals() -> usize {
    if std::env::var_os("PILOT_TEST_LONG").is_some() { 100 } else { 8 }
}

#[tokio::test(flavor = "multi_thread")]
async fn renewed_certificates_are_taken_and_no_request_is_lost() {
    let mut certificates = Certificates::new();
    let shop = certificates.put("shop", "shop.example.com");
    let rules = gateway("edge", &https("shop", "shop.example.com", &shop, ""))
        + &bound("shop", "shop.example.com", &all_to("shop.mesh"));
    let Some(edge) = Edge::open(&[("edge.yaml", &rules)]).await else { return };
    let (client, at) = (certificates.client(None), edge.at(HTTPS));
    until("the shop is served", async || client.get(at, "shop.example.com").await).await;
    let listeners = edge.envoy.stats().await["listener_manager.lds.update_success"];
    let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut load = JoinSet::new();
    {
        let (client, stop, sent) = (client.clone(), Arc::clone(&stop), Arc::clone(&sent));
        load.spawn(async move {
            // One connection that stays, and a new one for each request.
            let mut stays = client.open(at, "shop.example.com").await.unwrap();
            while !stop.load(Ordering::Relaxed) {
                assert_eq!(stays.get("shop.example.com").await.unwrap().0, 200);
                assert_eq!(client.get(at, "shop.example.com").await.unwrap().0, 200);
                sent.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    for i in 0..renewals() {
        let before = client.open(at, "shop.example.com").await.unwrap().certificate;
        certificates.put_by([move_to, write_to][i % 2], "shop", "shop.example.com");
        until("the new certificate is served", async || {
            let now = client.open(at, "shop.example.com").await?.certificate;
            holds(now != before, "the old one is")
        })
        .await;
        assert!(load.try_join_next().is_none(), "a request failed");
    }
    stop.store(true, Ordering::Relaxed);
    load.join_all().await;
    assert!(sent.load(Ordering::Relaxed) > 0);
    assert_eq!(
        edge.envoy.stats().await["listener_manager.lds.update_success"],
        listeners,
        "no listener changed"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_missing_costs_its_server_alone() {
    let mut certificates = Certificates::new();
    let (shop, blog) =
        (certificates.put("shop", "shop.example.com"), certificates.put("blog", "blog.example.com"));
    fs::remove_file(&blog.key).unwrap();
    let servers =
        https("shop", "shop.example.com", &shop, "") + &https("blog", "blog.example.com", &blog, "");
    let rules = gateway("edge", &servers)
        + &bound("shop", "shop.example.com", &all_to("shop.mesh"))
        + &bound("blog", "blog.example.com", &all_to("blog.mesh"));
    let Some(edge) = Edge::open(&[("edge.yaml", &rules)]).await else { return };
    let (client, at) = (certificates.client(None), edge.at(HTTPS));
    until("the shop is served", async || client.get(at, "shop.example.com").await).await;
    assert!(client.get(at, "blog.example.com").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_passed_on_by_its_name_or_ended_for_bytes() {
    let mut certificates = Certificates::new();
    let shop = certificates.put("shop", "shop.example.com");
    let bytes = certificates.put("bytes", "bytes.example.com");
    let ended = https("bytes", "bytes.example.com", &bytes, "").replace("protocol: HTTPS", "protocol: TLS");
    let servers = https("shop", "shop.example.com", &shop, "")
        + &ended
        + "  - {port: {number: 9443, name: on, protocol: TLS}, bind: ADDRESS, hosts: ['*.example.com'], tls: {}}\n"
        + "  - {port: {number: 9000, name: echo, protocol: TCP}, bind: ADDRESS, hosts: ['*']}\n";
    let head = "apiVersion: networking.istio.io/v1\nkind: VirtualService\n";
    let rules = gateway("edge", &servers)
        + &bound("shop", "shop.example.com", &all_to("shop.mesh"))
        + head
        + "metadata: {name: on}\nspec:\n  hosts: [shop.example.com]\n  gateways: [edge]\n  tls:\n  - match: [{sniHosts: \
           [shop.example.com], port: 9443}]\n    route: [{destination: {host: secure.mesh}}]\n---\n"
        + head
        + "metadata: {name: echo}\nspec:\n  hosts: ['*']\n  gateways: [edge]\n  tcp:\n  - route: [{destination: {host: \
           echo.mesh}}]\n";
    let Some(edge) = Edge::open(&[("edge.yaml", &rules)]).await else { return };
    let client = certificates.client(None);
    let answer =
        until("TLS is passed on", async || client.get(edge.at(9443), "shop.example.com").await).await;
    assert_eq!(answer.1, "shop");
    assert!(client.open(edge.at(9443), "blog.example.com").await.is_err(), "no rule is for that name");
    let mut plain = tokio::net::TcpStream::connect(edge.at(9000)).await.unwrap();
    let echoed = says(&mut plain).await;
    let mut secure = client.connect(edge.at(HTTPS), "bytes.example.com").await.unwrap();
    assert_eq!(says(&mut secure).await, echoed);
    edge.envoy.assert_no_rejections().await;
}

/// Says something, and gives what comes back.
async fn says(stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin)) -> String {
    stream.write_all(b"hello\n").await.unwrap();
    let mut back = Vec::new();
    while !back.ends_with(b"hello\n") {
        let mut more = vec![0; 64];
        let read = stream.read(&mut more).await.unwrap();
        assert!(read > 0, "it ended after {back:?}");
        back.extend_from_slice(&more[..read]);
    }
    String::from_utf8(back).unwrap()
}
