//! Rules come, change and go under load: no request fails that they do not fail, and no update is refused.

use std::collections::BTreeSet;

use fastrand::Rng;
use pilot_registry_testkit::effort;
use serde_json::json;

use super::shop::{Asked, Shop, cart, virtual_service};
use crate::support::conversation::Conversation;
use crate::support::envoy::Kind;
use crate::support::http::Answer;
use crate::support::load::Load;

/// Where requests for the cart go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Routes {
    /// No document says.
    Unruled,
    /// To the service as it is.
    Whole,
    /// To one subset.
    One(&'static str),
    /// To two of them.
    Two(&'static str, &'static str),
    /// To one for some requests, which nobody sends, and to another service for the rest.
    Elsewhere(&'static str),
}

impl Routes {
    fn draw(rng: &mut Rng) -> Self {
        let mut subset = || SUBSETS[rng.usize(..SUBSETS.len())].0;
        let (first, second) = (subset(), subset());
        match rng.u8(..6) {
            0 => Self::Unruled,
            1 => Self::Whole,
            2 => Self::Elsewhere(first),
            3 | 4 => Self::One(first),
            _ if first == second => Self::One(first),
            _ => Self::Two(first, second),
        }
    }

    fn subsets(self) -> BTreeSet<&'static str> {
        match self {
            Self::Unruled | Self::Whole => BTreeSet::new(),
            Self::One(subset) | Self::Elsewhere(subset) => BTreeSet::from([subset]),
            Self::Two(first, second) => BTreeSet::from([first, second]),
        }
    }

    /// The document, which marks each answer with the round's number.
    fn document(self, round: usize) -> Option<String> {
        let to = |subset| format!("{{destination: {{host: cart.local, subset: {subset}}}, weight: 50}}");
        let marked = format!("headers: {{response: {{set: {{x-round: \"{round}\"}}}}}}\n    route");
        let http = match self {
            Self::Unruled => return None,
            Self::Whole => format!("  - {marked}: [{{destination: {{host: cart.local}}}}]\n"),
            Self::One(subset) => format!("  - {marked}: [{}]\n", to(subset)),
            Self::Two(first, second) => format!("  - {marked}: [{}, {}]\n", to(first), to(second)),
            Self::Elsewhere(subset) => format!(
                "  - match: [{{uri: {{exact: /none}}}}]\n    {marked}: [{}]\n  - {marked}: [{{destination: {{host: \
                 stock.local}}}}]\n",
                to(subset)
            ),
        };
        Some(virtual_service("cart", "cart.local", &http))
    }
}

/// Names of subsets, and the version that each selects. Two that are the same are two clusters.
const SUBSETS: [(&str, &str); 4] = [("v1", "v1"), ("v2", "v2"), ("old", "v1"), ("new", "v2")];

/// How clients connect: each of them makes other clusters.
const POLICIES: [&str; 4] = [
    "",
    "  trafficPolicy: {connectionPool: {tcp: {connectTimeout: 3s}}}\n",
    "  trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}\n",
    "  trafficPolicy: {loadBalancer: {consistentHash: {httpHeaderName: x-user}}}\n",
];

fn rule(subsets: &BTreeSet<&str>, policy: &str) -> String {
    let of =
        |(name, version): &(&str, &str)| format!("  - {{name: {name}, labels: {{version: {version}}}}}\n");
    let wanted: String = SUBSETS.iter().filter(|(name, _)| subsets.contains(name)).map(of).collect();
    let wanted = if wanted.is_empty() { wanted } else { format!("  subsets:\n{wanted}") };
    format!(
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: cart}}\nspec:\n  host: \
         cart.local\n{policy}{wanted}"
    )
}

/// Documents of two kinds are written one after the other, as a careful operator does: subsets before what names them,
/// and routes before the subsets go that they named.
async fn rules_come_change_and_go(kind: Kind) {
    // What stays keeps the folder from being empty, which would be held back.
    let stays = virtual_service("stays", "stays.example.com", "  - directResponse: {status: 200}\n");
    let file = "[rules.local.file]\npath = \"rules\"\n";
    let Some(shop) = Shop::open_as(kind, file, &[("stays.yaml", &stays)], json!({})).await else { return };
    shop.answers(&Asked { host: "stays.example.com", ..cart("/") }, 200, "").await;
    let ruled = Load::start(shop.envoy.http_address(), &["cart.local"], 2, &[]);
    let by_port = Load::start(shop.envoy.port(8080), &["cart.local", "stock.local"], 1, &[]);
    let mut conversation = Conversation::open(shop.envoy.port(9090)).await;

    let mut rng = Rng::with_seed(11);
    let mut had = BTreeSet::new();
    let mut has_rule = false;
    for round in 1..=effort(50, 1000) {
        let routes = Routes::draw(&mut rng);
        let mut keeps = routes.subsets();
        keeps.extend(SUBSETS.iter().map(|(name, _)| *name).filter(|_| rng.u8(..4) == 0));
        let policy = POLICIES[rng.usize(..POLICIES.len())];
        let (before, after): (BTreeSet<_>, _) = (had.union(&keeps).copied().collect(), keeps);
        if before != had || has_rule {
            shop.write("cart-rule.yaml", &rule(&before, policy));
            has_rule = true;
        }
        match routes.document(round) {
            Some(document) => shop.write("cart.yaml", &document),
            None => shop.remove_if_there("cart.yaml"),
        }
        if after.is_empty() && rng.bool() {
            shop.remove_if_there("cart-rule.yaml");
            has_rule = false;
        } else if before != after {
            shop.write("cart-rule.yaml", &rule(&after, policy));
            has_rule = true;
        }
        had = after;
        // Some changes come in a burst, others have all the time that they need.
        if round % 3 == 0 {
            let mark = if routes == Routes::Unruled { String::new() } else { round.to_string() };
            let what = format!("{routes:?} counts");
            shop.until(&what, &cart("/"), |answer| answer.header("x-round") == mark).await;
        } else {
            ruled.more(10).await;
        }
        conversation.say(&format!("round {round}")).await;
    }
    ruled.finish().await.assert_no_failure();
    by_port.finish().await.assert_no_failure();
    shop.envoy.assert_no_rejections().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_come_change_and_go_and_no_request_fails_delta() {
    rules_come_change_and_go(Kind::Delta).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_come_change_and_go_and_no_request_fails_sotw() {
    rules_come_change_and_go(Kind::Sotw).await;
}

/// In one file: subsets of the cart with names of that round, hosts that no service has which lead to them, and in every second
/// round a rule for callers with labels, of which there is none.
fn renamed(round: usize) -> String {
    let name = |version: &str| format!("r{}-{version}", round % 8);
    let to = |version: &str| {
        let route = format!("[{{destination: {{host: cart.local, subset: {}}}}}]", name(version));
        format!("headers: {{response: {{set: {{x-round: \"{round}\"}}}}}}\n    route: {route}\n")
    };
    let subset = |version: &str| format!("  - {{name: {}, labels: {{version: {version}}}}}\n", name(version));
    let subsets = format!("{}{}", subset("v1"), subset("v2"));
    let subsets = format!(
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: cart}}\nspec:\n  host: \
         cart.local\n  subsets:\n{subsets}"
    );
    let mut documents = vec![
        subsets,
        virtual_service("nobody", "nobody.test", &format!("  - {}", to("v1"))),
        virtual_service("wild", "\"*.wild.test\"", &format!("  - {}", to("v2"))),
    ];
    if round % 2 == 1 {
        let labelled = format!("  - match: [{{sourceLabels: {{app: x}}}}]\n    {}", to("v1"));
        documents.push(virtual_service("labelled", "cart.local", &labelled));
    }
    documents.join("---\n")
}

async fn subsets_get_other_names_while_a_rule_for_labels_comes_and_goes(kind: Kind) {
    let file = "[rules.local.file]\npath = \"rules\"\n";
    let rules = [("rules.yaml", renamed(0))];
    let rules = rules.each_ref().map(|(name, text)| (*name, text.as_str()));
    let Some(shop) = Shop::open_as(kind, file, &rules, json!({})).await else { return };
    let hosts = ["nobody.test", "q.wild.test"];
    for (host, version) in hosts.into_iter().zip(["v1", "v2"]) {
        shop.answers(&Asked { host, ..cart("/") }, 200, version).await;
    }
    let loads = hosts.map(|host| Load::start(shop.envoy.http_address(), &[host], 2, &[]));
    let mut rng = Rng::with_seed(11);
    for round in 1..=effort(40, 1000) {
        shop.write("rules.yaml", &renamed(round));
        // Some changes come in a burst, others have all the time that they need.
        if rng.u8(..3) == 0 {
            for host in hosts {
                let is_new = |answer: &Answer| answer.header("x-round") == round.to_string();
                shop.until("the new names count", &Asked { host, ..cart("/") }, is_new).await;
            }
        } else {
            loads[0].more(rng.u64(1..200)).await;
        }
    }
    for (load, version) in loads.into_iter().zip(["v1", "v2"]) {
        let outcome = load.finish().await;
        outcome.assert_no_failure();
        let answers: Vec<_> = outcome.answers.keys().collect();
        assert_eq!(answers, [&(200, version.to_owned())]);
    }
    shop.envoy.assert_no_rejections().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_no_service_has_lead_on_while_subsets_get_other_names_delta() {
    subsets_get_other_names_while_a_rule_for_labels_comes_and_goes(Kind::Delta).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_no_service_has_lead_on_while_subsets_get_other_names_sotw() {
    subsets_get_other_names_while_a_rule_for_labels_comes_and_goes(Kind::Sotw).await;
}
