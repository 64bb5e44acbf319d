//! The variables of etcdctl.

use std::collections::BTreeMap;

use pilot_registry::usual::{Given, UsualValue, UsualVariables, variable};

/// The one that says where etcd is.
pub const USUAL_VARIABLES: UsualVariables = UsualVariables {
    unless: &["endpoints", "user", "password", "password_file", "password_env"],
    default_place: None,
    selects: &[],
    find,
};

const ENDPOINTS: &str = "ETCDCTL_ENDPOINTS";

fn find(environment: &BTreeMap<String, String>) -> Vec<UsualValue> {
    let Some(text) = variable(environment, ENDPOINTS) else { return Vec::new() };
    let endpoints = text.split(',').map(str::trim).filter(|endpoint| !endpoint.is_empty()).map(url);
    vec![UsualValue { variable: ENDPOINTS, key: "endpoints", value: Given::List(endpoints.collect()) }]
}

/// etcdctl takes an endpoint without a scheme.
fn url(endpoint: &str) -> String {
    if endpoint.contains("://") { endpoint.to_owned() } else { format!("http://{endpoint}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_as_etcdctl_reads_them() {
        let text = "127.0.0.1:2379, https://b:2379,".to_owned();
        let found = find(&BTreeMap::from([(ENDPOINTS.to_owned(), text)]));
        let endpoints = ["http://127.0.0.1:2379", "https://b:2379"].map(str::to_owned).to_vec();
        let value = Given::List(endpoints);
        assert_eq!(found, [UsualValue { variable: ENDPOINTS, key: "endpoints", value }]);
    }
}
