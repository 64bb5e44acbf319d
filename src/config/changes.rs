//! What differs between two readings of the configuration.

use std::collections::BTreeMap;

use super::Loaded;
use super::origin::join;

/// The keys that are given differently, in their order. Empty where both mean the same, however it is written.
///
/// Flags and the environment are those of both: only what the file gives is named.
pub fn changed_keys(before: &Loaded, after: &Loaded) -> Vec<String> {
    if before.config == after.config {
        return Vec::new();
    }
    let (was, is) = (given(before), given(after));
    let differs = |key: &&String| was.get(*key) != is.get(*key);
    let decides = |key: &&String| before.origins.is_from_file(key) || after.origins.is_from_file(key);
    let mut keys: Vec<String> =
        was.keys().chain(is.keys()).filter(differs).filter(decides).cloned().collect();
    keys.sort();
    keys.dedup();
    keys
}

/// What the file gives, by key.
fn given(loaded: &Loaded) -> BTreeMap<String, toml::Value> {
    let mut keys = BTreeMap::new();
    // It was parsed before.
    if let Ok(table) = loaded.origins.text().parse::<toml::Table>() {
        flatten("", table, &mut keys);
    }
    keys
}

fn flatten(prefix: &str, table: toml::Table, keys: &mut BTreeMap<String, toml::Value>) {
    for (key, value) in table {
        let path = join(prefix, &key);
        match value {
            toml::Value::Table(inner) if !inner.is_empty() => flatten(&path, inner, keys),
            value => _ = keys.insert(path, value),
        }
    }
}

#[cfg(test)]
#[cfg(feature = "file")]
mod tests {
    use super::super::{Setting, parse};
    use super::*;

    const BEFORE: &str = "[xds]\nlisten = '127.0.0.1:18000'\n[registry.a.file]\npath = 'a.toml'\n";

    fn changed(after: &str, flags: &[Setting]) -> Vec<String> {
        let read = |text| parse("pilot.toml", text, &BTreeMap::new(), flags).unwrap();
        changed_keys(&read(BEFORE), &read(after))
    }

    #[test]
    fn keys_that_are_changed_added_and_gone_are_named() {
        let after = "[xds]\nlisten = '127.0.0.1:19000'\n[admin]\nlisten = '127.0.0.1:19001'\n\
                     [registry.b.file]\npath = 'a.toml'\n";
        let keys = ["admin.listen", "registry.a.file.path", "registry.b.file.path", "xds.listen"];
        assert_eq!(changed(after, &[]), keys);
    }

    #[test]
    fn what_means_the_same_is_no_change() {
        let after = "# new\nregistry.a.file.path = \"a.toml\"\n[xds]\nmax_streams = 20000\n";
        assert_eq!(changed(after, &[]), [""; 0], "a default that is written out, another order");
    }

    #[test]
    fn what_a_flag_decides_is_no_change_of_the_file() {
        let flags = [Setting::new("--set xds.listen", "xds.listen", "127.0.0.1:1800")];
        assert_eq!(changed(&BEFORE.replace("18000", "19000"), &flags), [""; 0]);
        let other = BEFORE.replace("18000", "19000").replace("a.toml", "b.toml");
        assert_eq!(changed(&other, &flags), ["registry.a.file.path"]);
    }
}
