//! What documents say of places is what happens to requests: shares, regions that take over, labels.

use std::fs;

use serde_json::json;

use crate::support::backend::Backend;
use crate::support::envoy::{Envoy, Kind};
use crate::support::grpc::{GrpcBackend, GrpcClient};
use crate::support::load::Load;
use crate::support::pilot::Pilot;
use crate::support::services::{Place, service};
use crate::support::tools::{envoy, python};
use crate::support::wait::{holds, until};

const HOST: &str = "shop.local";
/// Where the proxies of these tests run.
const NORTH: [&str; 4] = ["--region", "north", "--zone", "a"];

fn says(policy: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: shop}}\nspec:\n  host: {HOST}\n  \
         trafficPolicy: {policy}\n"
    )
}

/// A pilot with a service at these places, and this document; `mesh`: what stands under `[mesh]`.
async fn pilot(services: &str, document: &str, mesh: &str) -> Pilot {
    let tables = format!(
        "[mesh]\n{mesh}\n[registry.local.file]\npath = \"services.toml\"\n[rules.local.file]\npath = \"rules\"\n"
    );
    let mut pilot = Pilot::prepare_with(&tables);
    pilot.write_services(services);
    fs::create_dir(pilot.folder().join("rules")).unwrap();
    write(&pilot, document);
    pilot.spawn();
    pilot.ready().await;
    pilot
}

fn write(pilot: &Pilot, document: &str) {
    let folder = pilot.folder().join("rules");
    fs::write(folder.join(".new"), document).unwrap();
    fs::rename(folder.join(".new"), folder.join("shop.yaml")).unwrap();
}

fn in_region(backend: &Backend, region: &str) -> Place {
    backend.place().region(region).zone("a")
}

/// How many of the next requests each backend answers, in percent.
async fn shares<const N: usize>(load: &Load, backends: [&Backend; N]) -> [u64; N] {
    let before = backends.map(Backend::served);
    load.more(600).await;
    let mut served = backends.map(Backend::served);
    served.iter_mut().zip(before).for_each(|(now, before)| *now -= before);
    let all: u64 = served.iter().sum();
    served.map(|one| (one * 100 + all / 2) / all)
}

#[tokio::test(flavor = "multi_thread")]
async fn places_get_the_shares_that_a_document_gives_them_and_others_nothing() {
    let Some(binary) = envoy() else { return };
    let [north, south, east] =
        [Backend::http("north").await, Backend::http("south").await, Backend::http("east").await];
    let places = [in_region(&north, "north"), in_region(&south, "south"), in_region(&east, "east")];
    let shared = |north: u32| {
        let to = format!("{{\"north/*\": {north}, south: {}}}", 100 - north);
        says(&format!(
            "{{loadBalancer: {{localityLbSetting: {{distribute: [{{from: \"north/*\", to: {to}}}]}}}}}}"
        ))
    };
    let pilot = pilot(&service(HOST, 8080, "http", &places), &shared(80), "").await;
    for kind in [Kind::Delta, Kind::Sotw] {
        write(&pilot, &shared(80));
        let envoy = Envoy::start_with(&binary, &pilot, kind, &NORTH).await;
        envoy.answers(HOST, "south").await;
        let load = Load::start(envoy.http_address(), &[HOST], 2, &[]);
        for expected in [80, 30, 80] {
            write(&pilot, &shared(expected));
            until(&format!("{expected} percent stay"), async || {
                let [own, _, other] = shares(&load, [&north, &south, &east]).await;
                let is_so = own.abs_diff(u64::from(expected)) <= 7 && other == 0;
                holds(is_so, format!("{own} stay, {other} go where nothing goes"))
            })
            .await;
        }
        load.finish().await.assert_no_failure();
        envoy.assert_no_rejections().await;
        let proxies = pilot.debug("/debug/proxies").await.unwrap();
        let id = proxies["proxies"][0]["id"].as_str().unwrap();
        let explained = pilot.command(&["explain", HOST, "--proxy", id]).output().unwrap();
        let explained = String::from_utf8_lossy(&explained.stdout).into_owned();
        let shares =
            ["place gets 80 %", "place gets 20 %", "place gets"].map(|it| explained.matches(it).count());
        assert_eq!(shares, [1, 1, 2], "{explained}");
    }
    // Who is elsewhere is in no `from`: nothing is said for him.
    let elsewhere = Envoy::start_with(&binary, &pilot, Kind::Delta, &["--region", "west"]).await;
    elsewhere.answers(HOST, "east").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_region_that_a_document_names_takes_over_before_others_and_gives_back() {
    let Some(binary) = envoy() else { return };
    let [south, east] = [Backend::http("south").await, Backend::http("east").await];
    let north = Backend::http("north").await;
    let at = north.socket();
    let places = [in_region(&north, "north"), in_region(&east, "east"), in_region(&south, "south")];
    let document = says(
        "{loadBalancer: {localityLbSetting: {failover: [{from: north, to: south}]}}, outlierDetection: \
         {consecutive5xxErrors: 2, interval: 1s, baseEjectionTime: 1s, maxEjectionPercent: 100}}",
    );
    let pilot = pilot(&service(HOST, 8080, "http", &places), &document, "").await;
    let envoy = Envoy::start_with(&binary, &pilot, Kind::Delta, &NORTH).await;
    envoy.answers(HOST, "north").await;
    let load = Load::start(envoy.http_address(), &[HOST], 2, &[]);
    let served = || [south.served(), east.served()];
    let before = served();
    load.more(100).await;
    assert_eq!(served(), before, "others are asked while the own region is well");
    load.finish().await.assert_no_failure();
    // Its registry does not notice.
    drop(north);
    envoy.answers(HOST, "south").await;
    let load = Load::start(envoy.http_address(), &[HOST], 2, &[]);
    let before = east.served();
    load.more(100).await;
    assert_eq!(east.served(), before, "a region was asked that does not take over");
    load.finish().await.assert_no_failure();
    let _north = Backend::http_again("north", at).await;
    envoy.answers(HOST, "north").await;
    envoy.assert_no_rejections().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_with_the_proxys_labels_go_first_and_a_label_that_comes_is_followed() {
    let Some(binary) = envoy() else { return };
    let [blue, green] = [Backend::http("blue").await, Backend::http("green").await];
    let services = |of_green: &str| {
        let places = [blue.place().label("colour", "blue"), green.place().label("colour", of_green)];
        service(HOST, 8080, "http", &places)
    };
    let document = says(
        "{loadBalancer: {localityLbSetting: {failoverPriority: [colour]}}, outlierDetection: {consecutive5xxErrors: 5}}",
    );
    let pilot = pilot(&services("red"), &document, "").await;
    let saying = json!({ "LABELS": { "colour": "green" } });
    let envoy = Envoy::start_saying(&binary, &pilot, Kind::Delta, saying).await;
    for (of_green, expected) in [("red", None), ("green", Some("green")), ("red", None)] {
        pilot.write_services(&services(of_green));
        let load = Load::start(envoy.http_address(), &[HOST], 2, &[]);
        until(&format!("green is {of_green}"), async || {
            let [of_blue, _] = shares(&load, [&blue, &green]).await;
            holds((of_blue == 0) == expected.is_some(), of_blue)
        })
        .await;
        load.finish().await.assert_no_failure();
    }
    envoy.assert_no_rejections().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_switches_places_off_for_its_host_alone() {
    let Some(binary) = envoy() else { return };
    let [near, far] = [Backend::http("near").await, Backend::http("far").await];
    let places = [in_region(&near, "north"), in_region(&far, "south")];
    let services =
        [service(HOST, 8080, "http", &places), service("other.local", 8080, "http", &places)].concat();
    let off = says("{loadBalancer: {localityLbSetting: {enabled: false}}}");
    let pilot = pilot(&services, &off, "locality = \"prefer\"").await;
    let envoy = Envoy::start_with(&binary, &pilot, Kind::Delta, &NORTH).await;
    envoy.answers(HOST, "far").await;
    let load = Load::start(envoy.http_address(), &["other.local"], 2, &[]);
    let before = far.served();
    load.more(100).await;
    assert_eq!(far.served(), before, "the other host has lost its places");
    load.finish().await.assert_no_failure();
    envoy.assert_no_rejections().await;
}

/// gRPC clients choose the place before the endpoint, by a policy around the one that a document asks for.
#[tokio::test(flavor = "multi_thread")]
async fn a_grpc_client_gives_places_their_shares() {
    let Some(python) = python() else { return };
    let [north, south, east] = ["north", "south", "east"].map(|name| GrpcBackend::start(&python, name));
    let in_region = |backend: &GrpcBackend, region: &str| backend.place().region(region).zone("a");
    let places = [in_region(&north, "north"), in_region(&south, "south"), in_region(&east, "east")];
    let document = says(
        "{loadBalancer: {localityLbSetting: {distribute: [{from: north, to: {north: 75, south: 25}}]}}}",
    );
    let pilot = pilot(&service(HOST, 50051, "grpc", &places), &document, "").await;
    let mut client = GrpcClient::start_with(&python, &pilot, "xds:///shop.local:50051", &NORTH);
    until("the far place answers", async || {
        let answer = client.call()?;
        holds(answer == "south", answer)
    })
    .await;
    let answers: Vec<String> = (0..400).map(|_| client.call().unwrap()).collect();
    let of = |name: &str| answers.iter().filter(|answer| *answer == name).count();
    assert!(
        (270..=330).contains(&of("north")) && of("east") == 0,
        "{} {} {}",
        of("north"),
        of("south"),
        of("east")
    );
}
