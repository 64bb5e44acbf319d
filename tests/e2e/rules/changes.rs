//! Rules come, change and go under load: no request fails that they do not fail, and no update is refused.

use std::collections::BTreeSet;

use fastrand::Rng;
use pilot_registry_testkit::effort;
use serde_json::json;

use super::shop::{Asked, Shop, cart, virtual_service};
use crate::support::conversation::Conversation;
use crate::support::envoy::Kind;
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
