//! Keys with documents of rules, as Consul lists them.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use pilot_registry::{RegistryError, Text, TextSink};
use serde::Deserialize;

/// All keys with their texts.
#[derive(Debug, Default)]
pub(super) struct KeyTexts {
    texts: BTreeMap<Arc<str>, Arc<Text>>,
    /// Keys whose values are no text.
    strays: Vec<String>,
}

/// An entry of `/v1/kv/PREFIX?recurse`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    key: String,
    /// In base64; none where the value is empty.
    value: Option<String>,
    create_index: u64,
}

impl Entry {
    /// What consoles make for a folder: a key that ends with a slash, without a value.
    fn is_folder(&self) -> bool {
        self.key.ends_with('/') && self.value.is_none()
    }

    /// `None` = the value is no text.
    fn text(&self) -> Option<Arc<str>> {
        let bytes = BASE64_STANDARD.decode(self.value.as_deref().unwrap_or_default()).ok()?;
        Some(std::str::from_utf8(&bytes).ok()?.into())
    }
}

/// Consul says nothing at all where there are no keys.
fn entries(body: &[u8]) -> Result<Vec<Entry>, RegistryError> {
    if body.is_empty() {
        return Ok(Vec::new());
    }
    serde_json::from_slice(body)
        .map_err(|error| RegistryError::malformed("/v1/kv: expected a list of keys").caused_by(error))
}

impl KeyTexts {
    /// Takes the list as it is now. Of a value that is no text, the last text stays. `keeps_others`: so do keys that the
    /// list lacks.
    ///
    /// # Errors
    /// The list makes no sense. What was there stays.
    pub(super) fn take(&mut self, body: &[u8], keeps_others: bool) -> Result<(), RegistryError> {
        let entries = entries(body)?;
        let mut before = std::mem::take(&mut self.texts);
        self.strays.clear();
        for entry in entries.into_iter().filter(|entry| !entry.is_folder()) {
            let known = before.remove_entry(entry.key.as_str());
            let place =
                known.as_ref().map_or_else(|| entry.key.as_str().into(), |(place, _)| Arc::clone(place));
            let Some(text) = entry.text() else {
                self.texts.extend(known);
                self.strays.push(entry.key);
                continue;
            };
            let text = Text { text, age: Some(entry.create_index), namespace: None };
            let known = known.map(|(_, known)| known).filter(|known| **known == text);
            let text = known.unwrap_or_else(|| Arc::new(text));
            self.texts.insert(place, text);
        }
        if keeps_others {
            self.texts.extend(before);
        }
        Ok(())
    }

    /// Publishes what is there, and reports what is no text.
    pub(super) fn publish(&self, sink: &TextSink) {
        for key in &self.strays {
            sink.skipped(key, "the value is not UTF-8: its last text stays in force");
        }
        sink.publish(self.texts.iter().map(|(place, text)| (Arc::clone(place), Arc::clone(text))).collect());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entries: &[(&str, Option<&[u8]>, u64)]) -> Vec<u8> {
        let entry = |(key, value, created): &(&str, Option<&[u8]>, u64)| {
            let value = value.map(|value| BASE64_STANDARD.encode(value));
            serde_json::json!({ "Key": key, "Value": value, "CreateIndex": created, "ModifyIndex": 9, "Flags": 0 })
        };
        serde_json::to_vec(&entries.iter().map(entry).collect::<Vec<_>>()).unwrap()
    }

    fn texts(texts: &KeyTexts) -> Vec<(&str, &str, Option<u64>)> {
        texts.texts.iter().map(|(key, text)| (&**key, &*text.text, text.age)).collect()
    }

    #[test]
    fn a_value_that_is_no_text_keeps_its_last_one_and_folders_are_nothing() {
        let mut all = KeyTexts::default();
        let first =
            list(&[("p/", None, 3), ("p/a", Some(b"one"), 4), ("p/b", Some(b"two"), 5), ("p/c", None, 6)]);
        all.take(&first, false).unwrap();
        assert_eq!(texts(&all), [("p/a", "one", Some(4)), ("p/b", "two", Some(5)), ("p/c", "", Some(6))]);
        let kept = Arc::clone(&all.texts["p/a"]);
        all.take(
            &list(&[("p/a", Some(b"one"), 4), ("p/b", Some(&[0xff]), 5), ("p/d", Some(&[0xff]), 7)]),
            false,
        )
        .unwrap();
        assert_eq!(texts(&all), [("p/a", "one", Some(4)), ("p/b", "two", Some(5))]);
        assert!(Arc::ptr_eq(&kept, &all.texts["p/a"]));
        assert_eq!(all.strays, ["p/b", "p/d"]);
        assert!(all.take(b"{}", false).is_err(), "it makes no sense");
        assert_eq!(texts(&all).len(), 2);
        all.take(b"", false).unwrap();
        assert!(texts(&all).is_empty() && all.strays.is_empty());
    }

    #[test]
    fn what_the_token_may_not_read_any_more_stays_beside_what_it_may() {
        let mut all = KeyTexts::default();
        all.take(&list(&[("p/a", Some(b"one"), 4), ("p/b", Some(b"two"), 5)]), false).unwrap();
        let less = list(&[("p/a", Some(b"three"), 4)]);
        all.take(&less, true).unwrap();
        assert_eq!(texts(&all), [("p/a", "three", Some(4)), ("p/b", "two", Some(5))]);
    }
}
