//! Streams that fail, servers without a leader, and both.

use std::time::Duration;

use http::StatusCode;
use pilot_registry::ErrorKind;
use pilot_registry_testkit::server::consul::{FakeConsul, Mood, Profile, Streams};

use super::{about_web, attempts, consul, more_polls, plain, runner, sees, until_asked};

const SHORT: Duration = Duration::from_millis(50);

/// A stream that fails says nothing of the servers: they are asked, and after three failures they answer the polls.
#[tokio::test]
async fn failing_streams_end_nothing_and_are_avoided() {
    let consul = consul(Profile::Streaming).await;
    let mut runner = runner(&consul);
    sees(&mut runner, &[1, 2]).await;
    more_polls(&consul, 1).await;
    consul.stream(Streams::Broken);
    let avoided = |asked: &[String]| asked.last().is_some_and(|last| last.contains("near=_agent"));
    until_asked(&consul, "a poll past the view", avoided).await;
    assert_eq!(plain(&about_web(&consul)), 3, "{:#?}", about_web(&consul));
    consul.put("web", &web_with_three());
    sees(&mut runner, &[1, 2, 3]).await;
    consul.put("web", &super::web(&[3]));
    sees(&mut runner, &[3]).await;
    assert_eq!((attempts(&consul), plain(&about_web(&consul))), (1, 3), "servers need no confirmation");
}

fn web_with_three() -> Vec<serde_json::Value> {
    super::web(&[1, 2, 3])
}

/// All streams of an agent fail at once when its server goes: that is one failure, whatever the number of services.
#[tokio::test]
async fn streams_that_fail_together_are_not_avoided() {
    let consul = consul(Profile::Streaming).await;
    for other in ["api", "cart", "mail", "shop"] {
        consul.put(other, &super::web(&[9]));
    }
    let mut runner = runner(&consul);
    sees(&mut runner, &[1, 2]).await;
    let views = async {
        while consul.counts().views < 5 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), views).await.unwrap();
    consul.break_streams();
    until_asked(&consul, "a plain read", |asked| plain(asked) == 1).await;
    more_polls(&consul, 2).await;
    assert_eq!(
        consul.asked().iter().filter(|asked| asked.contains("near=")).count(),
        0,
        "{:#?}",
        consul.asked()
    );
    assert_eq!(attempts(&consul), 1);
}

/// One stream that fails once, as when the agent's server goes, is tried again.
#[tokio::test]
async fn a_stream_that_fails_once_is_tried_again() {
    let consul = consul(Profile::Streaming).await;
    let mut runner = runner(&consul);
    sees(&mut runner, &[1, 2]).await;
    more_polls(&consul, 1).await;
    for failures in 1..=2 {
        consul.break_streams();
        until_asked(&consul, "a plain read", |asked| plain(asked) == failures).await;
        more_polls(&consul, 2).await;
    }
    consul.put("web", &web_with_three());
    sees(&mut runner, &[1, 2, 3]).await;
    assert_eq!(attempts(&consul), 1);
    more_polls(&consul, 1).await;
    assert!(!about_web(&consul).iter().any(|asked| asked.contains("near=")));
    consul.break_streams();
    until_asked(&consul, "a poll past the view", |asked| asked.last().unwrap().contains("near=_agent")).await;
}

/// Agents have many words for a stream that fails. Whatever they say, the servers decide.
#[tokio::test]
async fn a_stream_that_fails_in_other_words_ends_nothing() {
    let words = [
        (StatusCode::INTERNAL_SERVER_ERROR, "stream reset requested"),
        (StatusCode::INTERNAL_SERVER_ERROR, "EOF"),
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "subscription closed by server, client must reset state and resubscribe",
        ),
    ];
    for (status, words) in words {
        let consul = consul(Profile::Streaming).await;
        consul.fail_streams_with(status, words);
        let mut runner = runner(&consul);
        sees(&mut runner, &[1, 2]).await;
        more_polls(&consul, 1).await;
        consul.break_streams();
        until_asked(&consul, "a plain read", |asked| plain(asked) == 1).await;
        more_polls(&consul, 1).await;
        consul.put("web", &web_with_three());
        sees(&mut runner, &[1, 2, 3]).await;
        assert_eq!(attempts(&consul), 1, "{words}");
    }
}

/// Where a stream has failed, the servers may be busy with all who ask instead.
#[tokio::test]
async fn a_limit_after_a_failed_stream_ends_nothing() {
    let consul = consul(Profile::Streaming).await;
    let mut runner = runner(&consul);
    sees(&mut runner, &[1, 2]).await;
    more_polls(&consul, 1).await;
    until_waiting(&consul).await;
    consul.limit(1);
    consul.break_streams();
    until_asked(&consul, "the plain read once more", |asked| plain(asked) == 2).await;
    consul.put("web", &web_with_three());
    sees(&mut runner, &[1, 2, 3]).await;
    assert_eq!(attempts(&consul), 1);
}

/// Waits until the poll of web waits, beside that of the names.
async fn until_waiting(consul: &FakeConsul) {
    let waits = async {
        while consul.counts().waiting < 2 {
            tokio::time::sleep(SHORT / 10).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waits).await.unwrap();
}

/// Where the servers do not answer either, the attempt ends, and what is known stays.
#[tokio::test]
async fn failing_streams_and_servers_end_the_attempt() {
    let consul = consul(Profile::Streaming).await;
    let mut runner = runner(&consul);
    sees(&mut runner, &[1, 2]).await;
    more_polls(&consul, 1).await;
    consul.hold(SHORT);
    consul.behave(Mood::Leaderless);
    consul.stream(Streams::Broken);
    let error = runner.degraded().await.unwrap().error;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.chain());
    assert!(error.chain().contains("leader"), "{}", error.chain());
    consul.stream(Streams::Fair);
    consul.behave(Mood::Sane);
    sees(&mut runner, &[1, 2]).await;
    assert_eq!(runner.revision(), 1);
}

/// Views show nothing of a leader that is gone. Whatever the agent is, it is noticed, what is known stays, and what
/// changed meanwhile is seen after it.
#[tokio::test]
async fn a_leader_that_is_gone_is_noticed_and_takes_nothing_away() {
    for profile in [Profile::Plain, Profile::Streaming, Profile::StreamingOff] {
        for mood in [Mood::Leaderless, Mood::EmptyLeaderless] {
            let consul = consul(profile).await;
            let mut runner = runner(&consul);
            sees(&mut runner, &[1, 2]).await;
            more_polls(&consul, 1).await;
            consul.hold(SHORT);
            consul.behave(mood);
            let error = runner.degraded().await.unwrap().error;
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{profile:?} {mood:?}: {}", error.chain());
            assert!(error.chain().contains("leader"), "{profile:?} {mood:?}: {}", error.chain());
            consul.put("web", &super::web(&[2, 3]));
            assert_eq!(runner.revision(), 1, "{profile:?} {mood:?}");
            consul.behave(Mood::Sane);
            sees(&mut runner, &[2, 3]).await;
            assert_eq!(runner.revision(), 2, "{profile:?} {mood:?}");
        }
    }
}

/// A question that a limit refuses says nothing of others: it is asked again a little later.
#[tokio::test]
async fn a_question_that_a_limit_refuses_ends_nothing() {
    for profile in [Profile::Plain, Profile::Streaming, Profile::StreamingOff] {
        let consul = consul(profile).await;
        consul.limit(2);
        let mut runner = runner(&consul);
        sees(&mut runner, &[1, 2]).await;
        more_polls(&consul, 1).await;
        consul.limit(1);
        more_polls(&consul, 2).await;
        consul.put("web", &web_with_three());
        sees(&mut runner, &[1, 2, 3]).await;
        let names =
            consul.asked().into_iter().filter(|asked| asked.starts_with("/v1/catalog/services?consistent"));
        assert_eq!(names.count(), 1, "{profile:?}: there was another attempt");
    }
}
