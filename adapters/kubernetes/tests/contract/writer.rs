//! Services written through the API of a real server, as a controller and an operator would.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use anyhow::Result;
use futures_util::{StreamExt, TryStreamExt, stream};
use pilot_registry::{Hostname, Service};
use pilot_registry_testkit::server::kubernetes::Rest;
use serde_json::Value;

use crate::objects::{self, Object, Place, place};

/// How many services are written at once.
const WRITERS: usize = 24;

/// What was written.
#[derive(Default)]
pub(crate) struct Writer {
    services: BTreeMap<Hostname, Arc<Service>>,
    /// What the cluster has because of them; nodes stay.
    written: BTreeMap<Place, Value>,
    backwards: bool,
}

impl Writer {
    pub(crate) async fn put(&mut self, api: &Rest, service: &Arc<Service>) -> Result<()> {
        let new = objects::objects(&admitted(service), self.backwards);
        let old = self.services.insert(service.host.clone(), Arc::clone(service));
        let kept: Vec<Place> = new.iter().map(place).collect();
        for object in new {
            self.put_object(api, object).await?;
        }
        match old {
            Some(old) => self.remove(api, &old, &kept).await,
            None => Ok(()),
        }
    }

    /// Services that are not there yet, many at once.
    pub(crate) async fn create_all(&mut self, api: &Rest, services: &[Arc<Service>]) -> Result<()> {
        let written = stream::iter(services.to_vec()).map(|service| async move {
            let objects = objects::objects(&admitted(&service), false);
            for object in &objects {
                put(api, None, object).await?;
            }
            anyhow::Ok(objects)
        });
        let written: Vec<_> = written.buffer_unordered(WRITERS).try_collect().await?;
        self.written.extend(written.into_iter().flatten().map(|object| (place(&object), object.1)));
        self.services.extend(services.iter().map(|service| (service.host.clone(), Arc::clone(service))));
        Ok(())
    }

    pub(crate) async fn delete(&mut self, api: &Rest, host: &Hostname) -> Result<()> {
        let old = self.services.remove(host).expect("only what is there is deleted");
        self.remove(api, &old, &[]).await
    }

    /// Writes everything once more, in the other order.
    pub(crate) async fn rewrite(&mut self, api: &Rest) -> Result<()> {
        self.backwards = !self.backwards;
        for service in self.services.values().rev().cloned().collect::<Vec<_>>() {
            self.put(api, &service).await?;
        }
        Ok(())
    }

    pub(crate) async fn put_object(&mut self, api: &Rest, object: Object) -> Result<()> {
        let place = place(&object);
        put(api, self.written.get(&place), &object).await?;
        self.written.insert(place, object.1);
        Ok(())
    }

    pub(crate) async fn delete_object(&mut self, api: &Rest, place: &Place) -> Result<()> {
        self.written.remove(place);
        api.delete(&path_of(place)).await
    }

    /// Removes what belongs to a service, but for what is to be kept.
    async fn remove(&mut self, api: &Rest, service: &Service, kept: &[Place]) -> Result<()> {
        // The slices of a service that was written in another order have other numbers.
        let service = admitted(service);
        let objects =
            [true, false].into_iter().flat_map(|order| objects::objects(&service, order).into_iter().rev());
        for place in objects.map(|object| place(&object)) {
            if place.0 != "nodes" && !kept.contains(&place) && self.written.contains_key(&place) {
                self.delete_object(api, &place).await?;
            }
        }
        Ok(())
    }
}

/// The service with virtual addresses that the cluster can give it: any of its range, that nobody else has.
/// One of each family, at most.
pub(crate) fn admitted(service: &Service) -> Service {
    let mut spec = service.clone().into_spec();
    let mut hasher = DefaultHasher::new();
    (service.host.as_str(), service.namespace.as_str()).hash(&mut hasher);
    let [.., third, fourth] = hasher.finish().to_be_bytes();
    // Not those of the first two blocks: the server's own is there.
    let (third, fourth) = (third.max(2), fourth.clamp(1, 254));
    let own = |ip: &IpAddr| -> IpAddr {
        match ip {
            IpAddr::V4(_) => Ipv4Addr::new(10, 96, third, fourth).into(),
            IpAddr::V6(_) => {
                Ipv6Addr::new(0xfd00, 0x10, 0x96, 0, 0, 0, 0, u16::from_be_bytes([third, fourth])).into()
            }
        }
    };
    spec.virtual_addresses = spec.virtual_addresses.iter().map(own).collect();
    spec.virtual_addresses.sort();
    spec.virtual_addresses.dedup();
    Service::new(spec).unwrap()
}

fn collection(resource: &str, namespace: &str) -> String {
    match resource {
        "nodes" => "/api/v1/nodes".to_owned(),
        "endpointslices" => format!("/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"),
        other => format!("/api/v1/namespaces/{namespace}/{other}"),
    }
}

fn path_of((resource, namespace, name): &Place) -> String {
    format!("{}/{name}", collection(resource, namespace))
}

/// Creates or replaces an object. What cannot be changed is created anew.
async fn put(api: &Rest, before: Option<&Value>, object: &Object) -> Result<()> {
    let place = place(object);
    match before {
        // Nodes say in their names what they are.
        Some(_) if object.0 == "nodes" => return Ok(()),
        Some(before) if fixed(before) == fixed(&object.1) => {
            return api.put(&path_of(&place), &object.1).await.map(drop);
        }
        Some(_) => api.delete(&path_of(&place)).await?,
        None => {}
    }
    api.post(&collection(place.0, &place.1), &object.1).await.map(drop)
}

/// What of an object cannot be changed.
fn fixed(object: &Value) -> Vec<&Value> {
    let spec = &object["spec"];
    ["serviceAccountName", "type", "clusterIP", "clusterIPs"].iter().map(|key| &spec[key]).collect()
}
