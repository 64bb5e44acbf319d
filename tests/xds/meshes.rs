//! The same two properties, of real meshes: clients of all kinds and of several scopes follow one mesh after another
//! through layers that are made of those before. What they refuse, what is on its way and what they bring from an earlier
//! stream is drawn. The model is each scope translated from nothing: the same bytes, the same versions.

#[path = "meshes/cases.rs"]
mod cases;
#[path = "meshes/reading.rs"]
mod reading;

use std::collections::BTreeSet;
use std::sync::Arc;

use pilot::mesh::{Mesh, MeshOptions};
use pilot::proxy::{ClientKind, Role, Scope};
use pilot::resources::{PerType, ResourceType, View, dangling};
use pilot::translate::{LayerKey, Layers};
use pilot::xds::{Delta, Shared, Sotw};
use pilot_envoy_api::envoy::config::route::v3 as route;
use pilot_registry::{Locality, ServiceSpec};
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;
use serde_json::Value;
use tokio::time::Instant;

use self::reading::{Taste, all, reading};
use crate::drawn::service;
use crate::drawn_rules::{Store, document};
use crate::model::{Envoy, Having, Reading, Traits, Words};
use crate::properties::{Deed, cases};
use crate::world::{empty, mesh_after, router, source, translate};

/// What a registry has at most of one host: the registry's name and priority, and the host.
const SLOTS: [(&str, u32, &str); 6] =
    [("one", 0, "a"), ("one", 0, "b"), ("one", 0, "c"), ("one", 0, "d"), ("two", 1, "a"), ("two", 1, "b")];
const DOCUMENTS: usize = 4;

/// What a client is: what it understands, in which words it asks, and, at first, its scope.
#[derive(Clone, Copy, Debug)]
enum Kind {
    InParts(usize),
    Delta(usize),
    Sotw(usize),
}

/// Some see the same in different words, some see something else.
const ALL_KINDS: [Kind; 6] =
    [Kind::InParts(0), Kind::InParts(3), Kind::Delta(0), Kind::Delta(1), Kind::Sotw(0), Kind::Sotw(3)];

/// What can happen.
#[derive(Clone, Debug)]
enum Step {
    /// A service comes, changes or goes.
    Service(usize, Option<Box<ServiceSpec>>),
    /// A rule does.
    Document(usize, Option<Value>),
    /// What happened is published.
    Publish,
    Of(usize, Deed),
    /// A client is told so much, and answers.
    Talk(usize, usize),
    /// A client belongs to another scope.
    Move(usize, usize),
}

pub(crate) fn scopes() -> [Scope; 6] {
    let near = Locality { region: "eu".into(), zone: "a".into(), ..Locality::default() };
    let within = |namespace: &str| Some(namespace.to_owned().try_into().unwrap());
    let labels = Arc::new([("app".to_owned(), "web".to_owned())].into());
    [
        router(),
        Scope { namespace: within("shop"), ..router() },
        Scope { locality: near.clone(), ..router() },
        Scope { role: Role::Sidecar, namespace: within("shop"), locality: near, ..router() },
        Scope { namespace: within("default"), ..router() },
        Scope { namespace: within("shop"), labels, ..router() },
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let client = || 0..ALL_KINDS.len();
    let change = (0..SLOTS.len()).prop_flat_map(|at| {
        let spec = prop::option::weighted(0.8, service(SLOTS[at].2.to_owned()).prop_map(Box::new));
        spec.prop_map(move |spec| Step::Service(at, spec))
    });
    let rule = (0..DOCUMENTS, prop::option::weighted(0.8, document()));
    prop_oneof![
        6 => change,
        3 => rule.prop_map(|(at, document)| Step::Document(at, document)),
        7 => Just(Step::Publish),
        40 => (client(), Deed::any()).prop_map(|(client, deed)| Step::Of(client, deed)),
        4 => (client(), 2..20usize).prop_map(|(client, count)| Step::Talk(client, count)),
        1 => (client(), 0..scopes().len()).prop_map(|(client, scope)| Step::Move(client, scope)),
    ]
}

/// A client, whatever words it uses.
trait Client {
    fn meets(&mut self, deed: Deed);
    fn update(&mut self, view: &Arc<View>);
    fn moves(&mut self, scope: &Arc<Scope>, view: &Arc<View>);
    fn quiet(&mut self);
    fn assert_has(&self, all: &PerType<Having>);
}

impl<V: Words> Client for Envoy<V> {
    fn meets(&mut self, deed: Deed) {
        deed.happens_to(self);
    }

    fn update(&mut self, view: &Arc<View>) {
        self.update(view);
    }

    fn moves(&mut self, scope: &Arc<Scope>, view: &Arc<View>) {
        self.moves(scope, view);
    }

    fn quiet(&mut self) {
        self.quiet();
    }

    fn assert_has(&self, all: &PerType<Having>) {
        self.assert_has(all);
    }
}

/// One client of many, and what it should see.
struct Member {
    kind: Kind,
    scope: Arc<Scope>,
    reading: Reading,
    client: Box<dyn Client>,
}

impl Kind {
    fn scope(self, at: usize) -> Arc<Scope> {
        let client =
            if matches!(self, Self::InParts(_)) { ClientKind::EnvoyWithVhds } else { ClientKind::Envoy };
        Arc::new(Scope { client, ..scopes()[at].clone() })
    }

    fn join(self, server: &mut Server, taste: Taste) -> Member {
        let (Self::InParts(at) | Self::Delta(at) | Self::Sotw(at)) = self;
        let scope = self.scope(at);
        server.layers.follow(&scope);
        let view = server.view(&scope);
        let reading = reading(!matches!(self, Self::Sotw(_)), taste);
        let traits = Traits {
            shared: Arc::clone(&server.shared),
            scope: Some(Arc::clone(&scope)),
            reading: Some(Arc::clone(&reading)),
            is_picky: false,
        };
        let client: Box<dyn Client> = match self {
            Self::Sotw(_) => Box::new(Envoy::<Sotw>::with(&view, traits)),
            Self::InParts(_) | Self::Delta(_) => Box::new(Envoy::<Delta>::with(&view, traits)),
        };
        Member { kind: self, scope, reading, client }
    }
}

struct Server {
    shared: Arc<Shared>,
    layers: Layers,
    services: [Option<Box<ServiceSpec>>; SLOTS.len()],
    documents: [Option<Value>; DOCUMENTS],
    store: Store,
    mesh: Mesh,
}

impl Server {
    fn new(options: MeshOptions) -> Self {
        let mut server = Self {
            shared: Arc::default(),
            layers: Layers::default(),
            services: Default::default(),
            documents: Default::default(),
            store: Store::default(),
            mesh: Mesh { options, ..Mesh::default() },
        };
        server.publish();
        server
    }

    fn publish(&mut self) {
        let of = |registry: &str| {
            let own = SLOTS.iter().zip(&self.services).filter(|((of, ..), _)| *of == registry);
            own.filter_map(|(_, spec)| Some((**spec.as_ref()?).clone())).collect::<Vec<_>>()
        };
        let sources = [source("one", 0, of("one")), source("two", 1, of("two"))];
        let documents: Vec<Value> = self.documents.iter().flatten().cloned().collect();
        self.store.take(&documents);
        self.mesh = Mesh { rules: self.store.rules.clone(), ..mesh_after(&self.mesh, &sources) };
        self.layers.advance(Arc::new(self.mesh.clone()), Instant::now());
    }

    /// What a scope sees, which refers to nothing that is not there.
    fn view(&mut self, scope: &Scope) -> Arc<View> {
        if self.layers.view(scope).is_none() {
            self.layers.advance(Arc::new(self.mesh.clone()), Instant::now());
        }
        let view = self.layers.view(scope).unwrap();
        assert_eq!(dangling(&view), vec![], "{scope}");
        assert_all_is_referred_to(&view, scope);
        Arc::new(view)
    }

    /// The client belongs to another scope. What nobody sees any more is let go.
    fn moves(&mut self, members: &mut [Member], (client, to): (usize, usize)) {
        let scope = members[client].kind.scope(to);
        let left = std::mem::replace(&mut members[client].scope, Arc::clone(&scope));
        self.layers.follow(&scope);
        let used: BTreeSet<LayerKey> =
            members.iter().flat_map(|member| LayerKey::of(&member.scope)).collect();
        let unused = LayerKey::of(&left).into_iter().filter(|key| !used.contains(key));
        unused.for_each(|key| self.layers.forget(&key));
        let view = self.view(&scope);
        members[client].client.moves(&scope, &view);
    }
}

/// Every cluster to which routes lead, and which is there, is one that they refer to.
fn assert_all_is_referred_to(view: &View, scope: &Scope) {
    let clusters = view.of(ResourceType::Cluster);
    let ropes = [ResourceType::Route, ResourceType::VirtualHost].map(|kind| view.of(kind)).into_iter();
    let hosts = ropes.flat_map(|all| all.iter().filter_map(|it| it.rope()).collect::<Vec<_>>());
    for host in hosts.flat_map(|rope| rope.virtual_hosts()) {
        let encoded = format!("{:?}", route::VirtualHost::decode(host.bytes().clone()).unwrap());
        for cluster in clusters.iter().map(|cluster| cluster.name()) {
            let is_named = encoded.contains(&format!("{cluster:?}"));
            assert!(
                !is_named || host.clusters().any(|it| it == cluster),
                "{scope}: {} leads to {cluster}",
                host.name()
            );
        }
    }
}

fn versions(view: &View) -> [String; 5] {
    ResourceType::ALL.map(|kind| view.of(kind).version().to_string())
}

fn run(steps: &[Step], kinds: &[Kind], options: MeshOptions, tastes: [Taste; 2]) {
    let mut server = Server::new(options);
    let tasting = kinds.iter().zip(tastes.iter().cycle());
    let mut members: Vec<Member> = tasting.map(|(kind, taste)| kind.join(&mut server, *taste)).collect();
    for step in steps {
        match step {
            Step::Service(at, spec) => server.services[*at].clone_from(spec),
            Step::Document(at, document) => server.documents[*at].clone_from(document),
            Step::Publish => {
                server.publish();
                members.iter_mut().for_each(|member| member.client.update(&server.view(&member.scope)));
            }
            Step::Of(client, deed) => members[*client].client.meets(*deed),
            Step::Talk(client, count) => {
                let talk = [Deed::Request, Deed::Response].into_iter().cycle();
                talk.take(*count).for_each(|deed| members[*client].client.meets(deed));
            }
            Step::Move(client, scope) => server.moves(&mut members, (*client, *scope)),
        }
    }
    server.publish();
    for Member { scope, reading, client, .. } in &mut members {
        let view = server.view(scope);
        client.update(&view);
        client.quiet();
        let fresh = translate(&server.mesh, scope).view;
        assert_eq!(versions(&view), versions(&fresh), "{scope}");
        client.assert_has(&all(&fresh, reading));
    }
}

fn options() -> MeshOptions {
    MeshOptions { prefer_near: true, has_rules: true, ..empty().options }
}

/// What nobody refuses, what all refuse, and what only some do.
fn tastes() -> impl Strategy<Value = [Taste; 2]> {
    let bitter = |seed| Taste { one_in: 8, seed, is_bitter: true };
    prop_oneof![
        2 => Just(Default::default()),
        1 => any::<u64>().prop_map(move |seed| [bitter(seed); 2]),
        3 => any::<[u64; 2]>().prop_map(move |seeds| seeds.map(bitter)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 2000, ..cases(16, 1000) })]

    #[test]
    fn clients_of_any_mesh_have_what_their_scope_is_from_nothing_but_for_what_they_refuse(
        steps in vec(step(), 0..250),
        tastes in tastes(),
    ) {
        run(&steps, &ALL_KINDS, options(), tastes);
    }
}
