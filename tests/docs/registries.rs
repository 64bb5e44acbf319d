//! What the pages of registries type is typed, at real servers, and pilot serves what it registers.

use pilot_registry_testkit::server::tool;

use crate::support::shell::Shell;
use crate::support::snippets::snippets;
use crate::support::wait::{holds, until};

/// Types the commands of a page that begin so, each until it succeeds, with these variables before it.
async fn type_commands(shell: &Shell, page: &str, program: &str, variables: &str) {
    let sh = snippets(page).into_iter().filter(|it| it.language == "sh");
    let lines: Vec<String> =
        sh.flat_map(|it| it.text.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    let lines: Vec<String> = lines.into_iter().filter(|line| line.starts_with(program)).collect();
    assert!(!lines.is_empty(), "{page} types no {program}");
    for line in lines {
        until(&line, async || {
            let output = shell.run(&format!("{variables} {line}"));
            holds(output.status.success(), format!("{}: {output:?}", output.status))
        })
        .await;
    }
}

/// Waits until a pilot with this pilot.toml shows these words on one line of `pilot services`.
async fn serves(shell: &mut Shell, config: &str, words: &[&str]) {
    shell.write_moved("pilot.toml", config);
    shell.spawn("pilot serve");
    until(&format!("{words:?}"), async || {
        let output = shell.run("pilot services");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        holds(
            said.lines().any(|line| words.iter().all(|word| line.contains(word))),
            format!("{said}{output:?}"),
        )
    })
    .await;
}

#[tokio::test]
async fn page_of_consul_registers_a_service_that_is_served() {
    let Some(consul) = tool("PILOT_TEST_CONSUL", "a real Consul") else { return };
    let page = "docs/registries/consul.md";
    let mut shell = Shell::new();
    shell.link(&consul);
    shell.spawn("consul agent -dev -bind 127.0.0.1 -client 127.0.0.1");
    type_commands(&shell, page, "consul ", "CONSUL_HTTP_ADDR=127.0.0.1:8500").await;
    let config =
        snippets(page).into_iter().find(|it| it.language == "toml" && it.text.contains("service_port"));
    serves(&mut shell, &config.unwrap().text, &["web.service.consul", "80/http"]).await;
}

#[tokio::test]
async fn page_of_etcd_registers_a_service_that_is_served() {
    let Some(etcd) = tool("PILOT_TEST_ETCD", "a real etcd") else { return };
    let page = "docs/registries/etcd.md";
    let mut shell = Shell::new();
    ["etcd", "etcdctl"].iter().for_each(|program| shell.link(&etcd.join(program)));
    let urls = "--listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
                --listen-peer-urls http://127.0.0.1:2380";
    shell.spawn(&format!("etcd --data-dir data {urls}"));
    type_commands(&shell, page, "etcdctl ", "ETCDCTL_API=3 ETCDCTL_ENDPOINTS=http://127.0.0.1:2379").await;
    let config = "[registry.mesh.etcd]\nendpoints = [\"http://127.0.0.1:2379\"]\n";
    serves(&mut shell, config, &["reviews.mesh", "80/http", "1"]).await;
}
