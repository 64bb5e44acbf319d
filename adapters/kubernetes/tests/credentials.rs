//! Who pilot is, where a plugin says so; and what of a kubeconfig is never said.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

// A test's modules are looked for beside it, where they would be tests of their own.
#[path = "support/cluster.rs"]
mod cluster;

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use cluster::{Cluster, TOKEN};
use pilot_registry::{ErrorKind, RegistryError, ServiceRegistry, SnapshotSink, State, channel};
use pilot_registry_kubernetes::{KubernetesRegistry, registry};
use pilot_registry_testkit::Runner;
use serde_json::{Value, json};
use tokio::time::timeout;

const SECRET: &str = "hidden-5520";
/// Longer than credentials may take.
const TOO_LONG: Duration = Duration::from_secs(31);

/// A script, as credentials: with a secret among its arguments, one in its environment, and the cluster's
/// folder as `$HERE`.
fn plugin(cluster: &Cluster, script: &str) -> Result<Value> {
    let path = cluster.file("plugin");
    fs::write(&path, script)?;
    let env = [("HERE", cluster.file("").display().to_string()), ("KEY", SECRET.to_owned())];
    let env = env.map(|(name, value)| json!({ "name": name, "value": value }));
    let args = json!([path, format!("--client-secret={SECRET}")]);
    let version = "client.authentication.k8s.io/v1";
    Ok(json!({ "exec": { "apiVersion": version, "command": "sh", "args": args, "env": env } }))
}

/// What prints that token.
fn prints(token: &str, expires: Option<&str>) -> String {
    let credential = json!({
        "kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1",
        "status": { "token": token, "expirationTimestamp": expires },
    });
    format!("echo '{credential}'")
}

async fn until_served(runner: &mut Runner) -> Result<()> {
    let host = "web.shop.svc.cluster.local";
    let served =
        |state: &State<pilot_registry::Snapshot>| state.published.as_ref()?.value.get(host).map(drop);
    runner.until(host, served).await
}

fn assert_hidden(error: &RegistryError) {
    for secret in [SECRET, TOKEN] {
        assert!(!format!("{error:?} {}", error.chain()).contains(secret), "{}", error.chain());
    }
}

/// What such credentials end in.
async fn refused(script: &str) -> Result<RegistryError> {
    let cluster = Cluster::start().await?;
    cluster.write_kubeconfig(&plugin(&cluster, script)?)?;
    let error = cluster.run(cluster.config()).degraded().await?.error;
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert_hidden(&error);
    Ok(error)
}

#[tokio::test]
async fn a_plugin_says_who_pilot_is() -> Result<()> {
    let cluster = Cluster::start().await?;
    cluster.serve("shop", "web", &["10.0.0.1"]);
    // It is given its arguments and its environment, and asked for nothing that somebody would have to type.
    let checks = format!("test \"$1\" = --client-secret={SECRET} && test \"$KEY\" = {SECRET} || exit 1");
    let alone = "case $KUBERNETES_EXEC_INFO in *'\"interactive\":false'*) ;; *) exit 2 ;; esac";
    let script = format!("{checks}\n{alone}\n{}", prints(TOKEN, None));
    cluster.write_kubeconfig(&plugin(&cluster, &script)?)?;
    until_served(&mut cluster.run(cluster.config())).await
}

#[tokio::test]
async fn what_a_plugin_is_given_and_prints_is_not_told() -> Result<()> {
    let error = refused(&format!("echo {TOKEN}; echo {TOKEN} >&2; exit 3")).await?;
    assert!(error.chain().contains("exit status: 3"), "{}", error.chain());
    for (script, why) in [
        (format!("echo 'status: {{token: [{TOKEN}'"), "cannot be parsed"),
        (prints(TOKEN, Some(TOKEN)), "the time at which the token ends makes no sense"),
    ] {
        let error = refused(&script).await?;
        assert!(error.chain().contains(why), "{}", error.chain());
    }
    Ok(())
}

/// Then it is asked by a request, and the error comes another way.
#[tokio::test]
async fn what_a_plugin_is_given_is_not_told_when_its_token_has_ended() -> Result<()> {
    let expires = prints(TOKEN, Some("2001-01-01T00:00:00Z"));
    let script = format!("if [ -e \"$HERE/ended\" ]; then echo {TOKEN}; exit 3; fi\n{expires}");
    let cluster = Cluster::start().await?;
    cluster.serve("shop", "web", &["10.0.0.1"]);
    cluster.write_kubeconfig(&plugin(&cluster, &script)?)?;
    let mut runner = cluster.run(cluster.config());
    until_served(&mut runner).await?;
    fs::write(cluster.file("ended"), "")?;
    // The watches are asked for anew, by the client that there is: they have been of use.
    let before = runner.feed().published().unwrap().checked;
    cluster.server.bookmark();
    let checked = |state: &State<_>| (state.published.as_ref()?.checked > before).then_some(());
    runner.until("a check", checked).await?;
    cluster.server.end_watches();
    let error = runner.degraded().await?.error;
    assert_eq!(error.kind(), ErrorKind::Denied, "{}", error.chain());
    assert!(error.chain().contains("exit status: 3"), "{}", error.chain());
    assert_hidden(&error);
    Ok(())
}

/// One attempt, in which time is over at once.
async fn late(registry: &KubernetesRegistry, sink: &SnapshotSink) -> RegistryError {
    tokio::time::pause();
    let (ended, ()) = tokio::join!(registry.run(sink), tokio::time::advance(TOO_LONG));
    tokio::time::resume();
    ended.unwrap_err()
}

#[tokio::test]
async fn a_plugin_that_hangs_is_run_once() -> Result<()> {
    let cluster = Cluster::start().await?;
    cluster.serve("shop", "web", &["10.0.0.1"]);
    // It ends with the test's folder.
    let hangs = "echo hung >> \"$HERE/hung\"; while [ -e \"$HERE/hold\" ]; do sleep 0.05; done";
    let script = format!("if [ -e \"$HERE/hold\" ]; then {hangs}; fi\n{}", prints(TOKEN, None));
    fs::write(cluster.file("hold"), "")?;
    cluster.write_kubeconfig(&plugin(&cluster, &script)?)?;
    let (sink, _feed) = channel();
    let registry = registry(cluster.config())?;
    for _ in 0..4 {
        let error = late(&registry, &sink).await;
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.to_string().contains("no credentials within 30s"), "{error}");
    }
    let hung = || fs::read_to_string(cluster.file("hung")).unwrap_or_default().lines().count();
    let begun = async {
        while hung() == 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(TOO_LONG, begun).await?;
    // As soon as it is over, it is run again.
    fs::remove_file(cluster.file("hold"))?;
    let mut runner = Runner::start(std::sync::Arc::new(registry));
    until_served(&mut runner).await?;
    assert_eq!(hung(), 1);
    Ok(())
}

#[tokio::test]
async fn a_kubeconfig_with_a_proxy_is_refused() -> Result<()> {
    let cluster = Cluster::start().await?;
    let server = format!("http://{}", cluster.relay.address());
    let proxy = format!("http://pilot:{SECRET}@127.0.0.1:9");
    cluster
        .write_kubeconfig_of(&json!({ "server": server, "proxy-url": proxy }), &json!({ "token": TOKEN }))?;
    let error = cluster.run(cluster.config()).degraded().await?.error;
    assert_eq!(error.kind(), ErrorKind::Malformed);
    assert!(error.chain().contains("proxy-url"), "{}", error.chain());
    assert_hidden(&error);
    assert!(cluster.server.requests().is_empty());
    Ok(())
}

/// Those are read by whoever makes a client: in a process of its own, as they are one's own.
#[test]
fn a_proxy_of_the_environment_is_not_used() -> Result<()> {
    for proxy in [format!("http://pilot:{SECRET}@127.0.0.1:9"), "no address".to_owned()] {
        let mut test = Command::new(std::env::current_exe()?);
        test.args(["--exact", "a_plugin_says_who_pilot_is"]).env("HTTPS_PROXY", &proxy);
        let output = test.output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{proxy}: {said}");
    }
    Ok(())
}
