//! One allocation for what is said many times: the replicas of a deployment have the same labels.

use std::collections::HashSet;
use std::sync::Arc;

use pilot_registry::Labels;

/// Shares equal values.
#[derive(Debug, Default)]
pub(crate) struct Interner {
    texts: HashSet<Arc<str>>,
    labels: HashSet<Arc<Labels>>,
    /// How many values there may be before unused ones are looked for.
    texts_most: usize,
    labels_most: usize,
}

/// Below this, looking is not worth it.
const FEW: usize = 1024;

impl Interner {
    pub(crate) fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return Arc::clone(known);
        }
        if self.texts.len() >= self.texts_most {
            self.texts.retain(|text| Arc::strong_count(text) > 1);
            self.texts_most = (self.texts.len() * 2).max(FEW);
        }
        let text: Arc<str> = text.into();
        self.texts.insert(Arc::clone(&text));
        text
    }

    pub(crate) fn labels(&mut self, labels: Labels) -> Arc<Labels> {
        if let Some(known) = self.labels.get(&labels) {
            return Arc::clone(known);
        }
        if self.labels.len() >= self.labels_most {
            self.labels.retain(|labels| Arc::strong_count(labels) > 1);
            self.labels_most = (self.labels.len() * 2).max(FEW);
        }
        let labels = Arc::new(labels);
        self.labels.insert(Arc::clone(&labels));
        labels
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
        assert!(interner.texts.len() <= 2 * FEW && interner.labels.len() <= 2 * FEW);
    }
}
