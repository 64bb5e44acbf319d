//! Shares one allocation between equal values: the replicas of a deployment have the same labels.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

use pilot_registry::Labels;

/// Where an endpoint is. There are few, and many endpoints: they are shared.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Zones {
    /// The zone that it runs in.
    pub(crate) own: Option<Arc<str>>,
    /// The zone whose clients are to use it, if the slice says so: its own, where that is one of several.
    pub(crate) hinted: Option<Arc<str>>,
}

/// Shares equal values.
#[derive(Debug, Default)]
pub(crate) struct Interner {
    texts: Shared<str>,
    labels: Shared<Labels>,
    zones: Shared<Zones>,
}

/// Values of one type.
#[derive(Debug)]
struct Shared<T: ?Sized> {
    values: HashSet<Arc<T>>,
    /// How many there may be before unused ones are looked for.
    most: usize,
}

/// Below this, looking is not worth it.
const FEW: usize = 1024;

impl Interner {
    pub(crate) fn text(&mut self, text: &str) -> Arc<str> {
        self.texts.share(text)
    }

    pub(crate) fn labels(&mut self, labels: Labels) -> Arc<Labels> {
        self.labels.share(labels)
    }

    pub(crate) fn zones(&mut self, zones: Zones) -> Arc<Zones> {
        self.zones.share(zones)
    }
}

impl<T: ?Sized + Eq + Hash> Shared<T> {
    fn share(&mut self, value: impl Borrow<T> + Into<Arc<T>>) -> Arc<T> {
        if let Some(known) = self.values.get(value.borrow()) {
            return Arc::clone(known);
        }
        if self.values.len() >= self.most {
            self.values.retain(|value| Arc::strong_count(value) > 1);
            self.most = (self.values.len() * 2).max(FEW);
        }
        let value = value.into();
        self.values.insert(Arc::clone(&value));
        value
    }
}

impl<T: ?Sized> Default for Shared<T> {
    fn default() -> Self {
        Self { values: HashSet::new(), most: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_one_allocation_and_unused_ones_are_let_go() {
        let mut interner = Interner::default();
        let kept = interner.text("kept");
        for n in 0..10 * FEW {
            interner.text(&n.to_string());
            interner.labels([("n".to_owned(), n.to_string())].into());
        }
        assert!(Arc::ptr_eq(&kept, &interner.text("kept")));
        assert!(interner.texts.values.len() <= 2 * FEW && interner.labels.values.len() <= 2 * FEW);
    }
}
