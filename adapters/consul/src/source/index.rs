//! The Consul index of a blocking query.

/// What is known of an index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Index {
    held: u64,
    doubted: bool,
}

impl Index {
    /// What a long poll waits beyond. `None`: there is nothing yet, so it is asked at once.
    pub(super) fn held(self) -> Option<u64> {
        (self.held > 0).then_some(self.held)
    }

    /// Whether the next answer has to be a sure one.
    pub(super) fn doubted(self) -> bool {
        self.doubted
    }

    /// Has the next answer be a sure one, whatever the last one said.
    pub(super) fn doubt(&mut self) {
        *self = Self { held: 0, doubted: true };
    }

    /// Waits at that index, be it a smaller one.
    pub(super) fn settle(&mut self, answered: u64) {
        *self = Self { held: answered.max(1), doubted: false };
    }

    /// Takes the index of an answer, and says whether to believe the answer. One that went backwards is
    /// believed only if it is `sure`: after a restore the indexes are smaller, but a server that lags, or
    /// that has just been started, has smaller ones too.
    pub(super) fn advance(&mut self, answered: u64, sure: bool) -> bool {
        let answered = answered.max(1);
        self.doubted = answered < self.held && !sure;
        self.held = if self.doubted { 0 } else { answered };
        !self.doubted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// L22: an index may go backwards, and nobody waits beyond one that will not come again.
    #[test]
    fn l22_an_index_that_goes_backwards_begins_from_the_start() {
        let mut index = Index::default();
        assert_eq!(index.held(), None);
        assert!(index.advance(100, false));
        assert_eq!(index.held(), Some(100));
        assert!(!index.advance(40, false), "not believed at once");
        assert_eq!((index.held(), index.doubted()), (None, true));
        assert!(index.advance(41, true));
        assert_eq!((index.held(), index.doubted()), (Some(41), false));
    }

    #[test]
    fn an_index_is_never_below_1() {
        let mut index = Index::default();
        assert!(index.advance(0, false));
        assert_eq!(index.held(), Some(1));
    }
}
