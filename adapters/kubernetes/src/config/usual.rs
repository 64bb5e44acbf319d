//! The variable of kubectl.

use std::collections::BTreeMap;

use pilot_registry::usual::{Given, UsualValue, UsualVariables, variable};

/// The one that names the kubeconfig file. kubectl merges several files; pilot reads one, so a list is refused as
/// a file that does not exist.
pub const USUAL_VARIABLES: UsualVariables = UsualVariables {
    unless: &["kubeconfig"],
    default_place: None,
    selects: &[],
    find,
    unread: |_| Vec::new(),
};

const KUBECONFIG: &str = "KUBECONFIG";

fn find(environment: &BTreeMap<String, String>) -> Vec<UsualValue> {
    let file = variable(environment, KUBECONFIG).map(|file| UsualValue {
        variable: KUBECONFIG,
        key: "kubeconfig",
        value: Given::Text(file.to_owned()),
    });
    file.into_iter().collect()
}
