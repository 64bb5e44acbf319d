//! A service whose translation fails.

use std::sync::atomic::{AtomicUsize, Ordering};

use pilot_registry::Service;
use pilot_registry_testkit::{service, snapshot};

use super::*;
use crate::catalog::{Catalog, Source};
use crate::mesh::Mesh;
use crate::resources::{PublishedAt, ResourceType};

fn broken(base: &Base, service: Arc<CatalogService>, old: Option<&Fragment>) -> Fragment {
    assert_ne!(service.host().as_str(), "a", "no such name");
    base.fragment(service, old)
}

fn follow(
    last: Option<(Arc<Mesh>, Base)>,
    services: impl IntoIterator<Item = Arc<Service>>,
    translate: Translate,
) -> (Arc<Mesh>, Base) {
    let source = Source {
        registry: "east".into(),
        priority: 0,
        snapshot: Arc::new(snapshot(services)),
        held: None,
        documents: None,
    };
    let (before, base) = last.unzip();
    let catalog = Catalog::merge(&[source], before.as_ref().map_or(&Catalog::default(), |it| &it.catalog));
    let mesh = Arc::new(Mesh { catalog, ..Mesh::default() });
    let step = Step::new(before, Arc::clone(&mesh), 1, PublishedAt::now());
    let base = Base::next_with(base.as_ref(), Role::Sidecar, &ConfigSource::Ads, &step, translate);
    (mesh, base)
}

fn names(base: &Base, kind: ResourceType) -> Vec<&str> {
    base.layer.sets[kind].iter().map(|resource| &**resource.name()).collect()
}

/// What it claims stays its own, so nobody else takes what it is still reached by.
#[test]
fn a_service_whose_translation_fails_keeps_its_resources_and_its_claims() {
    let tcp = |host: &str, port: u32| service(host).tcp(port).endpoint("10.0.0.1", 1).build();
    let made = follow(None, [tcp("a", 90), tcp("b", 91)], Base::fragment);
    let (mesh, base) = follow(Some(made), [tcp("a", 91), tcp("b", 90), tcp("c", 92)], broken);
    let listeners = ["127.0.0.1_90", "127.0.0.1_92"];
    assert_eq!(names(&base, ResourceType::Listener), listeners);
    assert_eq!(names(&base, ResourceType::Cluster), ["outbound|90||a", "outbound|90||b", "outbound|92||c"]);
    let lost: Vec<_> = base.conflicts().iter().map(ToString::to_string).collect();
    assert!(
        lost.len() == 1 && lost[0].starts_with("b cannot be reached at 127.0.0.1:90: a has it"),
        "{lost:?}"
    );
    assert!(base.failures()[&ServiceId::of_all("a".parse().unwrap())].why.contains("no such name"));

    let (_, base) = follow(Some((mesh, base)), [tcp("a", 93), tcp("b", 90)], Base::fragment);
    assert!(base.failures().is_empty());
    assert_eq!(names(&base, ResourceType::Cluster), ["outbound|90||b", "outbound|93||a"]);
    assert_eq!(names(&base, ResourceType::Listener), ["127.0.0.1_90", "127.0.0.1_93"]);
}

static TRANSLATED: AtomicUsize = AtomicUsize::new(0);

fn half_broken(base: &Base, service: Arc<CatalogService>, old: Option<&Fragment>) -> Fragment {
    TRANSLATED.fetch_add(1, Ordering::Relaxed);
    assert!(!service.host().as_str().starts_with("broken"), "no such name");
    base.fragment(service, old)
}

#[test]
fn many_services_whose_translation_fails_cost_about_as_much_as_translating_them() {
    const OF_EACH: usize = 50;
    let hosts = (0..OF_EACH).flat_map(|n| [format!("as-it-should-be-{n}"), format!("broken-{n}")]);
    let services = hosts.map(|host| service(&host).http(80).endpoint("10.0.0.1", 1).build());
    let (_, base) = follow(None, services, half_broken);
    assert_eq!((names(&base, ResourceType::Cluster).len(), base.failures().len()), (OF_EACH, OF_EACH));
    let translated = TRANSLATED.load(Ordering::Relaxed);
    assert!(translated <= 2 * 2 * OF_EACH, "{translated} translations");
}
