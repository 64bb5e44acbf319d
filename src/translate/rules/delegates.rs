//! Rules of other documents take the place of rules that delegate to them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use crate::rules::delegated_routes;
use crate::rules::kinds::{Delegate, HttpMatch, HttpRoute, StringMatch, ValueMatch, VirtualService};

/// A rule that delegates, or a part of one, that does not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// `http[rule]` delegates to a document that is not there.
    Missing {
        /// The rule of the document that delegates.
        rule: usize,
    },
    /// `http[delegated]` of the other document matches nothing that `http[rule]` matches.
    Contradicts {
        /// The rule of the document that delegates.
        rule: usize,
        /// The rule of the other document.
        delegated: usize,
    },
    /// With what `http[rule]` delegates to, the document would become too many routes.
    TooMany {
        /// The rule of the document that delegates.
        rule: usize,
        /// How many routes it would become, at each host.
        routes: usize,
        /// How many are left for it.
        left: usize,
    },
}

/// How many rules that contradict each other are told.
const CONTRADICTIONS_MAX: usize = 100;

/// A document to which a rule delegates, and the rule.
struct Leaf<'a> {
    at: usize,
    name: &'a str,
    rule: &'a HttpRoute,
    namespace: &'a str,
    document: &'a VirtualService,
}

/// Where a rule stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RulePlace {
    /// The rule of the document.
    pub rule: usize,
    /// The document to which that delegates, and the rule of it.
    pub delegated: Option<(String, usize)>,
}

impl fmt::Display for RulePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http[{}]", self.rule)?;
        match &self.delegated {
            Some((document, rule)) => write!(f, " > {document} http[{rule}]"),
            None => Ok(()),
        }
    }
}

/// The rules of a document, with those of the documents to which it delegates in their places; and where each stands.
/// `find`: a document with its namespace. `meant`: a rule of a document of that namespace, as this document would write it.
pub fn expanded<'a>(
    root: &'a VirtualService,
    find: impl Fn(&Delegate) -> Option<(&'a str, &'a VirtualService)>,
    meant: impl Fn(&str, &'a HttpRoute) -> Cow<'a, HttpRoute>,
) -> Vec<(RulePlace, HttpRoute)> {
    let mut left = root.routes_max().saturating_sub(root.own_routes());
    let mut rules = Vec::new();
    for (i, rule) in root.http.iter().enumerate() {
        if rule.delegate.is_none() {
            rules.push((RulePlace { rule: i, delegated: None }, rule.clone()));
            continue;
        }
        let Ok(leaf) = leaf(i, rule, &find, &mut left) else { continue };
        for (j, delegated) in leaf.document.http.iter().enumerate() {
            let place = || RulePlace { rule: i, delegated: Some((leaf.name.to_owned(), j)) };
            rules.extend(merged(rule, &meant(leaf.namespace, delegated)).map(|merged| (place(), merged)));
        }
    }
    rules
}

/// What of the documents to which one delegates does not count.
pub fn misfits<'a>(
    root: &'a VirtualService,
    find: impl Fn(&Delegate) -> Option<(&'a str, &'a VirtualService)>,
) -> Vec<Misfit> {
    let mut left = root.routes_max().saturating_sub(root.own_routes());
    let delegating = root.http.iter().enumerate().filter(|(_, rule)| rule.delegate.is_some());
    let (mut misfits, mut leaves) = (Vec::new(), Vec::new());
    for (i, rule) in delegating {
        match leaf(i, rule, &find, &mut left) {
            Ok(leaf) => leaves.push(leaf),
            Err(misfit) => misfits.push(misfit),
        }
    }
    let contradicting = leaves.into_iter().flat_map(|leaf| {
        let rules = leaf.document.http.iter().enumerate().filter(move |(_, other)| !fits(leaf.rule, other));
        rules.map(move |(delegated, _)| Misfit::Contradicts { rule: leaf.at, delegated })
    });
    misfits.extend(contradicting.take(CONTRADICTIONS_MAX));
    misfits
}

/// The document to which a rule delegates. `left`: how many routes may still come of such documents.
fn leaf<'a>(
    at: usize,
    rule: &'a HttpRoute,
    find: impl Fn(&Delegate) -> Option<(&'a str, &'a VirtualService)>,
    left: &mut usize,
) -> Result<Leaf<'a>, Misfit> {
    let named = rule.delegate.as_ref().ok_or(Misfit::Missing { rule: at })?;
    let (namespace, document) = find(named).ok_or(Misfit::Missing { rule: at })?;
    let routes = delegated_routes(rule, document);
    let too_many = Misfit::TooMany { rule: at, routes, left: *left };
    *left = left.checked_sub(routes).ok_or(too_many)?;
    Ok(Leaf { at, name: &named.name, rule, namespace, document })
}

/// Whether some request may fulfil a rule of both documents.
fn fits(root: &HttpRoute, leaf: &HttpRoute) -> bool {
    let any = |root: &HttpMatch| leaf.matches.iter().any(|leaf| both(root, leaf).is_some());
    root.matches.is_empty() || leaf.matches.is_empty() || root.matches.iter().any(any)
}

/// A rule of the other document, within what the root's rule matches. What it does not say is the root's. `None` = no
/// request fulfils both.
fn merged(root: &HttpRoute, leaf: &HttpRoute) -> Option<HttpRoute> {
    let matches = match (root.matches.as_slice(), leaf.matches.as_slice()) {
        ([], leaf) => leaf.to_vec(),
        (root, []) => root.to_vec(),
        (root, leaf) => {
            let pairs = leaf.iter().flat_map(|leaf| root.iter().map(move |root| (root, leaf)));
            let both: Vec<_> = pairs.filter_map(|(root, leaf)| both(root, leaf)).collect();
            if both.is_empty() {
                return None;
            }
            both
        }
    };
    let name = [&root.name, &leaf.name].into_iter().flatten().cloned().collect::<Vec<_>>().join("-");
    let has_mirror = leaf.mirror.is_some() || !leaf.mirrors.is_empty();
    let mirrored = if has_mirror { leaf } else { root };
    Some(HttpRoute {
        name: Some(name).filter(|name| !name.is_empty()),
        matches,
        // Never the root's.
        route: leaf.route.clone(),
        redirect: leaf.redirect.clone(),
        direct_response: leaf.direct_response.clone(),
        delegate: None,
        rewrite: leaf.rewrite.clone().or_else(|| root.rewrite.clone()),
        timeout: leaf.timeout.or(root.timeout),
        retries: leaf.retries.clone().or_else(|| root.retries.clone()),
        fault: leaf.fault.clone().or_else(|| root.fault.clone()),
        mirror: mirrored.mirror.clone(),
        mirrors: mirrored.mirrors.clone(),
        mirror_percentage: mirrored.mirror_percentage,
        mirror_percent: mirrored.mirror_percent,
        cors_policy: leaf.cors_policy.clone().or_else(|| root.cors_policy.clone()),
        headers: leaf.headers.clone().or_else(|| root.headers.clone()),
    })
}

/// The condition that is fulfilled when both are; `None` = it never is, as far as can be told.
fn both(root: &HttpMatch, leaf: &HttpMatch) -> Option<HttpMatch> {
    if root.ignore_uri_case != leaf.ignore_uri_case && root.uri.is_some() && leaf.uri.is_some() {
        return None;
    }
    let is_within = |gateway: &String| root.gateways.is_empty() || root.gateways.contains(gateway);
    if !leaf.gateways.iter().all(is_within) {
        return None;
    }
    let gateways = if leaf.gateways.is_empty() { &root.gateways } else { &leaf.gateways };
    Some(HttpMatch {
        name: leaf.name.clone().or_else(|| root.name.clone()),
        uri: narrower(root.uri.as_ref(), leaf.uri.as_ref())?,
        scheme: narrower(root.scheme.as_ref(), leaf.scheme.as_ref())?,
        method: narrower(root.method.as_ref(), leaf.method.as_ref())?,
        authority: narrower(root.authority.as_ref(), leaf.authority.as_ref())?,
        headers: all_of(&root.headers, &leaf.headers)?,
        port: same(root.port, leaf.port)?,
        source_labels: labels(&root.source_labels, &leaf.source_labels)?,
        gateways: gateways.clone(),
        query_params: all_of(&root.query_params, &leaf.query_params)?,
        ignore_uri_case: root.ignore_uri_case || leaf.ignore_uri_case,
        without_headers: all_of(&root.without_headers, &leaf.without_headers)?,
        source_namespace: same(root.source_namespace.clone(), leaf.source_namespace.clone())?,
        stat_prefix: leaf.stat_prefix.clone().or_else(|| root.stat_prefix.clone()),
    })
}

/// The one of two that says something; `None` = they differ.
fn same<T: PartialEq>(root: Option<T>, leaf: Option<T>) -> Option<Option<T>> {
    match (root, leaf) {
        (Some(root), Some(leaf)) if root != leaf => None,
        (root, leaf) => Some(leaf.or(root)),
    }
}

/// The leaf's pattern, if it is within the root's.
fn narrower(root: Option<&StringMatch>, leaf: Option<&StringMatch>) -> Option<Option<StringMatch>> {
    let (Some(root), Some(leaf)) = (root, leaf) else { return Some(leaf.or(root).cloned()) };
    let is_within = match (&root.exact, &root.prefix, &leaf.exact, &leaf.prefix) {
        (Some(root), _, Some(leaf), _) => root == leaf,
        (_, Some(root), Some(leaf), _) | (_, Some(root), _, Some(leaf)) => leaf.starts_with(root.as_str()),
        // Of regular expressions nobody can tell but that two are the same.
        _ => root == leaf,
    };
    is_within.then(|| Some(leaf.clone()))
}

/// Conditions on values by name: what both have has to be narrower in the leaf.
fn all_of(
    root: &BTreeMap<String, ValueMatch>,
    leaf: &BTreeMap<String, ValueMatch>,
) -> Option<BTreeMap<String, ValueMatch>> {
    let mut all = root.clone();
    for (name, leaf) in leaf {
        let fits = root.get(name).is_none_or(|root| is_narrower(root, leaf));
        if !fits {
            return None;
        }
        all.insert(name.clone(), leaf.clone());
    }
    Some(all)
}

fn is_narrower(root: &ValueMatch, leaf: &ValueMatch) -> bool {
    let is_any = |value: &ValueMatch| {
        value.exact.is_none()
            && value.prefix.is_none()
            && value.regex.as_ref().is_none_or(|regex| regex.0 == "*")
    };
    if is_any(root) {
        return true;
    }
    match (&root.exact, &root.prefix, &leaf.exact, &leaf.prefix) {
        (Some(root), _, Some(leaf), _) => root == leaf,
        (_, Some(root), Some(leaf), _) | (_, Some(root), _, Some(leaf)) => leaf.starts_with(root.as_str()),
        _ => root == leaf,
    }
}

/// All labels of both; `None` = they ask for different values of one.
fn labels(
    root: &BTreeMap<String, String>,
    leaf: &BTreeMap<String, String>,
) -> Option<BTreeMap<String, String>> {
    let differs = leaf.iter().any(|(key, value)| root.get(key).is_some_and(|root| root != value));
    (!differs).then(|| root.iter().chain(leaf).map(|(key, value)| (key.clone(), value.clone())).collect())
}
