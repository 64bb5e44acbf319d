//! A large cluster, as it is in the field.

use serde_json::{Value, json};

use super::cluster::{Cluster, pod_name};

/// Of each service.
pub(crate) const ENDPOINTS: usize = 20;

/// A service, its slice and its pods, of the size that they have in the field.
pub(crate) fn fill(cluster: &Cluster, number: usize) {
    let name = name(number);
    for address in addresses(number) {
        cluster.server.put("pods", pod(&name, &address, "v1"));
    }
    serve(cluster, number, ENDPOINTS);
}

/// Makes the slice of a service say that it has only so many of its endpoints.
pub(crate) fn serve(cluster: &Cluster, number: usize, endpoints: usize) {
    let addresses = addresses(number);
    let addresses: Vec<&str> = addresses.iter().take(endpoints).map(String::as_str).collect();
    cluster.serve("shop", &name(number), &addresses);
}

/// Gives the first pod of a service another label.
#[allow(dead_code, reason = "each user uses a part")]
pub(crate) fn relabel(cluster: &Cluster, number: usize, version: &str) {
    cluster.server.put("pods", pod(&name(number), &addresses(number)[0], version));
}

fn name(number: usize) -> String {
    format!("service-{number}")
}

fn addresses(number: usize) -> Vec<String> {
    (1..=ENDPOINTS).map(|own| format!("10.{}.{}.{own}", number / 256, number % 256)).collect()
}

fn pod(service: &str, address: &str, version: &str) -> Value {
    let labels = json!({
        "app.kubernetes.io/name": service, "app.kubernetes.io/part-of": "shop",
        "app.kubernetes.io/version": "1.2.3", "pod-template-hash": "7d9c5b6f48", "version": version,
    });
    let metadata = json!({
        "namespace": "shop", "name": pod_name(service, address), "labels": labels,
        "managedFields": "f".repeat(1500), "annotations": { "checksum/config": "0".repeat(64) },
    });
    json!({ "metadata": metadata, "spec": { "serviceAccountName": service, "containers": "c".repeat(2500) } })
}
