//! Who answered, over the last seconds.
//!
//! Pure: answers and ticks in, rows out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

/// How many seconds are remembered.
pub(super) const WINDOW: usize = 5;

/// A target that has never answered yet may fail for so long: Envoy hears of it a moment later than we.
const SETTLE: Duration = Duration::from_secs(5);

/// What was answered.
#[derive(Debug, Default)]
pub(super) struct Tally {
    targets: BTreeMap<String, History>,
    /// Requests that a backend answered.
    pub(super) answered: u64,
    /// Requests that failed.
    pub(super) failed: u64,
}

#[derive(Debug)]
struct History {
    joined: Instant,
    asked: bool,
    has_answered: bool,
    /// By second, the newest first.
    seconds: VecDeque<Second>,
}

#[derive(Clone, Debug, Default)]
struct Second {
    answers: BTreeMap<String, u64>,
    failures: BTreeMap<String, u64>,
}

/// What happened to one target over some seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Row {
    /// The target.
    pub(super) target: String,
    /// Answers by backend. One that no longer answers stays with 0 while it is remembered.
    pub(super) answers: BTreeMap<String, u64>,
    /// Failures by reason.
    pub(super) failures: BTreeMap<String, u64>,
}

impl Tally {
    /// These are called now, and no others.
    pub(super) fn follow(&mut self, targets: &BTreeSet<String>, now: Instant) {
        self.targets.retain(|target, _| targets.contains(target));
        for target in targets {
            self.targets.entry(target.clone()).or_insert_with(|| History {
                joined: now,
                asked: false,
                has_answered: false,
                seconds: VecDeque::from([Second::default()]),
            });
        }
    }

    /// A request goes to the target.
    pub(super) fn ask(&mut self, target: &str) {
        if let Some(history) = self.targets.get_mut(target) {
            history.asked = true;
        }
    }

    /// It is over: targets that were asked and have never answered have failed, whether their requests are
    /// still open or came too early to count. Tells which.
    pub(super) fn end(&mut self) -> Vec<String> {
        let silent = self.targets.iter().filter(|(_, history)| history.asked && !history.has_answered);
        let silent: Vec<String> = silent.map(|(target, _)| target.clone()).collect();
        self.failed += silent.len() as u64;
        silent
    }

    /// A backend answered, or nobody did, and why. What comes late from a target that is gone does not
    /// count.
    pub(super) fn count(&mut self, target: &str, answer: Result<String, String>, now: Instant) {
        let Some(history) = self.targets.get_mut(target) else { return };
        let settling = !history.has_answered && now < history.joined + SETTLE;
        let Some(second) = history.seconds.front_mut() else { return };
        match answer {
            Ok(backend) => {
                history.has_answered = true;
                self.answered += 1;
                *second.answers.entry(backend).or_default() += 1;
            }
            Err(_) if settling => {}
            Err(why) => {
                self.failed += 1;
                *second.failures.entry(why).or_default() += 1;
            }
        }
    }

    /// A second has passed.
    pub(super) fn second(&mut self) {
        for history in self.targets.values_mut() {
            history.seconds.push_front(Second::default());
            history.seconds.truncate(WINDOW);
        }
    }

    /// The last seconds, with the current one.
    pub(super) fn rows(&self, seconds: usize) -> Vec<Row> {
        let row = |(target, history): (&String, &History)| {
            let mut row = Row { target: target.clone(), ..Row::default() };
            for (age, second) in history.seconds.iter().enumerate() {
                for (backend, count) in &second.answers {
                    *row.answers.entry(backend.clone()).or_default() +=
                        if age < seconds { *count } else { 0 };
                }
                for (why, count) in second.failures.iter().filter(|_| age < seconds) {
                    *row.failures.entry(why.clone()).or_default() += count;
                }
            }
            row
        };
        self.targets.iter().map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(targets: &[&str]) -> BTreeSet<String> {
        targets.iter().map(|&target| target.into()).collect()
    }

    #[test]
    fn answers_are_remembered_for_the_window() {
        let now = Instant::now();
        let mut tally = Tally::default();
        tally.follow(&called(&["a"]), now);
        tally.count("a", Ok("one".into()), now);
        tally.second();
        tally.count("a", Ok("two".into()), now);
        let counts =
            |tally: &Tally, seconds| tally.rows(seconds)[0].answers.values().copied().collect::<Vec<_>>();
        assert_eq!(counts(&tally, WINDOW), [1, 1]);
        assert_eq!(counts(&tally, 1), [0, 1]);
        (1..WINDOW).for_each(|_| tally.second());
        assert_eq!(counts(&tally, WINDOW), [1]);
        assert_eq!((tally.answered, tally.failed), (2, 0));
    }

    #[test]
    fn only_what_has_answered_or_had_its_time_can_fail() {
        let now = Instant::now();
        let mut tally = Tally::default();
        tally.follow(&called(&["new", "old"]), now);
        tally.count("new", Err("404".into()), now);
        tally.count("old", Ok("one".into()), now);
        assert_eq!(tally.failed, 0);
        tally.count("old", Err("503".into()), now);
        assert_eq!(tally.failed, 1);
        tally.count("new", Err("404".into()), now + SETTLE);
        assert_eq!(tally.failed, 2);
        assert_eq!(tally.rows(1)[0].failures, BTreeMap::from([("404".to_owned(), 1)]));
    }

    #[test]
    fn who_was_asked_and_never_answered_has_failed_in_the_end() {
        let now = Instant::now();
        let mut tally = Tally::default();
        tally.follow(&called(&["answers", "new", "silent"]), now);
        tally.ask("answers");
        tally.ask("silent");
        tally.count("answers", Ok("one".into()), now);
        tally.count("silent", Err("404".into()), now);
        assert_eq!((tally.end(), tally.answered, tally.failed), (vec!["silent".to_owned()], 1, 1));
    }

    #[test]
    fn late_answers_of_targets_that_are_gone_do_not_count() {
        let now = Instant::now();
        let mut tally = Tally::default();
        tally.follow(&called(&["a"]), now);
        tally.count("a", Ok("one".into()), now);
        tally.follow(&called(&[]), now);
        tally.count("a", Err("404".into()), now + SETTLE);
        assert_eq!((tally.rows(1), tally.failed), (vec![], 0));
    }
}
