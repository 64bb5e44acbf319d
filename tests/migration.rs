//! The page of `examples/migration` is followed as it stands, with an Envoy under load all the time: not one
//! request fails on the way from machines into a cluster.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::Value;

#[path = "migration/cluster.rs"]
mod cluster;
#[path = "support"]
#[allow(dead_code, reason = "each test uses a part")]
mod support {
    pub(crate) mod backend;
    pub(crate) mod http;
    pub(crate) mod load;
    pub(crate) mod loopback;
    pub(crate) mod services;
    pub(crate) mod shell;
    pub(crate) mod snippets;
    pub(crate) mod tools;
    pub(crate) mod wait;
}

use cluster::Cluster;
use support::http;
use support::load::Load;
use support::shell::Shell;
use support::snippets::{Snippet, snippets};
use support::tools;
use support::wait::{holds, until};

const FOLDER: &str = "examples/migration";
const HOST: &str = "web.mesh";

/// Who follows the page.
struct Reader {
    shell: Shell,
    cluster: Cluster,
    /// Which of the shell's servers is the pilot that runs.
    pilot: Option<usize>,
    /// How many backends were started with "&", before everything else.
    machines: usize,
    load: Option<Load>,
}

impl Reader {
    /// Types a line, behind which the page shows what comes, or not.
    async fn enter(&mut self, line: &str, shown: Option<&str>) {
        match line.split_whitespace().next().unwrap() {
            "kubectl" => self.cluster.kubectl(&mut self.shell, line).await,
            "pilot" if line == "pilot serve" => self.serve().await,
            "pilot" if line.starts_with("pilot services") => self.knows_both().await,
            "pilot" if line == "pilot registries" => self.knows_the_cluster_alone().await,
            "envoy" => {
                self.shell.spawn(line);
                self.load_begins().await;
            }
            "./ask.sh" => self.shares(&counts(shown.expect("the page shows the answers"))).await,
            "kill" => (0..self.machines).for_each(|machine| self.shell.interrupt(machine)),
            _ if line.ends_with(" &") => {
                self.shell.spawn(line);
                self.machines += 1;
            }
            _ => drop(self.shell.succeeds(line)),
        }
        if let Some(load) = &self.load {
            load.more(200).await;
        }
    }

    /// A pilot that runs already is ended, as the page says.
    async fn serve(&mut self) {
        if let Some(earlier) = self.pilot.take() {
            self.shell.interrupt(earlier);
        }
        self.pilot = Some(self.shell.servers());
        self.shell.spawn("pilot serve");
        let admin = self.at(18080);
        until("pilot is ready", async || http::body(admin, "localhost", "/readyz").await).await;
    }

    async fn load_ends(&mut self) {
        if let Some(load) = self.load.take() {
            load.finish().await.assert_no_failure();
        }
    }

    async fn load_begins(&mut self) {
        let envoy = self.at(15080);
        until("Envoy routes", async || http::body(envoy, HOST, "/").await).await;
        self.load = Some(Load::start(envoy, &[HOST], 2, &[]));
    }

    /// The script counts as the page says, more or less. Alone: beside clients that wait for slower backends,
    /// its requests would meet the faster ones more often than all requests together do.
    async fn shares(&mut self, expected: &BTreeMap<String, u32>) {
        self.load_ends().await;
        until("./ask.sh", async || {
            let found = counts(&self.shell.succeeds("./ask.sh"));
            let close = found.iter().zip(expected).all(|((who, count), (name, share))| {
                // Each of Envoy's threads keeps to the weights by itself.
                who == name && count.abs_diff(*share) <= 8
            });
            holds(close && found.len() == expected.len(), format!("{found:?} instead of {expected:?}"))
        })
        .await;
        self.load_begins().await;
    }

    /// One service of two registries, which disagree about nothing.
    async fn knows_both(&self) {
        let report = self.service().await;
        let registries = report["instances"].as_array().unwrap().iter().map(|it| it["registry"].as_str());
        let registries: Vec<_> = registries.map(Option::unwrap).collect();
        assert_eq!(registries.iter().filter(|it| **it == "machines").count(), 2, "{report}");
        assert_eq!(registries.iter().filter(|it| **it == "cluster").count(), 2, "{report}");
        assert_eq!(report["conflicts"], Value::Array(Vec::new()), "{report}");
        assert!(!self.shell.succeeds("pilot services").contains("disagree"));
    }

    async fn knows_the_cluster_alone(&self) {
        let said = self.shell.succeeds("pilot registries");
        assert!(
            said.contains("cluster") && !said.contains("machines") && !said.contains("degraded"),
            "{said}"
        );
    }

    async fn service(&self) -> Value {
        let body = http::body(self.at(18080), "localhost", &format!("/debug/services?host={HOST}")).await;
        serde_json::from_str(&body.unwrap()).unwrap()
    }

    fn at(&self, port: u16) -> SocketAddr {
        (self.shell.address(), port).into()
    }
}

/// `  90 machine`, by the name.
fn counts(text: &str) -> BTreeMap<String, u32> {
    let pair = |line: &str| {
        let (count, name) = line.trim().split_once(' ').unwrap();
        (name.to_owned(), count.parse().unwrap())
    };
    text.lines().map(pair).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_on_the_way_from_machines_into_a_cluster() {
    let Some(envoy) = tools::envoy() else { return };
    let mut shell = Shell::new();
    for program in ["curl", "python3"] {
        if !shell.run(&format!("command -v {program}")).status.success() {
            return tools::skipped(&format!("{program} is needed"));
        }
    }
    shell.envoy(&envoy);
    shell.copy("examples/backend.py");
    for file in ["pilot.toml", "services.toml", "web.yaml", "ask.sh"] {
        shell.copy(&format!("{FOLDER}/{file}"));
    }
    shell.enter(FOLDER);
    let cluster = Cluster::start().await;
    let mut reader = Reader { shell, cluster, pilot: None, machines: 0, load: None };
    let page = snippets(&format!("{FOLDER}/README.md"));
    let shown = |n: usize| page.get(n + 1).filter(|it| it.language == "text").map(|it| it.text.as_str());
    for (n, Snippet { text, .. }) in page.iter().enumerate().filter(|(_, it)| it.language == "sh") {
        for line in text.lines() {
            if line == "kubectl delete namespace shop" {
                // Above this line the page says that everything ends.
                reader.load_ends().await;
            }
            reader.enter(line, shown(n)).await;
        }
    }
    assert_eq!(reader.shell.servers(), 6, "the page starts two machines, Envoy, and pilot three times");
    assert!(reader.load.is_none(), "the page removes what it made");
    reader.cluster.assert_deployed();
}
