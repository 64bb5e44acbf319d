use imbl::OrdSet;
use pilot_envoy_api::envoy::config::cluster::v3::Cluster;
use proptest::collection::btree_map;
use proptest::option;
use proptest::prelude::*;

use super::super::Origin;
use super::*;

const KIND: ResourceType = ResourceType::Cluster;

fn cluster(name: &str, alt: &str) -> Arc<Resource> {
    let message = Cluster { name: name.into(), alt_stat_name: alt.into(), ..Default::default() };
    Arc::new(Resource::new(name.into(), &message, Vec::new(), Origin::Shared))
}

/// What a layer says of names: a content, or that there is nothing.
type Said = BTreeMap<String, Option<String>>;

fn layer(said: &Said) -> Arc<Layer> {
    let mut layer = Layer::empty(1, Instant::now());
    for (name, content) in said {
        match content {
            Some(content) => layer.sets[KIND].insert(cluster(name, content)),
            None => _ = layer.hidden[KIND].insert(name.as_str().into()),
        }
    }
    Arc::new(layer)
}

/// The same layer, made from another one: they share what they have in common.
fn grown(from: &Layer, said: &Said) -> Arc<Layer> {
    let mut next = from.clone();
    next.hidden[KIND] = OrdSet::new();
    let gone: Vec<_> = next.sets[KIND].iter().map(|it| Arc::clone(it.name())).collect();
    for name in gone.iter().filter(|name| !matches!(said.get(&***name), Some(Some(_)))) {
        next.sets[KIND].remove(name);
    }
    for (name, content) in said {
        match content {
            Some(content) => next.sets[KIND].insert(cluster(name, content)),
            None => _ = next.hidden[KIND].insert(name.as_str().into()),
        }
    }
    Arc::new(next)
}

fn view(layers: &[Arc<Layer>]) -> Arc<View> {
    let (base, above) = layers.split_last().unwrap();
    Arc::new(View::new(above.iter().cloned(), Arc::clone(base)))
}

/// What a view of such layers has, the topmost first.
fn model(said: &[Said]) -> BTreeMap<String, String> {
    let mut has = BTreeMap::new();
    for (name, content) in said.iter().rev().flatten() {
        match content {
            Some(content) => _ = has.insert(name.clone(), content.clone()),
            None => _ = has.remove(name),
        }
    }
    has
}

fn content(view: &View) -> BTreeMap<String, String> {
    let read = |resource: &Arc<Resource>| (resource.name().to_string(), resource.version().to_owned());
    view.of(KIND).iter().map(read).collect()
}

fn some(most: usize) -> impl Strategy<Value = Said> {
    let name = "[a-f]";
    btree_map(name, option::weighted(0.7, "[1-3]"), 0..most)
}

fn layers() -> impl Strategy<Value = Vec<Said>> {
    prop::collection::vec(some(6), 1..4)
}

fn base_hides_nothing(mut said: Vec<Said>) -> Vec<Said> {
    if let Some(base) = said.last_mut() {
        base.retain(|_, content| content.is_some());
    }
    said
}

proptest! {
    #[test]
    fn the_topmost_layer_that_says_something_is_right(said in layers()) {
        let said = base_hides_nothing(said);
        let view = view(&said.iter().map(layer).collect::<Vec<_>>());
        let expected = model(&said);
        let flat = Arc::new(View::of_sets(PerType::of(|kind| match kind {
            KIND => TypeSet::new(expected.iter().map(|(name, content)| cluster(name, content))),
            _ => TypeSet::default(),
        })));
        prop_assert_eq!(content(&view), content(&flat));
        prop_assert_eq!(view.of(KIND).len(), expected.len());
        prop_assert_eq!(view.of(KIND).version(), flat.of(KIND).version());
        prop_assert!(view.changes_since(&flat).is_empty());
        for name in ["a", "b", "c", "d", "e", "f"] {
            let found = view.of(KIND).get(name).map(|it| it.name().to_string());
            prop_assert_eq!(found, expected.contains_key(name).then(|| name.to_owned()));
        }
    }

    #[test]
    fn changes_lead_from_one_view_to_the_other(before in layers(), now in layers(), shares: bool) {
        let (before, now) = (base_hides_nothing(before), base_hides_nothing(now));
        let old: Vec<_> = before.iter().map(layer).collect();
        let new: Vec<_> = match shares && before.len() == now.len() {
            true => old.iter().zip(&now).map(|(old, said)| grown(old, said)).collect(),
            false => now.iter().map(layer).collect(),
        };
        let (old, new) = (view(&old), view(&new));
        let mut patched = content(&old);
        for change in new.changes_since(&old).of(KIND) {
            prop_assert_eq!(change.before.as_ref(), old.of(KIND).get(&change.name));
            prop_assert_ne!(&change.before, &change.resource);
            match &change.resource {
                Some(resource) => {
                    _ = patched.insert(change.name.to_string(), resource.version().to_owned());
                }
                None => _ = patched.remove(&*change.name),
            }
        }
        prop_assert_eq!(patched, content(&new));
    }
}

#[test]
fn what_differs_is_found_once_for_all_streams_of_a_view() {
    let said = |content: &str| Said::from([("a".to_owned(), Some(content.to_owned()))]);
    let (old, new) = (view(&[layer(&said("1"))]), view(&[layer(&said("2"))]));
    let (one, other) = (new.changes_since(&old), new.changes_since(&old));
    assert!(Arc::ptr_eq(&one, &other));
    let elsewhere = view(&[layer(&Said::from([("b".to_owned(), Some("1".to_owned()))]))]);
    let names: Vec<_> =
        new.changes_since(&elsewhere).of(KIND).iter().map(|change| change.name.to_string()).collect();
    assert_eq!(names, ["a", "b"]);
}
