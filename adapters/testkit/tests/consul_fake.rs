//! The fake Consul answers as the real one does, as far as tests have a real one; and as one that streams is
//! documented to, where they have none.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use pilot_registry_testkit::server::consul::{Admin, Consul, FakeConsul, Options, Profile, Streams};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

/// Either of the two.
enum Subject {
    Real(Box<Consul>),
    Fake(FakeConsul),
}

/// What was answered.
#[derive(Debug)]
struct Said {
    status: u16,
    index: Option<u64>,
    leader: Option<String>,
    backend: Option<String>,
    body: String,
    took: Duration,
}

impl Said {
    /// How many entries the list has.
    fn len(&self) -> usize {
        serde_json::from_str::<Vec<Value>>(&self.body).unwrap().len()
    }

    fn index(&self) -> u64 {
        self.index.unwrap()
    }
}

async fn ask(address: SocketAddr, path: &str) -> Said {
    let began = Instant::now();
    let answer = Admin::new(address, None).answer(Method::GET, path, Bytes::new()).await.unwrap();
    let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    Said {
        status: answer.status().as_u16(),
        index: header("x-consul-index").map(|index| index.parse().unwrap()),
        leader: header("x-consul-knownleader"),
        backend: header("x-consul-query-backend"),
        body: String::from_utf8(answer.body().to_vec()).unwrap(),
        took: began.elapsed(),
    }
}

fn node(service: &str, n: usize) -> (String, String) {
    (format!("{service}-node-{n}"), format!("10.1.0.{n}"))
}

impl Subject {
    fn address(&self) -> SocketAddr {
        match self {
            Self::Real(consul) => consul.address(),
            Self::Fake(consul) => consul.address(),
        }
    }

    async fn ask(&self, path: &str) -> Said {
        ask(self.address(), path).await
    }

    /// Writes so many instances of a service, each with a check in that state.
    async fn put(&self, service: &str, many: usize, status: &str) {
        let check = |n| {
            let id = format!("{service}-{n}");
            json!({ "Node": node(service, n).0, "CheckID": id, "Name": id, "Status": status, "ServiceID": id,
                    "ServiceName": service })
        };
        let one = |n| json!({ "ID": format!("{service}-{n}"), "Service": service, "Port": 80, "Meta": {} });
        match self {
            Self::Real(consul) => {
                for n in 1..=many {
                    let (node, address) = node(service, n);
                    let entry =
                        json!({ "Node": node, "Address": address, "Service": one(n), "Check": check(n) });
                    consul.admin().register(&entry).await.unwrap();
                }
            }
            Self::Fake(consul) => {
                let entry = |n| {
                    let (node, address) = node(service, n);
                    let node = json!({ "Node": node, "Address": address, "Datacenter": "dc1" });
                    json!({ "Node": node, "Service": one(n), "Checks": [check(n)] })
                };
                consul.put(service, &(1..=many).map(entry).collect::<Vec<_>>());
            }
        }
    }

    /// Removes a service with one instance.
    async fn remove(&self, service: &str) {
        match self {
            Self::Real(consul) => {
                consul.admin().deregister(&node(service, 1).0, &format!("{service}-1")).await.unwrap();
            }
            Self::Fake(consul) => consul.remove(service),
        }
    }

    async fn waiting(&self) -> usize {
        match self {
            Self::Real(consul) => consul.waiting().await.unwrap(),
            Self::Fake(consul) => consul.counts().waiting,
        }
    }

    /// Waits until somebody waits.
    async fn somebody_waits(&self) {
        let waits = async {
            while self.waiting().await == 0 {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(30), waits).await.unwrap();
    }

    /// Takes a snapshot, makes the change, and gives what restores the snapshot.
    async fn snapshot(&self) -> Bytes {
        match self {
            Self::Real(consul) => {
                consul.admin().request(Method::GET, "/v1/snapshot", Bytes::new()).await.unwrap().1
            }
            Self::Fake(_) => Bytes::new(),
        }
    }

    async fn restore(&self, snapshot: Bytes) {
        match self {
            Self::Real(consul) => {
                let (status, said) =
                    consul.admin().request(Method::PUT, "/v1/snapshot", snapshot).await.unwrap();
                assert_eq!(status, 200, "{said:?}");
            }
            Self::Fake(consul) => consul.restore_snapshot(7),
        }
    }
}

/// Each rule is asked of the real one, where there is one, and of the fake.
macro_rules! alike {
    ($($rule:ident)+) => {
        $(mod $rule {
            use super::*;

            #[tokio::test]
            async fn on_a_real_consul() {
                if let Some(consul) = Consul::start(Options::default()).await.unwrap() {
                    rules::$rule(&Subject::Real(Box::new(consul))).await;
                }
            }

            #[tokio::test]
            async fn on_a_fake_consul() {
                rules::$rule(&Subject::Fake(FakeConsul::start(None).await.unwrap())).await;
            }
        })+
    };
}

alike! {
    a_missing_service_has_the_index_of_the_last_one_that_went
    after_a_restore_who_waits_is_told_what_was_before
    checks_of_all_states_have_one_index
    refusals_have_their_words_and_headers
}

mod rules {
    use super::*;

    pub(super) async fn a_missing_service_has_the_index_of_the_last_one_that_went(consul: &Subject) {
        let missing = || consul.ask("/v1/health/service/nobody");
        consul.put("web", 1, "passing").await;
        let first = missing().await.index();
        consul.put("api", 1, "passing").await;
        assert!(missing().await.index() > first, "none has gone, so any change counts");
        consul.remove("api").await;
        let gone = missing().await;
        assert_eq!((gone.status, gone.body.trim()), (200, "[]"));
        consul.put("web", 2, "passing").await;
        assert_eq!(missing().await.index(), gone.index());
        consul.put("api", 1, "passing").await;
        consul.remove("api").await;
        assert!(missing().await.index() > gone.index());
    }

    pub(super) async fn after_a_restore_who_waits_is_told_what_was_before(consul: &Subject) {
        consul.put("web", 1, "passing").await;
        let snapshot = consul.snapshot().await;
        if let Subject::Real(_) = consul {
            consul.put("web", 2, "passing").await;
        }
        let before = consul.ask("/v1/health/service/web").await;
        let poll = format!("/v1/health/service/web?index={}&wait=", before.index());
        let waiting = format!("{poll}60s");
        let (told, ()) = tokio::join!(ask(consul.address(), &waiting), async {
            consul.somebody_waits().await;
            consul.restore(snapshot).await;
        });
        assert!(told.took < Duration::from_secs(30), "nobody was told: {told:?}");
        assert_eq!((told.index(), told.len()), (before.index(), before.len()), "{told:?}");

        let next = consul.ask(&format!("{poll}1s")).await;
        assert!(next.took >= Duration::from_secs(1), "it did not wait: {next:?}");
        assert!(next.index() < before.index(), "{next:?}");
        assert_eq!(next.len(), 1);

        consul.put("web", 3, "passing").await;
        let later = consul.ask(&format!("{poll}10s")).await;
        assert!(later.index() > before.index(), "{later:?}");
    }

    pub(super) async fn checks_of_all_states_have_one_index(consul: &Subject) {
        consul.put("web", 1, "critical").await;
        let before = consul.ask("/v1/health/state/critical").await;
        assert_eq!(before.len(), 1);
        consul.put("api", 1, "warning").await;
        let poll = format!("/v1/health/state/critical?index={}&wait=60s", before.index());
        let after = timeout(Duration::from_secs(30), consul.ask(&poll)).await.unwrap();
        assert_eq!(after.len(), 1, "the list is the same");
        assert!(after.index() > before.index());
    }

    pub(super) async fn refusals_have_their_words_and_headers(consul: &Subject) {
        let web = "/v1/health/service/web?";
        let cases = [
            ("index=many", "Invalid index"),
            ("wait=long", "Invalid wait time"),
            ("stale&consistent", "Cannot specify ?stale with ?consistent, conflicting semantics."),
            ("ns=default", "Namespaces are a Consul Enterprise feature"),
        ];
        for (asked, expected) in cases {
            let said = consul.ask(&format!("{web}{asked}")).await;
            assert_eq!(said.status, 400, "{asked}: {said:?}");
            assert!(said.body.contains(expected), "{asked}: {said:?}");
        }
        // What fails has the headers of an empty list: never to be taken for an index.
        for path in [web, "/v1/catalog/services?"] {
            let said = consul.ask(&format!("{path}dc=nowhere")).await;
            assert_eq!(said.status, 500);
            assert!(said.body.contains("No path to datacenter"), "{said:?}");
            assert_eq!((said.index, said.leader.as_deref()), (Some(1), Some("false")), "{path}");
        }
    }
}

async fn streaming() -> (Subject, Said) {
    let consul = Subject::Fake(FakeConsul::with(Profile::Streaming, None).await.unwrap());
    consul.put("web", 2, "passing").await;
    let first = consul.ask("/v1/health/service/web").await;
    assert_eq!((first.leader.as_deref(), first.backend.as_deref()), (Some("true"), Some("blocking-query")));
    (consul, first)
}

#[tokio::test]
async fn only_polls_of_a_service_are_answered_by_views() {
    let (consul, first) = streaming().await;
    let at = format!("index={}&wait=10ms", first.index());
    let backend = async |path: String| {
        let said = consul.ask(&path).await;
        (said.backend.unwrap(), said.leader.unwrap())
    };
    let view = ("streaming".to_owned(), "false".to_owned());
    let server = ("blocking-query".to_owned(), "true".to_owned());
    assert_eq!(backend(format!("/v1/health/service/web?{at}")).await, view);
    assert_eq!(backend(format!("/v1/health/service/web?{at}&consistent")).await, view);
    assert_eq!(backend("/v1/health/service/web?cached".to_owned()).await, view);
    assert_eq!(backend(format!("/v1/health/service/web?{at}&near=_agent")).await, server);
    assert_eq!(backend("/v1/health/service/web?index=0".to_owned()).await, server);
    assert_eq!(backend(format!("/v1/catalog/services?{at}")).await, server);
    assert_eq!(backend(format!("/v1/health/state/critical?{at}")).await, server);
}

#[tokio::test]
async fn a_view_that_is_empty_has_the_old_index_or_1() {
    let (consul, first) = streaming().await;
    let Subject::Fake(fake) = &consul else { return };
    let poll = format!("/v1/health/service/web?index={}&wait=200ms", first.index());
    assert_eq!(consul.ask(&poll).await.len(), 2);
    let (emptied, ()) = tokio::join!(ask(consul.address(), &poll), async {
        consul.somebody_waits().await;
        fake.stream(Streams::Reset);
    });
    assert_eq!((emptied.status, emptied.len(), emptied.index()), (200, 0, first.index()));
    fake.stream(Streams::Cold);
    let cold = consul.ask(&poll).await;
    assert_eq!((cold.status, cold.len(), cold.index()), (200, 0, 1));
    fake.stream(Streams::Fair);
    assert_eq!(consul.ask(&poll).await.len(), 2);
    fake.restore_snapshot(7);
    let restored = consul.ask(&poll).await;
    assert_eq!((restored.len(), restored.index()), (2, 7));
}
