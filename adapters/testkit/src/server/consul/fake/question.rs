//! What is asked of a fake agent.

use std::collections::BTreeMap;
use std::time::Duration;

use http::{StatusCode, Uri};

use super::mood::Profile;

/// How long an agent waits where nothing is said, and at most.
const WAIT: Duration = Duration::from_secs(300);
const WAIT_MAX: Duration = Duration::from_secs(600);

/// A question about the catalog.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) about: About,
    pub(super) token: Option<String>,
    /// What is known already; 0 asks for an answer at once.
    pub(super) index: u64,
    pub(super) wait: Duration,
    pub(super) consistency: Consistency,
    pub(super) cached: bool,
    /// Whether the entries are to be sorted by their distance, which no view can.
    pub(super) near: bool,
    /// Tags that an instance must have, in lower case and sorted.
    pub(super) tags: Vec<String>,
    /// Whether only instances count whose checks all pass.
    pub(super) passing: bool,
    /// Whether another datacenter is asked about. There is none.
    pub(super) elsewhere: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum About {
    Names,
    Service(String),
    Checks(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Consistency {
    Leader,
    Stale,
    Consistent,
}

impl Consistency {
    /// As the header says it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Stale => "stale",
            Self::Consistent => "consistent",
        }
    }
}

/// An answer that is an error.
#[derive(Debug)]
pub(super) struct Refusal(pub(super) StatusCode, pub(super) &'static str);

impl Question {
    /// Reads path and parameters.
    pub(super) fn read(uri: &Uri, token: Option<&str>, profile: Profile) -> Result<Self, Refusal> {
        let about = About::read(uri.path()).ok_or(Refusal(StatusCode::NOT_FOUND, ""))?;
        let bad = |why| Refusal(StatusCode::BAD_REQUEST, why);
        let mut question = Self {
            about,
            token: token.map(str::to_owned),
            index: 0,
            wait: WAIT,
            consistency: Consistency::Leader,
            cached: false,
            near: false,
            tags: Vec::new(),
            passing: false,
            elsewhere: false,
        };
        let mut given = BTreeMap::new();
        for pair in uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            given.insert(key, value);
            match key {
                "index" if value.is_empty() => {}
                "index" => question.index = value.parse().map_err(|_| bad("Invalid index"))?,
                "wait" if value.is_empty() => {}
                "wait" => question.wait = duration(value).ok_or(bad("Invalid wait time"))?.min(WAIT_MAX),
                "stale" => question.consistency = Consistency::Stale,
                "consistent" => question.consistency = Consistency::Consistent,
                "cached" => question.cached = true,
                "near" => question.near = true,
                "passing" => question.passing = true,
                "tag" => question.tags.push(value.to_ascii_lowercase()),
                "dc" => question.elsewhere = value != "dc1",
                // Old agents know nothing of partitions, and pass over what they do not know.
                "partition" if !profile.is_of_today() => {}
                "token" => {}
                "ns" => {
                    let why = "Invalid query parameter: \"ns\" - Namespaces are a Consul Enterprise feature";
                    return Err(bad(why));
                }
                "partition" => {
                    let why = "Invalid query parameter: \"partition\" - Partitions are a Consul Enterprise \
                               feature";
                    return Err(bad(why));
                }
                // What it would have to know to answer as an agent does, it does not answer at all.
                _ => {
                    return Err(Refusal(StatusCode::NOT_IMPLEMENTED, "the fake agent has no such parameter"));
                }
            }
        }
        question.tags.sort();
        let both = |one: &str, other: &str| given.contains_key(one) && given.contains_key(other);
        if both("stale", "consistent") {
            return Err(bad("Cannot specify ?stale with ?consistent, conflicting semantics."));
        }
        if both("cached", "consistent") {
            return Err(bad("Cannot specify ?cached with ?consistent, conflicting semantics."));
        }
        Ok(question)
    }

    /// Whether the agent answers from a view of its own.
    pub(super) fn is_of_a_view(&self, profile: Profile) -> bool {
        let service = matches!(self.about, About::Service(_));
        profile == Profile::Streaming && service && (self.index > 0 || self.cached) && !self.near
    }

    /// What makes a view another one.
    pub(super) fn view(&self, name: &str) -> String {
        format!("{:?} {} {:?}", self.token, name.to_ascii_lowercase(), self.tags)
    }
}

impl About {
    fn read(path: &str) -> Option<Self> {
        match path {
            "/v1/catalog/services" => Some(Self::Names),
            "/v1/health/state/critical" => Some(Self::Checks("critical")),
            "/v1/health/state/warning" => Some(Self::Checks("warning")),
            _ => path.strip_prefix("/v1/health/service/").map(|name| Self::Service(name.to_owned())),
        }
    }
}

/// `100ms`, `30s`, `5m`.
fn duration(text: &str) -> Option<Duration> {
    let units = [("ms", 1), ("s", 1000), ("m", 60_000)];
    let (number, millis) =
        units.into_iter().find_map(|(unit, millis)| Some((text.strip_suffix(unit)?, millis)))?;
    Some(Duration::from_millis(number.parse::<u64>().ok()?.checked_mul(millis)?))
}
