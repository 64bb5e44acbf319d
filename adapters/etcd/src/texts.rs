//! Documents of rules: a text for each key below `<prefix>/rules/`.

use std::collections::BTreeMap;
use std::sync::Arc;

use pilot_registry::{Sink, Text, Texts};

use crate::kept::{Entry, Kept, Size};
use crate::keys::Keys;

/// All keys with their texts.
#[derive(Debug, Default)]
pub(crate) struct KeyTexts {
    texts: BTreeMap<Arc<str>, Arc<Text>>,
    slots: BTreeMap<Vec<u8>, Slot>,
    size: Size,
}

/// What is known of a key beside its text.
#[derive(Debug)]
struct Slot {
    /// Key and value.
    bytes: usize,
    /// Whether both are text. If the value alone is none, its last text stays.
    is_text: bool,
}

impl Kept for KeyTexts {
    type Value = Texts;

    const LISTING: &'static str = "listing the rules in etcd";
    const WATCHING: &'static str = "watching the rules in etcd";

    fn new(_: &Keys) -> Self {
        Self::default()
    }

    fn put(&mut self, Entry { key, value, created }: Entry<'_>, before: Option<&Self>) {
        let last = self.last(key).or_else(|| before?.last(key));
        self.remove(key);
        let bytes = key.len() + value.len();
        self.size.keys += 1;
        self.size.bytes += bytes;
        let (place, text) = (std::str::from_utf8(key), std::str::from_utf8(value));
        self.slots.insert(key.to_vec(), Slot { bytes, is_text: place.is_ok() && text.is_ok() });
        let Ok(place) = place else { return };
        let text =
            text.map(|text| Text { text: text.into(), age: u64::try_from(created).ok(), namespace: None });
        self.texts.extend(text.ok().map(Arc::new).or(last).map(|text| (place.into(), text)));
    }

    fn remove(&mut self, key: &[u8]) {
        if let Some(slot) = self.slots.remove(key) {
            self.size.keys -= 1;
            self.size.bytes -= slot.bytes;
        }
        if let Ok(place) = std::str::from_utf8(key) {
            self.texts.remove(place);
        }
    }

    fn size(&self) -> Size {
        self.size
    }

    fn publish(&mut self, sink: &Sink<Texts>) {
        for (key, _) in self.slots.iter().filter(|(_, slot)| !slot.is_text) {
            let why = "the key or its value is not UTF-8: its last text stays in force";
            sink.skipped(String::from_utf8_lossy(key), why);
        }
        sink.publish(self.texts.iter().map(|(place, text)| (Arc::clone(place), Arc::clone(text))).collect());
    }
}

impl KeyTexts {
    fn last(&self, key: &[u8]) -> Option<Arc<Text>> {
        self.texts.get(std::str::from_utf8(key).ok()?).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_counts_once_and_what_is_no_text_is_left_out() {
        let mut texts = KeyTexts::new(&Keys::rules("/pilot"));
        let put = |texts: &mut KeyTexts, key: &str, value: &[u8]| {
            texts.put(Entry { key: key.as_bytes(), value, created: 7 }, None);
        };
        put(&mut texts, "/pilot/rules/a", b"one");
        put(&mut texts, "/pilot/rules/a", b"three");
        put(&mut texts, "/pilot/rules/b", &[0xff]);
        assert_eq!(texts.size(), Size { keys: 2, bytes: 14 + 5 + 14 + 1 });
        let (sink, feed) = pilot_registry::channel();
        texts.publish(&sink);
        let found = feed.published().unwrap().value;
        assert_eq!(found.len(), 1);
        assert_eq!(found.get("/pilot/rules/a").map(|text| (&*text.text, text.age)), Some(("three", Some(7))));
        assert!(feed.with_state(|state| state.skipped.contains_key("/pilot/rules/b")));
        put(&mut texts, "/pilot/rules/a", &[0xff]);
        texts.publish(&sink);
        let found = feed.published().unwrap().value;
        assert_eq!(found.get("/pilot/rules/a").map(|text| &*text.text), Some("three"), "its last text");
        texts.remove(b"/pilot/rules/a");
        texts.remove(b"/pilot/rules/b");
        assert_eq!(texts.size(), Size::default());
    }
}
