use bytes::Bytes;
use serde_json::{Value, json};

use super::*;

fn answer(index: u64, nodes: &[&str]) -> Answer {
    let entry = |node: &&str| json!({ "Node": { "Node": node }, "Service": { "ID": "web-1" }, "Checks": [] });
    let body: Value = nodes.iter().map(entry).collect();
    Answer { index, filtered: false, backend: Backend::View, body: Bytes::from(body.to_string()) }
}

fn at(held: u64) -> Index {
    let mut index = Index::default();
    assert!(index.advance(held, true));
    index
}

fn seen<'a>(answer: &'a Answer, known: &'a Content, same: bool) -> Seen<'a> {
    Seen { answer, hash: answer.index, known: Some(known), same }
}

#[test]
fn what_a_view_takes_away_is_doubted_and_the_rest_believed() {
    let (mut view, known) = (View::default(), Content::default());
    view.believe(&answer(5, &["n1", "n2"]));
    let mut judge = |index, nodes: &[&str]| {
        let answer = answer(index, nodes);
        view.judge(at(5), &seen(&answer, &known, false))
    };
    assert_eq!(judge(5, &["n1", "n2"]), Verdict::Believed, "an end of wait");
    assert_eq!(judge(6, &["n2", "n1", "n3"]), Verdict::Believed, "one more");
    assert_eq!(judge(6, &["n1"]), Verdict::Doubted, "one less");
    assert_eq!(judge(5, &["n1"]), Verdict::Doubted, "one less at the same index");
    assert_eq!(judge(6, &["n1", "n3"]), Verdict::Doubted, "another one");
    assert_eq!(judge(4, &["n1", "n2"]), Verdict::Doubted, "an index that goes backwards");
    assert_eq!(judge(1, &["n1", "n2"]), Verdict::Doubted, "an index of nothing");
}

#[test]
fn an_index_that_stays_behind_with_the_same_content_is_waited_at() {
    let (mut view, known) = (View::default(), Content::default());
    view.believe(&answer(5, &["n1"]));
    let behind = answer(4, &["n1"]);
    assert_eq!(view.judge(at(5), &seen(&behind, &known, true)), Verdict::Doubted);
    assert_eq!(view.judge(at(5), &seen(&behind, &known, false)), Verdict::Doubted, "it says something else");
    assert_eq!(view.judge(at(5), &seen(&behind, &known, true)), Verdict::Nothing(4));
    let empty = answer(1, &["n1"]);
    assert_eq!(view.judge(at(5), &seen(&empty, &known, true)), Verdict::Doubted, "nobody waits at 1");
}

/// The servers' index may stay below the view's, where the view would say the same again at once.
#[test]
fn what_servers_did_not_confirm_is_waited_at_until_something_is_new() {
    let (mut view, known) = (View::default(), Content::default());
    view.believe(&answer(50, &["n1", "n2"]));
    let lacks = answer(90, &["n1"]);
    assert_eq!(view.judge(at(50), &seen(&lacks, &known, false)), Verdict::Doubted);
    assert_eq!(view.judge(at(50), &seen(&lacks, &known, false)), Verdict::Nothing(90));
    assert_eq!(view.judge(at(90), &seen(&lacks, &known, false)), Verdict::Doubted, "once for each wait");
    let later = answer(95, &["n1"]);
    assert_eq!(view.judge(at(90), &seen(&later, &known, false)), Verdict::Doubted, "it may be gone by now");
    assert_eq!(view.judge(at(50), &seen(&answer(96, &["n1", "n2"]), &known, false)), Verdict::Believed);
    assert_eq!(view.judge(at(50), &seen(&later, &known, false)), Verdict::Doubted, "it was there in between");
    view.believe(&answer(50, &["n1", "n2"]));
    assert_eq!(
        view.judge(at(50), &seen(&later, &known, false)),
        Verdict::Doubted,
        "as after any answer that counts"
    );
}

/// Where servers leave something out, a view cannot tell that this is over, or that it is more: each of its
/// answers that is another one is a reason to ask them.
#[test]
fn a_view_says_nothing_of_what_a_token_may_not_read() {
    let (mut view, known) = (View::default(), Content { filtered: true, ..Content::default() });
    view.believe(&answer(5, &["n1"]));
    let wider = answer(5, &["n1", "n2"]);
    assert_eq!(view.judge(at(5), &seen(&wider, &known, false)), Verdict::Doubted);
    assert_eq!(view.judge(at(5), &seen(&wider, &known, false)), Verdict::Nothing(5), "once is enough");
    let other = answer(6, &["n1", "n2"]);
    assert_eq!(view.judge(at(5), &seen(&other, &known, false)), Verdict::Doubted);
}

#[tokio::test(start_paused = true)]
async fn servers_are_asked_again_within_five_minutes() {
    let (mut view, wait) = (View::default(), Duration::from_secs(30));
    assert_eq!(view.wait(wait), Some(wait));
    view.heard(Backend::Server, true, wait);
    assert_eq!(view.due, None, "they answer the polls");
    view.heard(Backend::Unsaid, false, wait);
    assert_eq!(view.due, None, "there are no views");
    view.heard(Backend::Server, false, wait);
    let due = view.due.unwrap();
    view.heard(Backend::View, true, wait);
    assert_eq!(view.due, Some(due));
    let after = due - Instant::now();
    assert!(after > Duration::from_secs(224) && after <= LATEST, "{after:?}");
    assert_eq!(view.wait(wait), Some(wait));
    assert_eq!(view.wait(Duration::from_secs(600)), Some(after), "a long wait ends in time");
    tokio::time::advance(after - Duration::from_millis(500)).await;
    assert_eq!(view.wait(wait), None);
}
