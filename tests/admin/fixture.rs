//! An admin server whose registries the tests drive.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use http::header::HOST;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Bytes};
use hyper_util::rt::TokioIo;
use pilot::admin::{Admin, serve};
use pilot::catalog::Policy;
use pilot::mesh::MeshOptions;
use pilot::metrics::Metrics;
use pilot::own_ports::OwnPorts;
use pilot::proxies::Proxies;
use pilot::proxy::Proxy;
use pilot::shutdown::{Trigger, shutdown};
use pilot::supervisor::Registered;
use pilot::world::{Debounce, RegisteredRules, RulesPolicy, World};
use pilot_envoy_api::envoy::config::core::v3::Node;
use pilot_registry::{
    Endpoint, Feed, Port, Protocol, Service, ServicePort, ServiceSpec, Sink, Snapshot, SnapshotSink, Texts,
    channel,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// How long a test waits for a condition.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// Where xDS would be served.
pub(crate) const XDS: &str = "127.0.0.1:18000";
/// Where people and probes would ask.
pub(crate) const ADMIN: &str = "127.0.0.1:18080";

pub(crate) struct Pilot {
    pub(crate) addr: SocketAddr,
    pub(crate) sinks: Vec<SnapshotSink>,
    /// What its store of rules says, if it has one.
    pub(crate) rules: Option<Sink<Texts>>,
    pub(crate) feeds: Vec<Feed<Snapshot>>,
    pub(crate) proxies: Proxies,
    /// Begins the end of pilot; the admin server goes on.
    pub(crate) trigger: Trigger,
    pub(crate) stop: Option<oneshot::Sender<()>>,
    pub(crate) tasks: JoinSet<()>,
}

/// A pilot with registries of these names, that know nothing yet.
pub(crate) async fn pilot(names: &[&str]) -> Pilot {
    pilot_with(names, &Policy::default()).await
}

/// The same, with registries that are treated so.
pub(crate) async fn pilot_with(names: &[&str], policy: &Policy) -> Pilot {
    start(names, policy, MeshOptions::default()).await
}

/// The same, with proxies that prefer what is near to them.
pub(crate) async fn pilot_near(names: &[&str]) -> Pilot {
    start(names, &Policy::default(), MeshOptions { prefer_near: true, ..MeshOptions::default() }).await
}

/// The same, with a store of rules.
pub(crate) async fn pilot_ruled(names: &[&str]) -> Pilot {
    let options = MeshOptions { has_rules: true, ..MeshOptions::default() };
    start(names, &Policy::default(), options).await
}

async fn start(names: &[&str], policy: &Policy, options: MeshOptions) -> Pilot {
    let (rules, store) = options.has_rules.then(store).unzip();
    let (sinks, feeds): (Vec<_>, Vec<_>) = names.iter().map(|_| channel::<Snapshot>()).unzip();
    let registered = names.iter().zip(&feeds).zip(0..).map(|((name, feed), priority)| {
        Registered::new(*name, "scripted", priority, feed.clone(), policy.clone())
    });
    let world = World::ruled(registered.collect(), store.into_iter().collect(), options, 16);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let proxies = Proxies::default();
    let (trigger, shutdown) = shutdown();
    let admin = Admin {
        world: world.clone(),
        proxies: proxies.clone(),
        metrics: Metrics::new(),
        own: OwnPorts { xds: Some(XDS.parse().unwrap()), admin: Some(ADMIN.parse().unwrap()) },
        shutdown,
    };
    let (stop, stopped) = oneshot::channel();
    let mut tasks = JoinSet::new();
    tasks.spawn(serve(listener, admin, async move { stopped.await.unwrap_or_default() }));
    tasks.spawn(async move { world.follow(Debounce::new(Duration::ZERO, Duration::ZERO), |_| ()).await });
    let pilot = Pilot { addr, sinks, rules, feeds, proxies, trigger, stop: Some(stop), tasks };
    // An answer means that both tasks run, and that the world follows its registries.
    assert_eq!(pilot.get("/livez").await.status, StatusCode::OK);
    pilot
}

fn store() -> (Sink<Texts>, RegisteredRules) {
    let (sink, feed) = channel();
    let (name, policy) = ("rules".into(), RulesPolicy::default());
    (sink, RegisteredRules { name, kind: "scripted", priority: 0, namespaces: Vec::new(), feed, policy })
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json<T: serde::de::DeserializeOwned>(&self) -> T {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {}", self.body))
    }
}

impl Pilot {
    pub(crate) async fn send<B>(&self, request: Request<B>) -> Answer
    where
        B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
    {
        let stream = TcpStream::connect(self.addr).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let mut tasks: JoinSet<Result<(), hyper::Error>> = JoinSet::new();
        tasks.spawn(connection);
        let response: Response<_> = sender.send_request(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = String::from_utf8(body.collect().await.unwrap().to_bytes().into()).unwrap();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> http::request::Builder {
        Request::builder().method(method).uri(path).header(HOST, self.addr.to_string())
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path).body(Empty::new()).unwrap()).await
    }

    /// Asks until the answer is as expected.
    pub(crate) async fn get_until(&self, path: &str, expected: impl Fn(&Answer) -> bool) -> Answer {
        let asked = async {
            loop {
                let answer = self.get(path).await;
                if expected(&answer) {
                    return answer;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(DEADLINE, asked).await.unwrap_or_else(|_| panic!("{path} never came to it"))
    }

    pub(crate) async fn ready(&self) {
        self.get_until("/readyz", |answer| answer.status == StatusCode::OK).await;
    }
}

pub(crate) fn port(number: u32) -> Port {
    Port::try_from(number).unwrap()
}

pub(crate) fn snapshot(hosts: &[&str]) -> Snapshot {
    speaking(Protocol::Http, hosts)
}

/// Services of these names that speak this on port 80.
pub(crate) fn speaking(protocol: Protocol, hosts: &[&str]) -> Snapshot {
    let service = |host: &&str| {
        let mut spec = ServiceSpec::new(host.parse().unwrap());
        spec.ports = vec![ServicePort { number: port(80), name: "http".into(), protocol }];
        let mut endpoint = Endpoint::new("127.0.0.1".parse().unwrap()).serving(port(80), port(8080));
        endpoint.locality.zone = "a".into();
        spec.endpoints = vec![endpoint];
        std::sync::Arc::new(Service::new(spec).unwrap())
    };
    Snapshot::new(hosts.iter().map(service)).unwrap()
}

pub(crate) fn proxy(id: &str) -> Proxy {
    Proxy::from_node(Some(&Node { id: id.into(), ..Node::default() })).unwrap()
}
