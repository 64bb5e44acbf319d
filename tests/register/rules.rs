//! What holds on every kind of registry.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use pilot_registry::Health::{Draining, Healthy, Unhealthy};

use super::bench::{Bench, SERVICE, runs_until};
use crate::support::wait::{holds, until};

/// Longer than any test has patience: what waits for it fails.
pub(super) const NEVER: &str = "1h";

/// Long enough for a busy machine to see what drains.
const DRAIN: &str = "6s";

pub(crate) async fn an_instance_drains_before_it_is_removed(mut bench: Bench) {
    let mut register = bench.register(8081, &["--drain-time", DRAIN]);
    bench.sees(&[(8081, Healthy)]).await;
    register.signal("TERM");
    bench.sees(&[(8081, Draining)]).await;
    register.assert_alive();
    bench.sees(&[]).await;
    assert_eq!(register.ended().await.code(), Some(0));
    let said = register.output();
    for transition in ["registered", "draining", "removed"] {
        assert!(said.contains(transition), "{transition}: {said}");
    }
}

pub(crate) async fn what_fails_its_check_is_marked_and_stays(mut bench: Bench) {
    let serves = bench.file("serves");
    let check = format!("exec:test -e '{}' || exit 2", serves.display());
    let often = ["--check", &check, "--check-interval", "100ms", "--check-failures", "2"];
    let mut register = bench.register(8081, &often);
    bench.sees(&[(8081, Unhealthy)]).await;
    fs::write(&serves, "").unwrap();
    bench.sees(&[(8081, Healthy)]).await;
    fs::remove_file(&serves).unwrap();
    bench.sees(&[(8081, Unhealthy)]).await;
    fs::write(&serves, "").unwrap();
    bench.sees(&[(8081, Healthy)]).await;
    register.assert_alive();
}

/// A proxy on the same machine would have the port before the program has it.
pub(crate) async fn an_instance_is_registered_when_its_program_listens(mut bench: Bench) {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let command = runs_until(&bench.file("end"), 0);
    let waits = ["--port-wait", NEVER, "--", "sh", "-c", &command];
    let register = bench.register(free.port(), &waits);
    until("it waits", async || holds(register.output().contains("nothing listens there"), register.output()))
        .await;
    let mut other = bench.register(1, &["--drain-time", "0s"]);
    bench.sees(&[(1, Healthy)]).await;
    let program = TcpListener::bind(free).unwrap();
    bench.sees(&[(1, Healthy), (free.port(), Healthy)]).await;
    // One that comes later is told that it cannot have the port.
    let late =
        bench.register(free.port(), &["--id", "late", "--port-wait", NEVER, "--", "sh", "-c", &command]);
    until("it is said", async || {
        holds(late.output().contains("something listens there already"), late.output())
    })
    .await;
    drop(program);
    other.assert_alive();
}

pub(crate) async fn what_is_killed_goes_after_its_ttl(mut bench: Bench) {
    let mut register = bench.register(8081, &["--ttl", "2s"]);
    bench.sees(&[(8081, Healthy)]).await;
    register.kill();
    if bench.marks_first() {
        bench.sees(&[(8081, Unhealthy)]).await;
    } else {
        bench.sees(&[]).await;
    }
}

pub(crate) async fn a_restart_of_the_registry_is_survived(mut bench: Bench) {
    let serves = bench.file("serves");
    fs::write(&serves, "").unwrap();
    let check = format!("exec:test -e '{}' || exit 2", serves.display());
    let often = ["--ttl", "3s", "--check", &check, "--check-interval", "100ms", "--check-failures", "1"];
    let mut register = bench.register(8081, &often);
    bench.sees(&[(8081, Healthy)]).await;
    bench.kill_server();
    until("the outage is noticed", async || {
        holds(register.output().contains("registration failed"), register.output())
    })
    .await;
    // What changes while nobody can be told is told afterwards.
    fs::remove_file(&serves).unwrap();
    bench.restart_server().await;
    bench.sees(&[(8081, Unhealthy)]).await;
    fs::write(&serves, "").unwrap();
    bench.sees(&[(8081, Healthy)]).await;
    register.assert_alive();
}

pub(crate) async fn a_registry_that_is_not_there_yet_is_waited_for(mut bench: Bench) {
    bench.kill_server();
    let mut register = bench.register(8081, &["--ttl", "3s"]);
    until("the registry is missed", async || {
        register.assert_alive();
        holds(register.output().contains("registration failed"), register.output())
    })
    .await;
    bench.restart_server().await;
    bench.sees(&[(8081, Healthy)]).await;
}

pub(crate) async fn a_registry_that_is_gone_at_the_end_is_left_to_the_ttl(mut bench: Bench) {
    let mut register = bench.register(8081, &["--drain-time", NEVER]);
    bench.sees(&[(8081, Healthy)]).await;
    // Others see it before it has the registry's answer to the last of its requests.
    until("it was told that it is registered", async || {
        let said = register.output();
        holds(said.contains("journal: registered "), said)
    })
    .await;
    bench.kill_server();
    register.signal("TERM");
    assert_eq!(register.ended().await.code(), Some(1));
    let said = register.output();
    let remains = if bench.marks_first() {
        "in Consul it is critical after 10s, and removed 60s later"
    } else {
        "etcd removes it within 10s, when its lease ends"
    };
    assert!(said.contains(&format!("not removed: {remains}")), "{said}");
}

pub(crate) async fn the_end_of_a_command_removes_it_at_once(mut bench: Bench) {
    let end = bench.file("end");
    let command = runs_until(&end, 7);
    let mut register = bench.register(8081, &["--drain-time", NEVER, "--", "sh", "-c", &command]);
    bench.sees(&[(8081, Healthy)]).await;
    fs::write(&end, "").unwrap();
    bench.sees(&[]).await;
    assert_eq!(register.ended().await.code(), Some(7));

    let mut killed = bench.register(8082, &["--", "sh", "-c", "kill -9 $$"]);
    assert_eq!(killed.ended().await.code(), Some(128 + 9));
    let mut missing = bench.register(8083, &["--", "./no-such-program"]);
    assert_eq!(missing.ended().await.code(), Some(127));
    assert!(missing.output().contains("./no-such-program cannot be started"), "{}", missing.output());
}

pub(crate) async fn a_signal_reaches_the_command_when_it_has_drained(mut bench: Bench) {
    let told = bench.file("told");
    let command = format!("trap 'touch \"{}\"; exit 3' TERM; while :; do sleep 0.05; done", told.display());
    let mut register = bench.register(8081, &["--drain-time", DRAIN, "--", "sh", "-c", &command]);
    bench.sees(&[(8081, Healthy)]).await;
    register.signal("TERM");
    bench.sees(&[(8081, Draining)]).await;
    assert!(!told.exists(), "it still serves");
    bench.sees(&[]).await;
    assert_eq!(register.ended().await.code(), Some(3));
    assert!(told.exists());
}

/// Waits until the process whose id is in that file is gone.
pub(super) async fn is_gone(pid: &Path) {
    let process = format!("/proc/{}", fs::read_to_string(pid).unwrap().trim());
    until("the command is gone too", async || {
        let status = fs::read_to_string(format!("{process}/stat")).unwrap_or_default();
        holds(status.is_empty() || status.contains(") Z "), status)
    })
    .await;
}

pub(crate) async fn the_command_ends_when_pilot_is_killed(mut bench: Bench) {
    let (pid, told) = (bench.file("pid"), bench.file("told"));
    // It is asked, before it is killed: the shell ends only when its sleep, in the same group, has.
    let command = format!(
        "trap 'touch \"{}\"; exit 3' TERM; echo $$ > '{}'; while :; do sleep 0.05; done",
        told.display(),
        pid.display()
    );
    let mut register = bench.register(8081, &["--ttl", "2s", "--", "sh", "-c", &command]);
    bench.sees(&[(8081, Healthy)]).await;
    until("the command runs", async || holds(pid.exists(), "no")).await;
    register.kill();
    is_gone(&pid).await;
    assert!(told.exists());
}

/// Waits until what was in the registry before this call has been seen: another instance comes after it.
async fn still_sees_healthy(bench: &mut Bench) {
    let mut marker = bench.register(8099, &["--drain-time", "0s"]);
    bench.sees(&[(8081, Healthy), (8099, Healthy)]).await;
    marker.signal("TERM");
    assert_eq!(marker.ended().await.code(), Some(0));
    bench.sees(&[(8081, Healthy)]).await;
}

pub(crate) async fn the_end_of_one_of_two_with_the_same_id_leaves_the_other(mut bench: Bench) {
    let same = ["--id", "one", "--ttl", "2s", "--drain-time", "0s"];
    let mut first = bench.register(8081, &same);
    bench.sees(&[(8081, Healthy)]).await;
    let mut second = bench.register(8081, &same);
    until("the second is registered", async || {
        holds(second.output().matches("registered").count() >= 1, second.output())
    })
    .await;
    first.signal("TERM");
    assert_eq!(first.ended().await.code(), Some(0));
    still_sees_healthy(&mut bench).await;
    second.assert_alive();
}

pub(crate) async fn what_is_deregistered_while_it_lives_comes_back(mut bench: Bench) {
    let mut register = bench.register(8081, &["--id", "one", "--ttl", "2s"]);
    bench.sees(&[(8081, Healthy)]).await;
    let output = bench.run(&["deregister", "--service", SERVICE, "--id", "one"]);
    assert!(output.status.success(), "{output:?}");
    still_sees_healthy(&mut bench).await;
    register.assert_alive();
}

pub(crate) async fn instances_on_one_machine_do_not_disturb_each_other(mut bench: Bench) {
    let mut first = bench.register(8081, &["--drain-time", "0s"]);
    let mut second = bench.register(8082, &["--drain-time", "0s"]);
    bench.sees(&[(8081, Healthy), (8082, Healthy)]).await;
    first.signal("INT");
    assert_eq!(first.ended().await.code(), Some(0));
    bench.sees(&[(8082, Healthy)]).await;
    second.assert_alive();
}

pub(crate) async fn once_is_for_good(mut bench: Bench) {
    let instance = ["--service", SERVICE, "--address", "127.0.0.1", "--port", "8081", "--id", "one"];
    let output = bench.run(&[&["register", "--once"], &instance[..]].concat());
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("pilot deregister --registry east --service payments --id one"), "{said}");
    bench.until("one endpoint", |found| found.keys().eq(&[8081])).await;
    // It is not of those that have a ttl: one that has comes and goes meanwhile.
    let mut other = bench.register(8082, &["--ttl", "2s"]);
    bench.until("both", |found| found.keys().eq(&[8081, 8082])).await;
    other.kill();
    bench.until("the other not in force", |found| found.get(&8082).is_none_or(|it| *it == Unhealthy)).await;
    bench.until("the first still there", |found| found.get(&8081).is_some_and(|it| *it != Unhealthy)).await;

    let deregister = ["deregister", "--service", SERVICE, "--id", "one"];
    let output = bench.run(&deregister);
    assert!(output.status.success(), "{output:?}");
    bench.until("it is gone", |found| !found.contains_key(&8081)).await;
    let again = bench.run(&deregister);
    assert_eq!(again.status.code(), Some(1), "{again:?}");
    assert!(String::from_utf8_lossy(&again.stderr).contains("has no instance one"), "{again:?}");

    bench.kill_server();
    let down = bench.run(&[&["register", "--once"], &instance[..]].concat());
    assert_eq!(down.status.code(), Some(1), "{down:?}");
    assert!(String::from_utf8_lossy(&down.stderr).contains("registry east"), "{down:?}");
}

/// What pilot is for a registry is nobody else's business.
pub(crate) async fn programs_do_not_get_pilots_secrets(mut bench: Bench) {
    let (seen, checked) = (bench.file("seen"), bench.file("checked"));
    // Whole or not there.
    let write = |to: &Path| format!("env > '{0}.new' && mv '{0}.new' '{0}'", to.display());
    let check = format!("exec:{}", write(&checked));
    let program = format!("{}; exec sleep 3600", write(&seen));
    let environment = [
        ("OTHERS_TOKEN", "s3cret-1"),
        // A token of no registry is ignored, and is one all the same.
        ("PILOT_REGISTRY_GONE_CONSUL_TOKEN", "s3cret-2"),
        ("CONSUL_HTTP_TOKEN", "s3cret-3"),
        ("OWN", "open"),
    ];
    let table = "[registry.other.consul]\naddress = \"http://127.0.0.1:1\"\ntoken_env = \"OTHERS_TOKEN\"\n\
                 [registry.third.etcd]\nendpoints = [\"http://127.0.0.1:1\"]\nuser = \"a\"\npassword_env = \"CONSUL_HTTP_TOKEN\"\n";
    let further = ["--check", &check, "--", "sh", "-c", &program];
    let _register = bench.register_with(8081, &further, table, &environment);
    bench.sees(&[(8081, Healthy)]).await;
    until("the program has written its environment", async || holds(seen.exists(), "not yet")).await;
    for file in [&seen, &checked] {
        let environment = fs::read_to_string(file).unwrap();
        assert!(environment.contains("OWN=open") && !environment.contains("s3cret"), "{environment}");
    }
}
