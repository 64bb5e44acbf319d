//! What the fuzz target in `fuzz/` does, on stable Rust: texts of the corpus, changed at random from a seed, and texts that
//! are made to cost much. `PILOT_TEST_SEED` repeats a run.
#![allow(clippy::unwrap_used, reason = "what a test cannot go on without ends it")]

use std::fs;
use std::time::Duration;

use pilot_registry_testkit::effort;
use tokio::time::Instant;

#[path = "fuzz"]
mod fuzz {
    pub(crate) mod exercise;
    mod hostile;
    pub(crate) mod mutator;
}

use fuzz::exercise::exercise;
use fuzz::mutator::Mutator;

/// Far more than any text of the corpus needs, also on a busy machine and in a build for tests.
const LIMIT: Duration = Duration::from_secs(20);

/// The text that is looked at, for whoever reads of a panic.
struct Told<'a> {
    text: &'a [u8],
    seed: u64,
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "PILOT_TEST_SEED={}, and this text:\n{}",
                self.seed,
                String::from_utf8_lossy(self.text)
            );
        }
    }
}

/// Takes the text in, and panics when that takes too long.
fn within_limit(text: &[u8], seed: u64) {
    let _told = Told { text, seed };
    let began = Instant::now();
    exercise(text);
    assert!(began.elapsed() < LIMIT, "it took {:?}", began.elapsed());
}

fn corpus() -> Vec<Vec<u8>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/documents");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

#[test]
fn texts_of_the_corpus_are_in_force_or_rejected() {
    let corpus = corpus();
    assert!(corpus.len() >= 10);
    corpus.iter().for_each(|text| within_limit(text, 0));
}

#[test]
fn no_change_of_a_text_makes_reading_it_panic_or_hang() {
    let seed = std::env::var("PILOT_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    // The short form takes the same texts each time.
    let seed = seed.unwrap_or_else(|| effort(7, fastrand::u64(..)));
    let mut mutator = Mutator::new(seed, corpus());
    let began = Instant::now();
    // As many as there is time for, but some in any case.
    let (least, time) = effort((200, Duration::from_secs(5)), (20_000, Duration::from_secs(300)));
    let mut done = 0;
    while done < least || began.elapsed() < time {
        within_limit(&mutator.next_text(), seed);
        done += 1;
    }
    eprintln!("PILOT_TEST_SEED={seed}: {done} texts");
}
