//! The ways in which somebody may see the endpoints of a port: all of them or those of a subset, ordered by place or not.
//!
//! Who sees which follows from the documents that count for him, and is said by his cluster, which names the load assignment.
//! What it looks like from a place is another matter: each place has its own load assignment of that name.

use pilot_registry::{Labels, Port};

use super::lens::{ANYBODY, Ruled, about};
use super::policy::{at_port, nearness, nearness_of as of};
use crate::catalog::CatalogService;
use crate::mesh::Mesh;
use crate::rules::kinds::DestinationRule;
use crate::rules::{Kind, Ruling};
use crate::translate::nearness::Nearness;

/// What all documents together say of a service.
pub(in crate::translate) struct Looks {
    documents: Vec<Ruling>,
    /// What counts for everybody.
    everybodys: Ruled,
    prefers_near: bool,
}

/// One way to see the endpoints of a port.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::translate) struct Look<'a> {
    /// What the name of the load assignment has in the place of the subset.
    pub(in crate::translate) name: String,
    subset: &'a str,
    /// The labels that endpoints have; `None` = any.
    pub(in crate::translate) labels: Option<&'a Labels>,
    pub(in crate::translate) nearness: Nearness<'a>,
}

impl Looks {
    pub(in crate::translate) fn of(mesh: &Mesh, service: &CatalogService) -> Self {
        let prefers_near = mesh.options.prefer_near;
        if mesh.rules.is_empty() {
            return Self { documents: Vec::new(), everybodys: Ruled::default(), prefers_near };
        }
        let everybodys = Ruled::of(mesh, service, ANYBODY);
        Self { documents: about(mesh, Kind::DestinationRule, service), everybodys, prefers_near }
    }

    /// Whether what somebody sees depends on his place.
    pub(in crate::translate) fn ask_for_places(&self) -> bool {
        self.rules().any(DestinationRule::asks_for_places)
    }

    fn rules(&self) -> impl Iterator<Item = &DestinationRule> {
        self.documents.iter().filter_map(Ruling::destination_rule)
    }

    /// All ways to see a port. The first one is how everybody sees it for whom no namespace or label counts.
    pub(in crate::translate) fn at(&self, port: Port) -> Vec<Look<'_>> {
        let mut looks = Vec::new();
        add(&mut looks, "", None, nearness(&self.everybodys, "", port, self.prefers_near));
        for rule in self.rules() {
            let (balancer, _) = at_port(rule.traffic_policy.as_ref(), port);
            add(&mut looks, "", None, of(balancer, self.prefers_near));
        }
        let whole: Vec<Nearness<'_>> = looks.iter().map(|look| look.nearness).collect();
        for subset in self.rules().flat_map(|rule| &rule.subsets) {
            let (balancer, is_of_port) = at_port(subset.traffic_policy.as_ref(), port);
            let own = (is_of_port || balancer.is_some()).then(|| of(balancer, self.prefers_near));
            // Else what counts for the whole counts, which others may have written.
            for nearness in own.map_or_else(|| whole.clone(), |own| vec![own]) {
                add(&mut looks, &subset.name, Some(&subset.labels), nearness);
            }
        }
        looks
    }
}

impl Look<'_> {
    /// What the name of the load assignment has in the place of the subset, for who sees it so.
    pub(in crate::translate) fn find<'b>(
        looks: &'b [Self],
        subset: &'b str,
        labels: Option<&Labels>,
        nearness: Nearness<'_>,
    ) -> &'b str {
        let is_it =
            |look: &&Self| look.subset == subset && look.labels == labels && look.nearness == nearness;
        looks.iter().find(is_it).map_or(subset, |look| look.name.as_str())
    }
}

/// Of one name, the first way has that name.
fn add<'a>(looks: &mut Vec<Look<'a>>, subset: &'a str, labels: Option<&'a Labels>, nearness: Nearness<'a>) {
    let of_name = looks.iter().filter(|look| look.subset == subset);
    if of_name.clone().any(|look| look.labels == labels && look.nearness == nearness) {
        return;
    }
    let name = match of_name.count() {
        0 => subset.to_owned(),
        earlier => format!("{subset}~{earlier}"),
    };
    looks.push(Look { name, subset, labels, nearness });
}
