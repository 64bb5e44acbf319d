//! Tests of the probes against real sockets and processes.

use std::net::Ipv4Addr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

async fn probe(check: &str, instance: SocketAddr, patience: Duration) -> Verdict {
    check.parse::<Check>().unwrap().probe(instance, patience, &[]).await
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Answers one request with that status line, and tells the request.
async fn answering(listener: TcpListener, status: &str) -> String {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut request = [0; 1024];
    let count = stream.read(&mut request).await.unwrap();
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
    stream.write_all(answer.as_bytes()).await.unwrap();
    String::from_utf8_lossy(&request[..count]).into_owned()
}

#[test]
fn checks_are_read_and_written_alike() {
    for text in ["tcp", "tcp:81", "exec:true", "http://127.0.0.1:8080/healthz?a=b", "http://[::1]:80/"] {
        assert_eq!(text.parse::<Check>().unwrap().to_string(), text);
    }
    for text in ["", "http://", "tcp:", "tcp:0", "exec:", "exec: ", "https://a/", "http://u@a/", "udp"] {
        assert!(text.parse::<Check>().is_err(), "{text:?}");
    }
}

#[tokio::test]
async fn http_passes_with_2xx_and_warns_with_429() {
    for (status, wanted) in [
        ("200 OK", Some(Verdict::Pass)),
        ("204 No Content", Some(Verdict::Pass)),
        ("429 Too Many Requests", Some(Verdict::Warn("429 Too Many Requests".into()))),
        ("503 Service Unavailable", Some(Verdict::Fail("503 Service Unavailable".into()))),
        ("302 Found", Some(Verdict::Fail("302 Found".into()))),
        ("nonsense", None),
    ] {
        let (listener, address) = listener().await;
        let check = format!("http://{address}/healthz");
        let (verdict, request) = tokio::join!(probe(&check, address, PATIENCE), answering(listener, status));
        assert!(request.starts_with("GET /healthz HTTP/1.1\r\n"), "{request}");
        assert!(request.contains(&format!("host: {address}\r\n")), "{request}");
        match wanted {
            Some(wanted) => assert_eq!(verdict, wanted),
            None => assert!(matches!(verdict, Verdict::Fail(_)), "{verdict:?}"),
        }
    }
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_a_failure() {
    let (_listening, address) = listener().await;
    let patience = Duration::from_millis(50);
    for check in [format!("http://{address}/"), "exec:exec sleep 3600".into()] {
        let verdict = probe(&check, address, patience).await;
        assert_eq!(verdict, Verdict::Fail("no answer within 50ms".into()), "{check}");
    }
}

#[tokio::test]
async fn a_connection_is_enough_for_tcp() {
    let (listening, address) = listener().await;
    let elsewhere = SocketAddr::new(address.ip(), 1);
    assert_eq!(probe("tcp", address, PATIENCE).await, Verdict::Pass);
    assert_eq!(probe(&format!("tcp:{}", address.port()), elsewhere, PATIENCE).await, Verdict::Pass);
    drop(listening);
    assert!(matches!(probe("tcp", address, PATIENCE).await, Verdict::Fail(_)));
}

#[tokio::test]
async fn exit_codes_mean_what_they_mean_to_consul() {
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
    assert_eq!(probe("exec:true", nowhere, PATIENCE).await, Verdict::Pass);
    let warned = probe("exec:echo nearly full >&2; exit 1", nowhere, PATIENCE).await;
    assert_eq!(warned, Verdict::Warn("exit status: 1: nearly full".into()));
    let failed = probe("exec:echo; echo full; exit 2", nowhere, PATIENCE).await;
    assert_eq!(failed, Verdict::Fail("exit status: 2: full".into()));
    let killed = probe("exec:kill -9 $$", nowhere, PATIENCE).await;
    assert!(matches!(&killed, Verdict::Fail(why) if why.contains("signal: 9")), "{killed:?}");
}

#[tokio::test]
async fn a_command_that_writes_much_or_leaves_something_running_is_not_waited_for() {
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
    let much = "exec:head -c 1000000 /dev/zero; echo";
    assert_eq!(probe(much, nowhere, PATIENCE).await, Verdict::Pass);
    let left = "exec:sleep 20 & exit 0";
    assert_eq!(probe(left, nowhere, PATIENCE).await, Verdict::Pass);
}

#[tokio::test]
async fn a_command_that_is_late_is_killed_with_what_it_has_started() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pids");
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
    let check = format!("exec:sleep 3600 & echo $! $$ > '{}'; wait", file.display());
    let check: Check = check.parse().unwrap();
    // As late as it takes until its processes are there.
    let pids = tokio::select! {
        verdict = check.probe(nowhere, Duration::from_secs(3600), &[]) => panic!("{verdict:?}"),
        pids = written(&file) => pids,
    };
    for pid in pids {
        gone(pid).await;
    }
}

async fn written(file: &std::path::Path) -> Vec<u32> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        if text.ends_with('\n') {
            return text.split_whitespace().map(|pid| pid.parse().unwrap()).collect();
        }
        assert!(Instant::now() < deadline, "{text:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until the process has ended, be it that nobody has asked how.
async fn gone(pid: u32) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let state = status.rsplit(") ").next().and_then(|rest| rest.chars().next());
        if matches!(state, None | Some('Z' | 'X')) {
            return;
        }
        assert!(Instant::now() < deadline, "{pid} runs: {status}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
