//! What a store says of documents as they change: D3, D4, D5, D8, D9, D14.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use pilot_registry::Texts;

use super::DocumentBackend;
use super::bench::{Bench, document, says};
use crate::contract::Verdict;
use crate::{Operation, Runner, effort};

/// D3: empty is not unknown. A store without documents is known to have none; of one that cannot be reached nothing is
/// known.
///
/// # Errors
/// The rule is broken.
pub async fn d03_empty_is_not_unknown(backend: &mut dyn DocumentBackend) -> Result<Verdict> {
    let mut bench = Bench::new(backend);
    let mut runner = bench.run();
    bench.agrees(&mut runner).await.context("a store without documents")?;
    bench.put("a", "one").await?;
    bench.agrees(&mut runner).await.context("the first document")?;
    bench.delete("a").await?;
    bench.agrees(&mut runner).await.context("the last document was deleted")?;
    bench.put("b", "two").await?;
    bench.agrees(&mut runner).await.context("another one")?;
    if bench.can(Operation::Disconnect) {
        bench.backend.platform().disconnect().await?;
        let mut cut_off = bench.run();
        cut_off.degraded().await?;
        let made_up = cut_off.feed().published();
        ensure!(made_up.is_none(), "published {made_up:?} of a store that cannot be reached");
        bench.backend.platform().reconnect().await?;
        bench.agrees(&mut cut_off).await?;
    }
    bench.verdict()
}

/// D4: documents come, change and go, one by one; the one that was there first is older, and stays so when it changes.
///
/// # Errors
/// The rule is broken.
pub async fn d04_documents_come_change_and_go(backend: &mut dyn DocumentBackend) -> Result<Verdict> {
    let mut bench = Bench::with_two(backend).await?;
    let mut runner = bench.run();
    bench.agrees(&mut runner).await?;
    bench.put("0", "three").await?;
    bench.agrees(&mut runner).await.context("a document came")?;
    let ages = ages(&runner);
    let [a, b, last] = ["a", "b", "0"].map(|name| ages[&bench.backend.place(name)]);
    ensure!(a <= b && b <= last, "ages of documents in the order of their making: {a:?}, {b:?}, {last:?}");
    bench.put("a", "four").await?;
    bench.agrees(&mut runner).await.context("a document changed")?;
    let now = self::ages(&runner)[&bench.backend.place("a")];
    ensure!(now == a, "a document that changed was {a:?} old, and is {now:?}");
    bench.delete("b").await?;
    bench.agrees(&mut runner).await.context("a document went")?;
    bench.put("b", "five").await?;
    bench.agrees(&mut runner).await.context("it came back")?;
    let back = self::ages(&runner)[&bench.backend.place("b")];
    ensure!(back >= last, "a document that came back is as old as before: {back:?}");
    bench.agrees(&mut bench.run()).await.context("a new list")?;
    bench.verdict()
}

fn ages(runner: &Runner<Texts>) -> BTreeMap<String, Option<u64>> {
    let texts = runner.feed().published().map(|published| published.value).unwrap_or_default();
    texts.iter().map(|(place, text)| (place.to_string(), text.age)).collect()
}

/// D5: what is written once more with the same content is no change.
///
/// # Errors
/// The rule is broken.
pub async fn d05_rewrites_are_no_change(backend: &mut dyn DocumentBackend) -> Result<Verdict> {
    let mut bench = Bench::with_two(backend).await?;
    let mut runner = bench.run();
    bench.agrees(&mut runner).await?;
    let revision = runner.revision();
    bench.put("b", "two").await?;
    bench.put("a", "one").await?;
    bench.nothing_came_since(revision, &mut runner).await?;
    bench.verdict()
}

/// D8: content that is no text hides only itself, is reported by name while it is there, and leaves the last text in
/// force; also after a new list.
///
/// # Errors
/// The rule is broken.
pub async fn d08_what_is_no_text_hides_only_itself_and_keeps_its_last_text(
    backend: &mut dyn DocumentBackend,
) -> Result<Verdict> {
    const NO_TEXT: &[u8] = &[b'a', 0xff, 0xfe];
    let mut bench = Bench::with_two(backend).await?;
    if let Some(why) = bench.backend.has_only_text() {
        bench.cannot_say("what is no text", why);
        return bench.verdict();
    }
    let store = bench.store();
    let mut runner = Runner::of_rules(store);
    bench.agrees(&mut runner).await?;
    bench.backend.put("a", NO_TEXT).await?;
    bench.backend.put("new", NO_TEXT).await?;
    let places = ["a", "new"].map(|name| bench.backend.place(name));
    let wait = runner
        .until("both to be reported", |state| places.iter().all(|place| says(state, place)).then_some(()));
    wait.await?;
    bench.put("b", "three").await?;
    let wait = runner.until("the others to change", |state| {
        let published = state.published.as_ref()?;
        bench.is_it(&published.value).then_some(())
    });
    wait.await?;
    if bench.can(Operation::LoseHistory) {
        bench.backend.platform().lose_history().await?;
        bench.put("c", "four").await?;
        let wait = runner.until("a new list with the last text", |state| {
            let published = state.published.as_ref()?;
            bench.is_it(&published.value).then_some(())
        });
        wait.await?;
    }
    bench.backend.delete("new").await?;
    bench.put("a", "five").await?;
    bench.agrees(&mut runner).await.context("it is text again")?;
    runner.until("the reports to end", |state| state.skipped.is_empty().then_some(())).await?;
    bench.verdict()
}

/// D9: a document that is larger than is taken changes nothing of what was there, and is said; when it is gone, all is
/// as it is.
///
/// # Errors
/// The rule is broken.
pub async fn d09_what_is_too_large_changes_nothing(backend: &mut dyn DocumentBackend) -> Result<Verdict> {
    let mut bench = Bench::with_two(backend).await?;
    let mut runner = bench.run();
    bench.agrees(&mut runner).await?;
    let revision = runner.revision();
    let huge = document("a", &"x".repeat(bench.backend.huge()));
    bench.backend.put("a", huge.as_bytes()).await?;
    let trouble = runner.degraded().await?;
    ensure!(!trouble.error.chain().trim().is_empty(), "there is no reason");
    ensure!(runner.revision() == revision, "something was published because of it");
    bench.put("a", "small").await?;
    bench.agrees(&mut runner).await.context("it is small again")?;
    bench.verdict()
}

/// D14: many documents arrive, and at once: 5,000 in the long form.
///
/// # Errors
/// The rule is broken.
pub async fn d14_many_documents_arrive_at_once(backend: &mut dyn DocumentBackend) -> Result<Verdict> {
    let mut bench = Bench::new(backend);
    for n in 0..effort(500, 5_000) {
        bench.put(&format!("d{n:04}"), "one").await?;
    }
    let mut runner = bench.run_with_many();
    bench.agrees(&mut runner).await?;
    ensure!(runner.revision() == 1, "published {} times, and the list was one", runner.revision());
    bench.put("d0100", "two").await?;
    bench.delete("d0200").await?;
    bench.agrees(&mut runner).await.context("two of them changed")?;
    bench.verdict()
}

/// D16: a document that moves to another key, file or object is there under the one name, the other or both.
///
/// # Errors
/// The rule is broken.
pub async fn d16_a_document_that_moves_is_never_missing(
    backend: &mut dyn DocumentBackend,
) -> Result<Verdict> {
    let mut bench = Bench::with_two(backend).await?;
    if let Some(why) = bench.backend.is_named_by_its_content() {
        bench.cannot_say("one document under two names", why);
        return bench.verdict();
    }
    let mut runner = bench.run();
    bench.agrees(&mut runner).await?;
    let mut names = vec!["a".to_owned()];
    for n in 0..5 {
        let (from, to) = (names[n].clone(), format!("{}{n}", if n % 2 == 0 { 'c' } else { '0' }));
        bench.rename(&from, &to).await?;
        names.push(to);
        let places: Vec<_> = names.iter().map(|name| bench.backend.place(name)).collect();
        let moved = runner.until("the new name alone", |state| {
            let value = &state.published.as_ref()?.value;
            if !places.iter().any(|place| value.get(place).is_some()) {
                return Some(false);
            }
            bench.is_it(value).then_some(true)
        });
        ensure!(moved.await?, "it was missing while it moved from {from}");
    }
    bench.verdict()
}
