//! The two variants, as clients put what they want into words, and what a content says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pilot::resources::ResourceType;
use pilot::xds::{Delta, Sotw, StateRequest};
use pilot_envoy_api::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};

use crate::driver::{Content, Dialect};
use crate::things::References;

/// The references that a content names.
pub(crate) fn references(content: &str) -> References {
    let words = content.split(' ').filter_map(|word| word.split_once(':'));
    let kind = |word: &str| ResourceType::ASKED.into_iter().find(|kind| kind.as_str() == word).unwrap();
    words.map(|(word, name)| (kind(word), Arc::from(name))).collect()
}

pub(super) fn named(content: &str, kind: ResourceType) -> impl Iterator<Item = String> {
    references(content).into_iter().filter(move |(to, _)| *to == kind).map(|(_, name)| name.to_string())
}

/// Where names lead, in a content that says it: `@name@cluster`.
pub(super) fn routed(content: &str) -> impl Iterator<Item = (&str, &str)> {
    content.split(' ').filter_map(|word| word.strip_prefix('@')?.split_once('@'))
}

/// The version of a resource with that content. A version that is not the content itself stands first: `=1f2e eds:a`.
fn version(content: &str) -> &str {
    let apart = content.strip_prefix('=').and_then(|rest| rest.split(' ').next());
    apart.unwrap_or(content)
}

/// A virtual host, as a content tells of it: `%name%hash%domain,domain%`, and how bad it is.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Host {
    hash: String,
    pub(super) domains: BTreeSet<String>,
    pub(super) how: String,
}

/// The virtual hosts of which a content tells, by name.
pub(super) fn hosts(content: &str) -> impl Iterator<Item = (String, Host)> {
    let words = content.split(' ').filter_map(|word| word.strip_prefix('%'));
    words.map(|word| {
        let [name, hash, domains, how] = word.split('%').collect::<Vec<_>>()[..] else { panic!("{word}") };
        let domains = domains.split(',').map(str::to_owned).collect();
        (name.to_owned(), Host { hash: hash.to_owned(), domains, how: how.to_owned() })
    })
}

/// Whether a content is that of a real resource, and so tells of its virtual hosts.
pub(super) fn is_read(content: &str) -> bool {
    content.starts_with('=')
}

/// What a client has of one type: content by name.
pub(crate) type Having = BTreeMap<String, String>;

/// A change of the names of one type, as the variants put it into words.
pub(crate) struct Wish<'a> {
    pub(crate) kind: ResourceType,
    pub(crate) names: &'a BTreeSet<String>,
    pub(crate) added: Vec<String>,
    pub(crate) dropped: Vec<String>,
    pub(crate) last: Option<&'a Content>,
    pub(crate) accepted: &'a str,
    /// What it has from an earlier stream, on the first request of a type.
    pub(crate) has: Option<&'a Having>,
}

pub(crate) trait Words: Dialect {
    /// Whether a response holds all there is of the type.
    fn is_full(kind: ResourceType) -> bool;
    /// Whether the server learns what a client has when it comes back.
    const TELLS: bool;
    fn wish(wish: Wish<'_>) -> Self::Request;
}

impl Words for Sotw {
    const TELLS: bool = false;

    fn is_full(kind: ResourceType) -> bool {
        kind.has_wildcard()
    }

    fn wish(wish: Wish<'_>) -> StateRequest {
        let request = DiscoveryRequest {
            type_url: wish.kind.type_url().to_owned(),
            resource_names: wish.names.iter().cloned().collect(),
            response_nonce: wish.last.map(|last| last.nonce.clone()).unwrap_or_default(),
            version_info: wish.accepted.to_owned(),
            ..Default::default()
        };
        request.into()
    }
}

impl Words for Delta {
    const TELLS: bool = true;

    fn is_full(_kind: ResourceType) -> bool {
        false
    }

    fn wish(wish: Wish<'_>) -> DeltaDiscoveryRequest {
        DeltaDiscoveryRequest {
            type_url: wish.kind.type_url().to_owned(),
            resource_names_subscribe: wish.added,
            resource_names_unsubscribe: wish.dropped,
            initial_resource_versions: wish
                .has
                .into_iter()
                .flatten()
                .map(|(name, content)| (name.clone(), version(content).to_owned()))
                .collect(),
            ..Default::default()
        }
    }
}
