//! Verbs that list: wide, without headings, as things change; and services by the beginning of their names.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use crate::fixture::{Pilot, pilot, proxy, snapshot};
use crate::verbs::ask;

/// Longer than any change takes to be shown on a machine under load.
const LONG: Duration = Duration::from_secs(60);

async fn with(hosts: &[&str]) -> Pilot {
    let pilot = pilot(&["east"]).await;
    pilot.sinks[0].publish(snapshot(hosts));
    pilot.ready().await;
    pilot
}

#[tokio::test]
async fn a_service_is_found_by_the_beginning_of_its_name() {
    let pilot = with(&["reviews.service.consul", "shop.north.mesh", "shop.south.mesh"]).await;
    let one = ask(&pilot, &["services", "reviews"]).await;
    assert!(one.stdout.starts_with("reviews.service.consul (endpoints), 80/http\n"), "{}", one.stdout);
    assert!(ask(&pilot, &["services", "shop.north"]).await.stdout.starts_with("shop.north.mesh "));
    let several = ask(&pilot, &["services", "shop"]).await;
    assert_eq!(
        several.stderr,
        "error: \"shop\" is the beginning of 2 services (known: shop.north.mesh, shop.south.mesh)\n"
    );
    assert_eq!(several.code, Some(1));
    // Whole labels only.
    assert!(ask(&pilot, &["services", "rev"]).await.stderr.starts_with("error: no service \"rev\""));
}

#[tokio::test]
async fn lists_can_be_wide_and_without_headings() {
    let pilot = with(&["a.local", "b.local"]).await;
    assert_eq!(
        ask(&pilot, &["services", "--no-headers"]).await.stdout,
        "a.local  80/http  1          east\nb.local  80/http  1          east\n"
    );
    let wide = ask(&pilot, &["services", "-o", "wide"]).await.stdout;
    assert!(wide.starts_with("HOST     PORTS    ENDPOINTS  REGISTRIES  ALIASES\n"), "{wide}");
    let wide = ask(&pilot, &["services", "a.local", "-o", "wide"]).await.stdout;
    assert!(wide.contains("REGISTRY  PRIORITY  LABELS\n"), "{wide}");
    let wide = ask(&pilot, &["registries", "-o", "wide"]).await.stdout;
    assert!(wide.contains("SKIPPED  OPTIONAL  SERVER  CHANGED\n"), "{wide}");
    let _stream = pilot.proxies.connect(&proxy("envoy-1"), pilot::proxy::Transport::Ads, true, None);
    let wide = ask(&pilot, &["ps", "-o", "wide"]).await.stdout;
    assert!(wide.lines().next().is_some_and(|line| line.ends_with("CLUSTER  NAMESPACE  LOCALITY")), "{wide}");
    let none = ask(&with(&[]).await, &["services", "--no-headers"]).await;
    assert_eq!((none.stdout.as_str(), none.code), ("", Some(0)));
}

/// A verb that watches, and what it writes.
struct Watching {
    _child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Watching {
    fn start(pilot: &Pilot, args: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pilot"));
        command.args(args).args(["--admin", &pilot.addr.to_string()]).env_clear();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { _child: child, lines }
    }

    async fn line(&mut self) -> String {
        timeout(LONG, self.lines.next_line()).await.expect("a line comes").unwrap().expect("it goes on")
    }
}

#[tokio::test]
async fn a_watch_shows_what_changes_and_nothing_else() {
    let pilot = with(&["a.local", "b.local"]).await;
    let mut services = Watching::start(&pilot, &["services", "--watch"]);
    assert_eq!(services.line().await, "HOST     PORTS    ENDPOINTS  REGISTRIES");
    assert_eq!(services.line().await, "a.local  80/http  1          east");
    assert_eq!(services.line().await, "b.local  80/http  1          east");
    pilot.sinks[0].publish(snapshot(&["a.local", "b.local", "c.local"]));
    assert_eq!(services.line().await, "c.local  80/http  1          east");
    pilot.sinks[0].publish(snapshot(&["a.local", "c.local"]));
    assert_eq!(services.line().await, "b.local  (gone)");

    let mut proxies = Watching::start(&pilot, &["proxies", "-w", "--no-headers"]);
    let stream = pilot.proxies.connect(&proxy("envoy-1"), pilot::proxy::Transport::Ads, true, None);
    assert!(proxies.line().await.starts_with("envoy-1  router"));
    drop(stream);
    assert!(proxies.line().await.starts_with("envoy-1  (gone)"));

    let refused = ask(&pilot, &["services", "-w", "-o", "json"]).await;
    assert_eq!(refused.stderr, "error: --watch shows the rows of a table: leave it out, or -o\n");
}

#[tokio::test]
async fn the_servers_version_is_told() {
    let pilot = with(&["a.local"]).await;
    let own = env!("CARGO_PKG_VERSION");
    let table = format!("COMPONENT  VERSION\nclient     {own}\nserver     {own}\n");
    assert_eq!(ask(&pilot, &["version"]).await.stdout, table);
}
