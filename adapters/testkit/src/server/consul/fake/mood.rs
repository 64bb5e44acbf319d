//! What a fake agent is, and what goes wrong with it.

/// What kind of agent it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// One before 1.10: servers answer everything, and no header says who answers.
    #[default]
    Plain,
    /// One of today with its defaults: long polls of `health/service` are answered from the agent's own views.
    Streaming,
    /// One of today with `use_streaming_backend = false`.
    StreamingOff,
}

impl Profile {
    /// Whether a header says what answers, and one that something was left out.
    pub(super) fn is_of_today(self) -> bool {
        self != Self::Plain
    }
}

/// How an agent behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mood {
    /// As it should.
    #[default]
    Sane,
    /// There is no leader: servers hold questions, and refuse them if no leader comes. Views show nothing of it.
    Leaderless,
    /// The worst that may be without a leader: lists are empty, and only a header says that they are not to be
    /// believed.
    EmptyLeaderless,
    /// Bodies are no JSON.
    Garbled,
}

impl Mood {
    pub(super) fn is_leaderless(self) -> bool {
        matches!(self, Self::Leaderless | Self::EmptyLeaderless)
    }
}

/// How the agent's streams are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Streams {
    /// Views follow what changes. Those that did not are filled anew.
    #[default]
    Fair,
    /// Views stay as they are, and nobody is told.
    Stuck,
    /// Views have been emptied for a new snapshot, which does not come. Who waits is not woken.
    Reset,
    /// Views are gone, and new ones are not filled: as after a start of the agent.
    Cold,
    /// Who waits for a view, or is to, is told that its stream failed.
    Broken,
}

/// Whether an answer stops in its middle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stall {
    #[default]
    No,
    Next,
    Now,
}
