//! Which instances an answer has, to see whether one is missing in the next.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde::Deserialize;

/// The instances of one answer, as hashes of node and id: an answer may have thousands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Members(Vec<u64>);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    node: Node,
    service: Service,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Node {
    node: String,
}

#[derive(Deserialize)]
struct Service {
    #[serde(rename = "ID", default)]
    id: String,
}

impl Members {
    /// Reads the answer of `/v1/health/service/NAME`. `None` where some entry makes no sense.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let entries: Vec<Entry> = serde_json::from_slice(body).ok()?;
        let hash = |entry: &Entry| {
            let mut hasher = DefaultHasher::new();
            (&entry.node.node, &entry.service.id).hash(&mut hasher);
            hasher.finish()
        };
        let mut members: Vec<u64> = entries.iter().map(hash).collect();
        members.sort_unstable();
        Some(Self(members))
    }

    /// Whether all of those are here too.
    pub(super) fn contains(&self, others: &Self) -> bool {
        others.0.iter().all(|other| self.0.binary_search(other).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(all: &[(&str, &str)]) -> Members {
        let entry = |(node, id): &(&str, &str)| serde_json::json!({ "Node": { "Node": node }, "Service": { "ID": id, "Port": 80 }, "Checks": [] });
        let body: serde_json::Value = all.iter().map(entry).collect();
        Members::read(body.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn an_instance_is_missing_where_its_node_or_id_is() {
        let both = members(&[("n1", "web-1"), ("n2", "web-1")]);
        assert!(both.contains(&members(&[("n2", "web-1"), ("n1", "web-1")])));
        assert!(both.contains(&members(&[("n2", "web-1")])));
        assert!(!both.contains(&members(&[("n2", "web-2")])));
        assert!(!members(&[("n2", "web-1")]).contains(&both));
        assert_eq!(Members::read(b"{}"), None);
        assert_eq!(Members::read(br#"[{"Node":{}}]"#), None);
    }
}
