//! What real Envoys refuse, new ones of their version are spared.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use pilot::resources::ResourceType::{Cluster, Endpoint, Listener, Route};
use pilot::resources::{Origin, PerType, Resource, Rope, TypeSet};
use pilot::xds::words::is_of_machine;
use pilot_envoy_api::envoy::config::accesslog::v3::{AccessLog, access_log};
use pilot_envoy_api::envoy::config::cluster::v3::Cluster as ClusterMessage;
use pilot_envoy_api::envoy::config::core::v3::{
    DataSource, SocketOption, TransportSocket, data_source, socket_option, transport_socket,
};
use pilot_envoy_api::envoy::config::listener::v3::Listener as ListenerMessage;
use pilot_envoy_api::envoy::config::route::v3::RouteConfiguration;
use pilot_envoy_api::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, CommonTlsContext, UpstreamTlsContext, common_tls_context,
};
use pilot_envoy_api::google::protobuf::Any;
use pilot_envoy_api::to_any;
use prost::Message;

use crate::e2e::handmade::{Server, cluster, endpoints, listener, name, refused_by, socket, virtual_host};
use crate::support::backend::Backend;
use crate::support::envoy::{Envoy, Kind};
use crate::support::loopback::own_address;
use crate::support::tools::{envoy, oldest_envoy};
use crate::support::wait::{holds, until};

/// Ten services at that backend. Of three of them Envoys refuse something, if they are spoilt.
fn services(address: Ipv4Addr, backend: &Backend, spoilt: bool) -> PerType<TypeSet> {
    let at = (backend.socket().ip().to_string(), u32::from(backend.socket().port()));
    let mut sets = PerType::<TypeSet>::default();
    let mut rope = Rope::new(&RouteConfiguration { name: "routes".to_owned(), ..Default::default() });
    for number in 0..10 {
        let (name, at) = (name(number), (at.0.as_str(), at.1));
        let is_bad = |of: usize| spoilt && number == of;
        let mut cluster = cluster(&name, true);
        if is_bad(3) {
            cluster = self::cluster(&name, false);
        }
        sets[Cluster].insert(Arc::new(cluster));
        let at = if is_bad(6) { ("not-an-ip.example", 80) } else { at };
        sets[Endpoint].insert(Arc::new(endpoints(&name, at)));
        rope.insert(virtual_host(&name, is_bad(9)));
    }
    sets[Listener].insert(Arc::new(listener("listener", Some((address, 15080).into()), "routes")));
    sets[Route].insert(Arc::new(Resource::from_rope("routes".into(), rope, Origin::Shared)));
    sets
}

const WITHHELD: [(&str, &str, Option<&str>); 3] =
    [("cds", "service-003", None), ("eds", "service-006", None), ("rds", "routes", Some("service-009"))];

/// A rolling restart: those that refused a version are gone when the new one comes.
async fn a_new_one_is_spared(binary: Option<PathBuf>, kind: Kind) {
    let Some(binary) = binary else { return };
    let [one, other] = [Backend::http("one").await, Backend::http("other").await];
    let server = Server::start().await;
    let address = server.pilot.address();
    server.publish(services(address, &one, false), 1);
    let old: Vec<Envoy> =
        (0..3).map(|_| Envoy::spawn_at(&binary, &server.pilot, kind, own_address())).collect();
    let mut old = old;
    for envoy in &mut old {
        envoy.configured().await;
    }
    server.publish(services(address, &other, true), 2);
    until("all three refuse the three", async || {
        for proxy in server.proxies.list() {
            let refused = refused_by(&proxy)?;
            let count = refused.values().map(Vec::len).sum::<usize>();
            holds(count == WITHHELD.len(), format!("{} refuses {refused:?}", proxy.id))?;
        }
        Ok::<_, String>(())
    })
    .await;
    drop(old);
    until("they are gone", async || holds(server.proxies.is_empty(), server.proxies.len())).await;
    let nacks = server.nacks();
    // Where the services are routed from.
    let new = Envoy::spawn_at(&binary, &server.pilot, kind, address);
    for number in [0, 3, 9] {
        new.answers(&name(number), "other").await;
    }
    new.answers(&name(6), "one").await;
    assert_eq!(server.nacks(), nacks, "it was offered none of it");
    let proxy = server.proxies.list().remove(0);
    let types = &proxy.streams[0].types;
    for (kind, resource, host) in WITHHELD {
        let [withheld] = types[kind].withheld.as_slice() else { panic!("{kind}: {:?}", types[kind]) };
        let shown = (withheld.name.as_str(), withheld.virtual_host.as_deref(), withheld.refused_by);
        assert_eq!(shown, (resource, host, 3));
        assert!(types[kind].nack.is_none(), "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p04_what_three_envoys_refuse_a_fourth_is_spared_and_has_all_else_delta() {
    a_new_one_is_spared(envoy(), Kind::Delta).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p04_what_three_envoys_refuse_a_fourth_is_spared_and_has_all_else_sotw() {
    a_new_one_is_spared(envoy(), Kind::Sotw).await;
}

/// A file that is read: a certificate authority.
fn trusting(name: &str, file: &str) -> Resource {
    let trusted_ca = DataSource {
        specifier: Some(data_source::Specifier::Filename(file.to_owned())),
        ..Default::default()
    };
    let validation = CertificateValidationContext { trusted_ca: Some(trusted_ca), ..Default::default() };
    let context = CommonTlsContext {
        validation_context_type: Some(common_tls_context::ValidationContextType::ValidationContext(
            validation,
        )),
        ..Default::default()
    };
    let tls = to_any(&UpstreamTlsContext { common_tls_context: Some(context), ..Default::default() });
    with_socket(name, "envoy.transport_sockets.tls", tls)
}

fn with_socket(name: &str, of: &str, config: Any) -> Resource {
    let socket = TransportSocket {
        name: of.to_owned(),
        config_type: Some(transport_socket::ConfigType::TypedConfig(config)),
    };
    let message =
        ClusterMessage { name: name.to_owned(), transport_socket: Some(socket), ..Default::default() };
    Resource::new(name.into(), &message, Vec::new(), Origin::Shared)
}

fn plain_listener(name: &str, at: (&str, u32)) -> ListenerMessage {
    let message = listener(name, None, "routes");
    let any = Any::decode(message.any_bytes()).unwrap();
    ListenerMessage { address: socket(at), ..ListenerMessage::decode(any.value).unwrap() }
}

fn of_listener(message: &ListenerMessage) -> Resource {
    Resource::new(message.name.as_str().into(), message, Vec::new(), Origin::Shared)
}

#[derive(Clone, PartialEq, Message)]
struct FileAccessLog {
    #[prost(string, tag = "1")]
    path: String,
}

/// What an Envoy of this machine refuses, and others might not; and what all would.
async fn says_whether_it_is_the_machine(binary: Option<PathBuf>) {
    let Some(binary) = binary else { return };
    let server = Server::start().await;
    let taken = Backend::http("taken").await;
    let port = u32::from(taken.socket().port());
    let address = server.pilot.address().to_string();
    let unknown = Any { type_url: "type.googleapis.com/no.such.Type".to_owned(), value: Default::default() };
    let cert = server.pilot.folder().join("no-certificate.pem");
    std::fs::write(&cert, "no certificate").unwrap();
    let log = FileAccessLog { path: "/nonexistent/access.log".to_owned() }.encode_to_vec();
    let type_url = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog".to_owned();
    let log = access_log::ConfigType::TypedConfig(Any { type_url, value: log.into() });
    let log = AccessLog {
        name: "envoy.access_loggers.file".to_owned(),
        config_type: Some(log),
        ..Default::default()
    };
    let option = SocketOption {
        level: 99,
        name: 99,
        state: socket_option::SocketState::StatePrebind.into(),
        value: Some(socket_option::Value::IntValue(1)),
        ..Default::default()
    };
    let clusters = [
        trusting("m-file", "/nonexistent/ca.pem"),
        trusting("m-content", cert.to_str().unwrap()),
        with_socket("m-extension", "no.such.socket", unknown.clone()),
        cluster("all-eds", false),
    ];
    let listeners = [
        plain_listener("m-taken", ("127.0.0.1", port)),
        plain_listener("m-elsewhere", ("192.0.2.1", 15081)),
        plain_listener("m-own", (&address, 15000)),
        ListenerMessage { access_log: vec![log], ..plain_listener("m-log", (&address, 15082)) },
        ListenerMessage { socket_options: vec![option], ..plain_listener("m-option", (&address, 15083)) },
        ListenerMessage { address: None, ..plain_listener("all-address", (&address, 15084)) },
    ];
    let mut sets = PerType::<TypeSet>::default();
    sets[Cluster] = TypeSet::new(clusters.into_iter().map(Arc::new));
    sets[Listener] = TypeSet::new(listeners.iter().map(|it| Arc::new(of_listener(it))));
    let expected = sets[Cluster].len() + sets[Listener].len();
    server.publish(sets, 1);
    let _envoy = Envoy::spawn(&binary, &server.pilot, Kind::Delta);
    let said = until("it refuses all of them", async || {
        let proxies = server.proxies.list();
        let types = proxies.iter().flat_map(|proxy| &proxy.streams).flat_map(|stream| stream.types.values());
        let refused: Vec<_> =
            types.filter_map(|it| it.nack.as_ref()).flat_map(|it| it.refused.clone()).collect();
        holds(refused.len() == expected, format!("{refused:#?}"))?;
        Ok::<_, String>(refused)
    })
    .await;
    for refused in said {
        let expected = refused.name.starts_with("m-");
        assert_eq!(is_of_machine(&refused.message), expected, "{}: {}", refused.name, refused.message);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p04_an_envoys_words_tell_what_may_be_the_fault_of_its_machine() {
    says_whether_it_is_the_machine(envoy()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p04_the_oldest_envoys_words_tell_what_may_be_the_fault_of_its_machine() {
    says_whether_it_is_the_machine(oldest_envoy()).await;
}
