//! Routing rules as a store has them: texts, and the trait that a store implements.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use async_trait::async_trait;

use crate::{Namespace, RegistryError, Reload, Sink};

/// A store of routing rules: files, etcd, Consul's KV, Kubernetes.
///
/// It is to texts what [`ServiceRegistry`](crate::ServiceRegistry) is to services, and the same contract counts: one
/// attempt, nothing before everything is known, whole values. What a text says is not its business: whoever reads the
/// texts tells what is wrong with them.
#[async_trait]
pub trait RuleStore: Send + Sync + 'static {
    /// The kind of store, which is its table's name in pilot.toml: `file`, `consul`.
    fn name(&self) -> &'static str;

    /// One attempt: connect, list everything, publish, then watch and publish again on each change.
    ///
    /// # Errors
    /// What ended the attempt. Whatever was published stays in force.
    async fn run(&self, sink: &TextSink) -> Result<Infallible, RegistryError>;

    /// What it reads from files of this machine and can read again when an operator asks for it (SIGHUP).
    /// `None` = nothing.
    fn reload(&self) -> Option<Reload> {
        None
    }
}

/// Where a store publishes what it has.
pub type TextSink = Sink<Texts>;

/// What stands at one place of a store: YAML or JSON, one document or several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// What stands there, as it is.
    pub text: Arc<str>,
    /// When it was made, in the store's own count (etcd's `create_revision`, Consul's `CreateIndex`): smaller is older.
    /// `None` = the store does not know, and the word of the documents counts.
    pub age: Option<u64>,
    /// The namespace of documents that name none; `None` = pilot's default.
    pub namespace: Option<Namespace>,
}

/// Everything that a store has at one moment, by place: a file, a key, an object.
///
/// A text that did not change keeps its `Arc` from one value to the next, so two values are compared by pointers.
#[derive(Clone, Debug, Default)]
pub struct Texts {
    by_place: BTreeMap<Arc<str>, Arc<Text>>,
    deliberate: bool,
}

/// Two are equal when their texts are.
impl PartialEq for Texts {
    fn eq(&self, other: &Self) -> bool {
        self.by_place == other.by_place
    }
}

impl Eq for Texts {}

impl Texts {
    /// The same texts, of which the store knows that somebody meant it: what is missing was taken away on purpose, and
    /// is not held back.
    #[must_use]
    pub fn deliberate(self) -> Self {
        Self { deliberate: true, ..self }
    }

    /// Whether somebody meant it. See [`Texts::deliberate`].
    pub fn is_deliberate(&self) -> bool {
        self.deliberate
    }

    /// How many places there are.
    pub fn len(&self) -> usize {
        self.by_place.len()
    }

    /// Whether the store has nothing.
    pub fn is_empty(&self) -> bool {
        self.by_place.is_empty()
    }

    /// What stands at a place.
    pub fn get(&self, place: &str) -> Option<&Arc<Text>> {
        self.by_place.get(place)
    }

    /// All texts, ordered by place.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<Text>)> {
        self.by_place.iter()
    }

    /// The places at which another text stands than before, or none any more, or none stood. Texts are told apart by
    /// their allocations, in one pass over both.
    pub fn differing<'a>(&'a self, previous: &'a Self) -> impl Iterator<Item = &'a Arc<str>> {
        let (mut new, mut old) = (self.iter().peekable(), previous.iter().peekable());
        std::iter::from_fn(move || {
            loop {
                let order = match (new.peek(), old.peek()) {
                    (Some((new, _)), Some((old, _))) => new.cmp(old),
                    (Some(_), None) => Ordering::Less,
                    (None, Some(_)) => Ordering::Greater,
                    (None, None) => return None,
                };
                match order {
                    Ordering::Less => return new.next().map(|(place, _)| place),
                    Ordering::Greater => return old.next().map(|(place, _)| place),
                    Ordering::Equal => {
                        let ((place, new), (_, old)) = new.next().zip(old.next())?;
                        if !Arc::ptr_eq(new, old) {
                            return Some(place);
                        }
                    }
                }
            }
        })
    }
}

impl FromIterator<(Arc<str>, Arc<Text>)> for Texts {
    fn from_iter<I: IntoIterator<Item = (Arc<str>, Arc<Text>)>>(texts: I) -> Self {
        Self { by_place: texts.into_iter().collect(), deliberate: false }
    }
}

impl crate::Content for Texts {
    fn reusing(mut self, previous: &Self) -> Self {
        for (place, text) in &mut self.by_place {
            if let Some(old) = previous.by_place.get(place)
                && (Arc::ptr_eq(old, text) || old == text)
            {
                *text = Arc::clone(old);
            }
        }
        self
    }

    fn same(&self, other: &Self) -> bool {
        // After `reusing`, equal texts are one allocation.
        self.differing(other).next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Content, channel};

    fn texts<const N: usize>(texts: [(&str, &str); N]) -> Texts {
        let text = |text: &str| Text { text: text.into(), age: None, namespace: None };
        texts.into_iter().map(|(place, it)| (place.into(), Arc::new(text(it)))).collect()
    }

    #[test]
    fn texts_that_did_not_change_are_the_same_allocation() {
        let (sink, feed) = channel();
        sink.publish(texts([("a.yaml", "1"), ("b.yaml", "2")]));
        let first = feed.published().expect("published");
        sink.publish(texts([("a.yaml", "1"), ("b.yaml", "3")]));
        let second = feed.published().expect("published");
        assert_eq!(second.revision, 2);
        let same = |place| Arc::ptr_eq(first.value.get(place).unwrap(), second.value.get(place).unwrap());
        assert!(same("a.yaml") && !same("b.yaml"));
        sink.publish(texts([("a.yaml", "1"), ("b.yaml", "3")]));
        assert_eq!(feed.published().expect("published").revision, 2);
    }

    #[test]
    fn places_that_differ_are_those_that_came_went_or_have_another_text() {
        let before = texts([("a", "1"), ("b", "1"), ("c", "1"), ("e", "1")]);
        let after =
            Content::reusing(texts([("b", "1"), ("c", "2"), ("d", "1"), ("e", "1"), ("f", "1")]), &before);
        let differing =
            |new: &Texts, old: &Texts| new.differing(old).map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(differing(&after, &before), ["a", "c", "d", "f"]);
        assert_eq!(differing(&before, &after), ["a", "c", "d", "f"]);
        assert!(differing(&after, &after).is_empty());
        assert_eq!(differing(&before, &Texts::default()), ["a", "b", "c", "e"]);
    }
}
