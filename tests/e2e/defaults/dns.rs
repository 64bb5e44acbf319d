//! Services whose endpoints are names.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::{envoys, pilot};
use crate::support::backend::Backend;
use crate::support::bootstrap;
use crate::support::envoy::{Envoy, Kind};
use crate::support::http;
use crate::support::loopback::own_address;
use crate::support::pilot::Pilot;
use crate::support::resolver::{Resolver, Says};
use crate::support::wait::{holds, throughout, until};

/// `mail.local`, which is served at `far.test`.
fn mail(port: u16, more: &str) -> String {
    format!(
        "[[service]]\nhost = \"mail.local\"\nports = [{{ port = 9080, protocol = \"http\" }}]\nresolution = \"dns\"\n\
         {more}endpoints = [{{ address = \"far.test\", port = {port} }}]\n"
    )
}

/// An Envoy that asks that resolver.
async fn start(binary: &Path, pilot: &Pilot, resolver: &Resolver) -> Envoy {
    let at = resolver.address();
    let mut document = bootstrap::envoy(pilot, Kind::Delta, &[]);
    document["typed_dns_resolver_config"] = json!({
        "name": "envoy.network.dns_resolver.cares",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
            "resolvers": [{ "socket_address": { "address": at.ip().to_string(), "port_value": at.port() } }],
            "dns_resolver_options": { "no_default_search_domain": true },
        },
    });
    Envoy::start_from(binary, pilot, &document).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_resolved_as_often_as_its_records_say_and_a_failure_keeps_what_was() {
    for binary in envoys() {
        let (one, port) = (own_address(), 9180);
        let (old, other) = (Backend::http_at("old", one, port).await, own_address());
        let new = Backend::http_at("new", other, port).await;
        let resolver = Resolver::start(Says::Address(one, 60)).await;
        let pilot = pilot(&mail(port, ""), "[mesh.dns]\njitter = \"100ms\"\n").await;
        let envoy = start(&binary, &pilot, &resolver).await;
        envoy.answers("mail.local", "old").await;
        let asked = resolver.asked();
        // Longer than Envoy's own five seconds.
        throughout("nobody asks again", Duration::from_secs(6), async || {
            holds(resolver.asked() == asked, format!("{} more questions", resolver.asked() - asked))
        })
        .await;
        drop((envoy, old));

        // Of records that live shorter, changes are seen.
        let old = Backend::http_at("old", one, port).await;
        resolver.say(Says::Address(one, 1));
        let envoy = start(&binary, &pilot, &resolver).await;
        envoy.answers("mail.local", "old").await;
        resolver.say(Says::Failure);
        let failures = "cluster.outbound|9080||mail.local.update_failure";
        until("resolving fails", async || {
            let failed = envoy.stat(failures).await?;
            holds(failed >= 2, format!("{failed} failures"))
        })
        .await;
        assert_eq!(http::body(envoy.http_address(), "mail.local", "/").await.as_deref(), Ok("old"));
        resolver.say(Says::Address(other, 1));
        envoy.answers("mail.local", "new").await;
        drop((old, new));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_arrive_with_the_name_of_the_endpoint_where_that_is_asked_for() {
    for binary in envoys() {
        let far = Backend::http("far").await;
        let resolver = Resolver::start(Says::Address(Ipv4Addr::LOCALHOST, 60)).await;
        let port = far.socket().port();
        let pilot = Pilot::start(&mail(port, "")).await;
        let envoy = start(&binary, &pilot, &resolver).await;
        for (more, seen) in [("", "mail.local"), ("rewrite_host = true\n", "far.test")] {
            pilot.write_services(&mail(port, more));
            until(&format!("the host is {seen}"), async || {
                let answer = http::get(envoy.http_address(), "mail.local", "/").await?;
                holds(answer.header("x-seen-host") == seen, answer.header("x-seen-host"))
            })
            .await;
        }
    }
}
