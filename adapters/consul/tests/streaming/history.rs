//! Indexes that go backwards, of each kind of agent.

use pilot_registry_testkit::server::consul::{Profile, Streams};

use super::{
    about_web, attempts, consul, follow, more_polls, numbers, plain, polls, runner, sees, until_asked, web,
};

/// A snapshot that is restored has smaller indexes, and whoever waits goes on waiting at one that is too large:
/// until the wait ends. What is there stays, what changes then is seen.
#[tokio::test]
async fn a_restored_snapshot_takes_nothing_away() {
    for profile in [Profile::Plain, Profile::Streaming, Profile::StreamingOff] {
        let consul = consul(profile).await;
        let mut runner = runner(&consul);
        sees(&mut runner, &[1, 2]).await;
        more_polls(&consul, 1).await;
        consul.restore_snapshot(7);
        let begins_anew = |asked: &[String]| asked.last().is_some_and(|last| last.contains("index=7&"));
        until_asked(&consul, "a poll at the new index", begins_anew).await;
        assert_eq!((runner.revision(), attempts(&consul)), (1, 1), "{profile:?}");
        assert!(plain(&about_web(&consul)) >= 1, "{profile:?}: the servers were not asked");
        consul.put("web", &web(&[2, 3]));
        sees(&mut runner, &[2, 3]).await;
    }
}

/// A new cluster counts on from its small indexes, so that a change has an index that was there before.
#[tokio::test]
async fn changes_of_a_new_cluster_are_seen() {
    for profile in [Profile::Plain, Profile::Streaming, Profile::StreamingOff] {
        let consul = consul(profile).await;
        let mut runner = runner(&consul);
        sees(&mut runner, &[1, 2]).await;
        more_polls(&consul, 1).await;
        consul.rebuild(7);
        consul.put("web", &web(&[2, 3]));
        sees(&mut runner, &[2, 3]).await;
        consul.rebuild(7);
        consul.put("web", &web(&[3, 4]));
        sees(&mut runner, &[3, 4]).await;
    }
}

/// A view may have a smaller index than the servers for ever: that is confirmed once, and then waited at.
#[tokio::test]
async fn an_index_that_stays_behind_is_confirmed_once() {
    let consul = consul(Profile::Streaming).await;
    let mut first = runner(&consul);
    sees(&mut first, &[1, 2]).await;
    more_polls(&consul, 1).await;
    drop(first);
    // The view of before is still there, and does not hear that its service has been written again.
    consul.stream(Streams::Stuck);
    consul.put("web", &web(&[1, 2]));
    let before = about_web(&consul).len();
    let mut runner = runner(&consul);
    sees(&mut runner, &[1, 2]).await;
    let smaller =
        |asked: &[String]| asked.iter().skip(before).filter(|asked| asked.contains("index=101&")).count();
    until_asked(&consul, "polls at the smaller index", |asked| smaller(asked) >= 2).await;
    let asked = about_web(&consul).split_off(before);
    assert_eq!(plain(&asked), 1, "{asked:#?}");
    assert_eq!(polls(&asked) - smaller(&about_web(&consul)), 2, "{asked:#?}");
    consul.stream(Streams::Fair);
    consul.put("web", &web(&[1, 2, 3]));
    sees(&mut runner, &[1, 2, 3]).await;
}

/// A view may lack an instance under an index that is above that of the servers: it says so again at once, whenever
/// it is asked at theirs.
#[tokio::test]
async fn what_a_view_lacks_for_long_is_not_asked_for_without_end() {
    let consul = consul(Profile::Streaming).await;
    let mut first = runner(&consul);
    sees(&mut first, &[1, 2]).await;
    more_polls(&consul, 1).await;
    drop(first);
    consul.stream(Streams::Stuck);
    consul.put("web", &web(&[1, 2, 3]));
    consul.restore_snapshot(7);
    let before = about_web(&consul).len();
    let mut runner = runner(&consul);
    sees(&mut runner, &[1, 2, 3]).await;
    let waits =
        |asked: &[String]| asked.iter().skip(before).filter(|asked| asked.contains("index=101&")).count();
    until_asked(&consul, "polls at the view's index", |asked| waits(asked) >= 2).await;
    let asked = about_web(&consul).split_off(before);
    assert!(plain(&asked) <= 3, "{asked:#?}");
    assert_eq!(runner.revision(), 1);
    consul.stream(Streams::Fair);
    consul.put("web", &web(&[3]));
    sees(&mut runner, &[3]).await;
}

/// Where services are read in turn, no view is asked: what they are judged by grows old.
#[tokio::test]
async fn a_view_is_judged_by_what_was_seen_while_services_were_read_in_turn() {
    let consul = consul(Profile::Streaming).await;
    let mut runner = follow(consul.address(), |config| {
        config.limits.wait_seconds = 1;
        config.limits.max_polls = 1;
    });
    sees(&mut runner, &[1, 2]).await;
    more_polls(&consul, 1).await;
    consul.stream(Streams::Stuck);
    consul.put("api", &web(&[9]));
    let probes = |asked: &[String]| asked.iter().any(|asked| asked.contains("&tag="));
    until_asked(&consul, "a probe", probes).await;
    consul.rebuild(7);
    consul.put("web", &web(&[1, 2, 3]));
    sees(&mut runner, &[1, 2, 3]).await;
    consul.remove("api");
    let before = polls(&about_web(&consul));
    until_asked(&consul, "polls of the view", |asked| polls(asked) >= before + 3).await;
    assert_eq!(runner.feed().with_state(numbers), [1, 2, 3]);
}
