//! What holds in every kind of store.

use std::time::Duration;

use serde_json::json;

use super::bench::Bench;
use crate::support::wait::{holds, throughout, until};

pub(crate) async fn what_is_wrong_is_rejected_alone_and_keeps_its_last_good_version_over_a_restart(
    mut bench: Bench,
) {
    bench.put("a", "a.local").await;
    bench.put("b", "b.local").await;
    bench.serve().await;
    bench.until_in_force(&[("a", "this"), ("b", "this")]).await;
    bench.put_wrong("a").await;
    bench.put("b", "c.local").await;
    bench.put_wrong("new").await;
    bench.until_in_force(&[("a", "last_good"), ("b", "this"), ("new", "nothing")]).await;
    let is_rejected = |document: &serde_json::Value| {
        let reasons = document["reasons"].to_string();
        document["state"] == "rejected"
            && reasons.contains("spec.hosts")
            && reasons.contains("did you mean host")
    };
    bench.until_document("a", is_rejected).await;
    bench.until_saved("a.local").await;
    bench.until_saved("c.local").await;
    bench.pilot.kill();
    bench.serve().await;
    bench.until_in_force(&[("a", "last_good"), ("b", "this"), ("new", "nothing")]).await;
    if bench.has_texts() {
        // What cannot be told apart may be the document that stood there.
        for text in ["kind: [", "just words", "{apiVersion: v1, kind: ConfigMap}", "\u{1b}"] {
            bench.put_text("b", text).await;
            bench.until_in_force(&[("a", "last_good"), ("b", "last_good"), ("new", "nothing")]).await;
        }
        bench.until_saved("a.local").await;
        bench.until_saved("c.local").await;
        bench.pilot.kill();
        bench.serve().await;
        bench.until_in_force(&[("a", "last_good"), ("b", "last_good"), ("new", "nothing")]).await;
    }
    bench.put("a", "a.local").await;
    bench.put("b", "b.local").await;
    bench.delete("new").await;
    bench.until_in_force(&[("a", "this"), ("b", "this")]).await;
}

pub(crate) async fn a_store_that_is_down_at_the_start_is_stood_in_for_until_it_is_back(mut bench: Bench) {
    bench.put("a", "a.local").await;
    bench.put("b", "b.local").await;
    bench.serve().await;
    bench.put_wrong("b").await;
    bench.until_in_force(&[("a", "this"), ("b", "last_good")]).await;
    bench.until_saved("a.local").await;
    bench.until_saved("b.local").await;
    bench.pilot.kill();
    bench.kill();
    bench.serve().await;
    until("the store is in trouble", async || {
        let report = bench.report().await?;
        holds(!report["stores"][0]["troubles"].is_null(), &report)
    })
    .await;
    let said = bench.pilot.process().output();
    assert!(said.contains("what was in force before is in force") && said.contains("documents=2"), "{said}");
    bench.restart().await;
    bench.until_in_force(&[("a", "this"), ("b", "last_good")]).await;
    bench.delete("a").await;
    bench.until_in_force(&[("b", "last_good")]).await;
}

pub(crate) async fn a_store_that_was_empty_and_is_down_at_the_start_holds_nothing_up(mut bench: Bench) {
    bench.serve().await;
    bench.until_saved("\"documents\":[]").await;
    bench.pilot.kill();
    bench.kill();
    bench.serve().await;
    bench.restart().await;
    bench.put("a", "a.local").await;
    bench.until_in_force(&[("a", "this")]).await;
}

pub(crate) async fn a_store_that_was_never_seen_is_waited_for(mut bench: Bench) {
    bench.put("a", "a.local").await;
    bench.kill();
    bench.spawn();
    until("it says for which store it waits", async || {
        let why = bench.waits_for().await?;
        // It has failed by then: that it has not answered yet is no reason.
        holds(why.contains("rules.store") && !why.contains("not answered yet"), &why)
    })
    .await;
    bench.restart().await;
    bench.pilot.ready().await;
    bench.until_in_force(&[("a", "this")]).await;
}

pub(crate) async fn a_store_that_is_killed_keeps_its_documents_and_is_followed_again(mut bench: Bench) {
    bench.put("a", "a.local").await;
    bench.put("b", "b.local").await;
    bench.serve().await;
    bench.until_in_force(&[("a", "this"), ("b", "this")]).await;
    for host in ["c.local", "d.local"] {
        bench.kill();
        until("the store is in trouble", async || {
            let report = bench.report().await?;
            let is_kept = report["documents"].as_array().is_some_and(|all| all.len() == 2);
            assert!(is_kept, "{report}");
            holds(!report["stores"][0]["troubles"].is_null(), &report)
        })
        .await;
        bench.restart().await;
        bench.put(&host[..1], host).await;
        bench.delete(if host == "c.local" { "a" } else { "c" }).await;
        bench.until_in_force(&[("b", "this"), (&host[..1], "this")]).await;
    }
    until("the store is in order", async || {
        let report = bench.report().await?;
        holds(report["stores"][0]["troubles"].is_null(), &report)
    })
    .await;
}

pub(crate) async fn a_store_that_is_suddenly_empty_is_held_and_then_believed(mut bench: Bench) {
    bench.put("a", "a.local").await;
    bench.put("b", "b.local").await;
    bench.serve().await;
    bench.delete("b").await;
    bench.until_in_force(&[("a", "this")]).await;
    bench.delete("a").await;
    is_held(&bench).await;
    bench.until_in_force(&[]).await;
    bench.put("a", "a.local").await;
    bench.until_in_force(&[("a", "this")]).await;
}

/// Waits until the last document is held, and looks for a while whether it stays.
async fn is_held(bench: &Bench) {
    let held = async || {
        let report = bench.report().await?;
        let is_there = report["documents"].as_array().is_some_and(|all| !all.is_empty());
        holds(is_there && report["stores"][0]["held"] == json!(true), &report)
    };
    until("it is held", held).await;
    // A third of the guard's time is 2 s.
    throughout("it is held", Duration::from_millis(1000), held).await;
}

pub(crate) async fn what_a_store_loses_while_no_pilot_runs_is_held_and_then_believed(mut bench: Bench) {
    bench.put("a", "a.local").await;
    bench.serve().await;
    bench.until_in_force(&[("a", "this")]).await;
    bench.until_saved("a.local").await;
    bench.pilot.kill();
    bench.delete("a").await;
    bench.serve().await;
    until("it is held", async || {
        let report = bench.report().await?;
        holds(report["stores"][0]["held"] == json!(true), &report)
    })
    .await;
    until("it is believed", async || {
        let report = bench.report().await?;
        holds(report["stores"][0]["held"] == json!(false), &report)
    })
    .await;
    // What was believed is what is on disk.
    bench.until_saved("\"documents\":[]").await;
    bench.pilot.kill();
    bench.kill();
    bench.serve().await;
    bench.until_in_force(&[]).await;
    assert!(bench.pilot.process().output().contains("documents=0"), "{}", bench.pilot.process().output());
}

pub(crate) async fn a_store_has_documents_of_its_namespaces_only(mut bench: Bench) {
    bench.put("a", "a.local").await;
    bench.put_in("other", "b", json!({ "host": "b.local" })).await;
    bench.serve().await;
    bench.until_in_force(&[("a", "this"), ("b", "nothing")]).await;
    let report = bench.report().await.unwrap();
    let reasons = report["documents"][1]["reasons"].to_string();
    assert!(reasons.contains("namespace other is not one of this store's: expected apps"), "{report}");
}

pub(crate) async fn what_became_of_a_document_is_told_once_and_again_when_it_is_over(mut bench: Bench) {
    bench.put("a", "a.local").await;
    bench.serve().await;
    bench.until_document("a", |document| document["state"] == "dangling").await;
    let dangling = "spec.host: no service is called a.local in namespace apps";
    let told = async |bench: &mut Bench, words: &str| {
        let process = bench.pilot.process();
        until(words, async || {
            let log = process.output();
            let lines: Vec<_> = log.lines().filter(|line| line.contains(dangling)).collect();
            holds(lines.last().is_some_and(|line| line.contains(words)), &log).map(|()| lines.len())
        })
        .await
    };
    assert_eq!(told(&mut bench, "document does not do all that it says").await, 1);
    bench
        .pilot
        .write_services("[[service]]\nhost = \"a.local\"\nports = [{ port = 80, protocol = \"http\" }]\n");
    bench.until_document("a", |document| document["state"] == "accepted").await;
    assert_eq!(told(&mut bench, "this is over").await, 2);
}
