//! The life of a registration, on the virtual clock.

use std::num::NonZeroU32;

use pilot_registry::{Labels, Locality, RegisteredPort, Weight};
use pilot_registry_testkit::RegistrarEvent::{Removed, Written};
use pilot_registry_testkit::ScriptedRegistrar;

use super::*;

const TTL: Duration = Duration::from_secs(10);
const DRAIN: Duration = Duration::from_secs(5);

fn port(number: u32) -> Port {
    Port::try_from(number).unwrap()
}

fn plan(check: Option<Check>) -> Plan {
    let registration = Registration {
        id: "one".into(),
        service: "payments.mesh".into(),
        address: [127, 0, 0, 1].into(),
        ports: [(String::new(), RegisteredPort { number: port(8080), protocol: None })].into(),
        labels: Labels::new(),
        weight: Weight::default(),
        locality: Locality::default(),
        ttl: TTL,
    };
    let check = check.map(|check| CheckPlan {
        check,
        interval: Duration::from_secs(5),
        timeout: Duration::from_secs(2),
        failures: NonZeroU32::new(2).unwrap(),
        withheld: Vec::new(),
    });
    Plan { registration, main_port: port(8080), check, port_wait: None, drain_time: DRAIN }
}

fn written(health: Health) -> pilot_registry_testkit::RegistrarEvent {
    Written("one".into(), health)
}

fn removed() -> pilot_registry_testkit::RegistrarEvent {
    Removed("one".into())
}

/// Runs a registration beside what a test does to it, to the end of both.
async fn beside<T>(
    registrar: &ScriptedRegistrar,
    plan: &Plan,
    act: impl AsyncFnOnce(&watch::Sender<Stage>) -> T,
) -> (Farewell, T) {
    let (stage, stages) = watch::channel(Stage::Serving);
    tokio::join!(register(registrar, plan, stages), act(&stage))
}

#[tokio::test(start_paused = true)]
async fn it_drains_before_it_is_removed() {
    let registrar = ScriptedRegistrar::default();
    let (farewell, began) = beside(&registrar, &plan(None), async |stage| {
        assert_eq!(registrar.reached(1).await, [written(Health::Healthy)]);
        stage.send_replace(Stage::Draining);
        let began = Instant::now();
        registrar.reached(2).await;
        registrar.reached(3).await;
        began.elapsed()
    })
    .await;
    assert!(matches!(farewell, Farewell::Removed), "{farewell:?}");
    let all = [written(Health::Healthy), written(Health::Draining), removed()];
    assert_eq!(registrar.events(), all);
    assert!((DRAIN..DRAIN + Duration::from_secs(1)).contains(&began), "{began:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_gone_is_removed_at_once() {
    for draining in [false, true] {
        let registrar = ScriptedRegistrar::default();
        let (farewell, took) = beside(&registrar, &plan(None), async |stage| {
            registrar.reached(1).await;
            if draining {
                stage.send_replace(Stage::Draining);
                registrar.reached(2).await;
            }
            let gone = Instant::now();
            stage.send_replace(Stage::Gone);
            registrar.reached(if draining { 3 } else { 2 }).await;
            gone.elapsed()
        })
        .await;
        assert!(matches!(farewell, Farewell::Removed), "{farewell:?}");
        assert_eq!(took, Duration::ZERO, "draining: {draining}");
        assert_eq!(registrar.condition("payments.mesh", "one"), None);
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_says_nothing_more_drains_and_is_removed() {
    let registrar = ScriptedRegistrar::default();
    let (stage, stages) = watch::channel(Stage::Serving);
    let plan = plan(None);
    let (farewell, _) = tokio::join!(register(&registrar, &plan, stages), async {
        registrar.reached(1).await;
        drop(stage);
    });
    assert!(matches!(farewell, Farewell::Removed), "{farewell:?}");
    assert_eq!(registrar.events().last(), Some(&removed()));
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_survived_and_ends_within_half_a_ttl() {
    let registrar = ScriptedRegistrar::default();
    beside(&registrar, &plan(None), async |stage| {
        registrar.reached(1).await;
        registrar.fail(RegistryError::unavailable("down"));
        registrar.attempted(20).await;
        registrar.come_back();
        let back = Instant::now();
        assert_eq!(registrar.reached(2).await, [written(Health::Healthy), written(Health::Healthy)]);
        assert!(back.elapsed() <= TTL / 2, "{:?}", back.elapsed());
        stage.send_replace(Stage::Gone);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_the_registry_forgot_is_written_again() {
    let registrar = ScriptedRegistrar::default();
    beside(&registrar, &plan(None), async |stage| {
        registrar.reached(1).await;
        registrar.forget();
        registrar.reached(2).await;
        assert_eq!(registrar.condition("payments.mesh", "one"), Some(Health::Healthy));
        stage.send_replace(Stage::Gone);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_hangs_is_given_up() {
    let registrar = ScriptedRegistrar::default();
    registrar.hang();
    beside(&registrar, &plan(None), async |stage| {
        let began = Instant::now();
        registrar.attempted(2).await;
        assert!(began.elapsed() >= TTL, "{:?}", began.elapsed());
        registrar.come_back();
        // The attempt that hangs is not the one that is answered.
        registrar.reached(1).await;
        stage.send_replace(Stage::Gone);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_is_down_at_the_end_is_not_waited_for() {
    let failing = |registrar: &ScriptedRegistrar| registrar.fail(RegistryError::unavailable("down"));
    for break_it in [failing, ScriptedRegistrar::hang] {
        let registrar = ScriptedRegistrar::default();
        let mut plan = plan(None);
        plan.drain_time = Duration::from_secs(3600);
        let (farewell, began) = beside(&registrar, &plan, async |stage| {
            registrar.reached(1).await;
            break_it(&registrar);
            stage.send_replace(Stage::Draining);
            Instant::now()
        })
        .await;
        assert!(matches!(farewell, Farewell::Left(_)), "{farewell:?}");
        assert!(began.elapsed() <= 2 * FAREWELL, "{:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_never_written_has_nothing_to_drain() {
    let down = |registrar: &ScriptedRegistrar| registrar.fail(RegistryError::unavailable("down"));
    for break_it in [down, ScriptedRegistrar::hang] {
        let registrar = ScriptedRegistrar::default();
        break_it(&registrar);
        let (farewell, began) = beside(&registrar, &plan(None), async |stage| {
            registrar.attempted(1).await;
            stage.send_replace(Stage::Draining);
            Instant::now()
        })
        .await;
        assert!(matches!(farewell, Farewell::Never(Some(_))), "{farewell:?}");
        assert!(began.elapsed() <= DOUBT, "{:?}", began.elapsed());
    }
}

/// Nobody is let in by asking again.
#[tokio::test(start_paused = true)]
async fn who_is_denied_at_the_end_ends_at_once() {
    let registrar = ScriptedRegistrar::default();
    let (farewell, began) = beside(&registrar, &plan(None), async |stage| {
        registrar.reached(1).await;
        registrar.fail(RegistryError::new(ErrorKind::Denied, "no such token"));
        stage.send_replace(Stage::Draining);
        Instant::now()
    })
    .await;
    assert!(matches!(farewell, Farewell::Left(_)), "{farewell:?}");
    assert!(began.elapsed() <= Duration::from_secs(2), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_denial_that_is_over_does_not_cut_the_drain_short() {
    let registrar = ScriptedRegistrar::default();
    let (_, drained) = beside(&registrar, &plan(None), async |stage| {
        registrar.reached(1).await;
        registrar.fail(RegistryError::new(ErrorKind::Denied, "no such token"));
        registrar.attempted(3).await;
        registrar.come_back();
        registrar.reached(2).await;
        let began = Instant::now();
        stage.send_replace(Stage::Draining);
        registrar.reached(4).await;
        began.elapsed()
    })
    .await;
    assert!(drained >= DRAIN, "{drained:?}");
}

/// A proxy on the same machine would have the port before the program has it.
#[tokio::test]
async fn nothing_is_registered_before_something_listens_on_its_port() {
    // Who finds nothing at the registered address looks here next.
    let loopback = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let number = loopback.local_addr().unwrap().port();
    let mut plan = Plan { port_wait: Some(Duration::from_secs(3600)), ..plan(None) };
    plan.main_port = port(number.into());
    plan.registration.address = [127, 0, 0, 2].into();
    let registered = std::net::SocketAddr::new(plan.registration.address, number);
    let registrar = ScriptedRegistrar::default();
    beside(&registrar, &plan, async |stage| {
        loopback.accept().await.unwrap();
        assert_eq!(registrar.events(), [], "nothing listens at the registered address");
        let _program = std::net::TcpListener::bind(registered).unwrap();
        assert_eq!(registrar.reached(1).await, [written(Health::Healthy)]);
        stage.send_replace(Stage::Gone);
    })
    .await;

    let short = Plan { port_wait: Some(Duration::from_millis(50)), ..plan.clone() };
    let registrar = ScriptedRegistrar::default();
    let (farewell, ()) = beside(&registrar, &plan, async |stage| {
        stage.send_replace(Stage::Draining);
    })
    .await;
    assert!(matches!(farewell, Farewell::Never(None)), "{farewell:?}");
    assert_eq!(registrar.events(), []);
    let registrar = ScriptedRegistrar::default();
    beside(&registrar, &short, async |stage| {
        registrar.reached(1).await;
        stage.send_replace(Stage::Gone);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_comes_back_at_the_end_is_told() {
    let registrar = ScriptedRegistrar::default();
    let (farewell, ()) = beside(&registrar, &plan(None), async |stage| {
        registrar.reached(1).await;
        registrar.fail(RegistryError::unavailable("down"));
        // By now the waits are long; the end does not wait for them.
        registrar.attempted(20).await;
        stage.send_replace(Stage::Draining);
        registrar.attempted(23).await;
        registrar.come_back();
    })
    .await;
    assert!(matches!(farewell, Farewell::Removed), "{farewell:?}");
    assert_eq!(registrar.events()[1..], [written(Health::Draining), removed()]);
}

#[tokio::test(start_paused = true)]
async fn one_question_has_a_deadline() {
    let registrar = ScriptedRegistrar::default();
    registrar.hang();
    let asked = Instant::now();
    assert!(write_once(&registrar, &plan(None).registration).await.is_err());
    assert!(remove(&registrar, "payments.mesh", "one").await.is_err());
    assert_eq!(asked.elapsed(), 2 * ANSWER);
}

#[tokio::test]
async fn the_check_decides_and_what_fails_stays_registered() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("serves");
    let check = format!("exec:test -e '{}' || exit 2", file.display()).parse().unwrap();
    let mut plan = plan(Some(check));
    plan.check.as_mut().unwrap().interval = Duration::from_millis(20);
    let registrar = ScriptedRegistrar::default();
    beside(&registrar, &plan, async |stage| {
        assert_eq!(registrar.reached(1).await, [written(Health::Unhealthy)], "before the first pass");
        std::fs::write(&file, "").unwrap();
        assert_eq!(registrar.reached(2).await[1], written(Health::Healthy));
        std::fs::remove_file(&file).unwrap();
        assert_eq!(registrar.reached(3).await[2], written(Health::Unhealthy));
        assert_eq!(registrar.condition("payments.mesh", "one"), Some(Health::Unhealthy));
        stage.send_replace(Stage::Gone);
    })
    .await;
}
