//! Texts that are made to cost much: depth, repetition, size, numbers without bounds. What they cost is bounded.

use std::fmt::Write;
use std::time::Duration;

use pilot::rules::Document;
use pilot_registry_testkit::effort;
use tokio::time::Instant;

use super::exercise::exercise;

/// For one text, in a build for tests on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// The stack of the threads that read rules.
const STACK: usize = 2 << 20;

/// The documents of a text, read on a thread with a stack as small as those of pilot.
fn reads(text: String) -> Vec<Document> {
    let began = Instant::now();
    let read_it = move || exercise(text.as_bytes());
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(read_it).unwrap();
    let documents = thread.join().unwrap();
    assert!(began.elapsed() < LIMIT, "it took {:?}", began.elapsed());
    documents
}

/// It is rejected, in words that contain this.
#[track_caller]
fn is_rejected(text: String, word: &str) {
    let documents = reads(text);
    let said = format!("{:?}", documents.iter().flat_map(|it| &it.findings).collect::<Vec<_>>());
    let is_so = documents.iter().all(|document| document.spec.is_none()) && said.contains(word);
    assert!(is_so, "expected {word:?}: {}", said.chars().take(2000).collect::<String>());
}

fn document(kind: &str, spec: &str) -> String {
    format!("apiVersion: networking.istio.io/v1\nkind: {kind}\nmetadata: {{name: a}}\nspec:\n{spec}")
}

#[test]
fn depth_is_bounded() {
    for (open, close) in [("[", "]"), ("{a: ", "}"), ("- ", ""), ("? ", ""), ("{kind: List, items: [", "]}")]
    {
        for depth in [40, 100_000] {
            is_rejected(open.repeat(depth) + &close.repeat(depth), "it nests too deeply");
            let text = format!("  host: {}{}", open.repeat(depth), close.repeat(depth));
            let why = if matches!(open, "- " | "? ") { "where no" } else { "it nests too deeply" };
            is_rejected(document("DestinationRule", &text), why);
        }
    }
    let indented: String = (0..3000).map(|n| format!("{}a:\n", " ".repeat(n))).collect();
    is_rejected(indented, "it nests too deeply");
}

#[test]
fn aliases_repeat_little() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..30 {
        let before = format!("*a{}", n - 1);
        writeln!(bomb, "a{n}: &a{n} [{}]", [before.as_str(); 10].join(", ")).unwrap();
    }
    is_rejected(bomb, "aliases (*name) repeat more than is read");
    is_rejected("a: &a [*a]".to_owned(), "aliases (*name) repeat more than is read");
    is_rejected("a: &a {<<: *a}".to_owned(), "aliases (*name) repeat more than is read");
    let merged: String = (1..40).map(|n| format!("a{n}: &a{n} {{<<: *a{}, k{n}: 1}}\n", n - 1)).collect();
    is_rejected(format!("a0: &a0 {{k: 1}}\n{merged}"), "");
}

#[test]
fn numbers_and_durations_are_bounded() {
    let many = "9".repeat(100_000);
    for number in
        [".nan", ".inf", "-.inf", "1e400", "-1", "1.5", "18446744073709551616", "0x1ffffffff", &many]
    {
        let weight =
            format!("  hosts: [a]\n  http: [{{route: [{{destination: {{host: a}}, weight: {number}}}]}}]\n");
        is_rejected(document("VirtualService", &weight), "");
        let share = format!(
            "  hosts: [a]\n  http: [{{fault: {{abort: {{httpStatus: 500, percentage: {{value: {number}}}}}}}, route: \
             [{{destination: {{host: a}}}}]}}]\n"
        );
        if number != "1.5" {
            is_rejected(document("VirtualService", &share), "");
        }
    }
    for duration in [
        "NaNs",
        ".nan",
        "1e400s",
        "infs",
        "-1s",
        "99999999999999999999h",
        "9000h",
        "1ns",
        &format!("{many}s"),
    ] {
        let timeout = format!(
            "  hosts: [a]\n  http: [{{timeout: {duration}, route: [{{destination: {{host: a}}}}]}}]\n"
        );
        is_rejected(document("VirtualService", &timeout), "");
    }
}

#[test]
fn what_is_said_of_a_document_is_bounded() {
    let count = effort(2_000, 50_000);
    let fields = |line: &dyn Fn(usize) -> String| (0..count).map(line).collect::<String>();
    let unknown =
        document("DestinationRule", &format!("  host: a\n{}", fields(&|n| format!("  hosst{n}: 1\n"))));
    let names = fields(&|n| format!("      \"é{n}\": {{}}\n"));
    let headers =
        document("VirtualService", &format!("  hosts: [a]\n  http:\n  - match:\n    - headers:\n{names}"));
    let routes = document(
        "VirtualService",
        &format!("  hosts: [a]\n  http:\n{}", fields(&|_| "  - {name: a}\n".into())),
    );
    let old = fields(&|n| format!("  - {{name: a{n}, direct_response: {{status: 200}}}}\n"));
    let warned = document("VirtualService", &format!("  hosts: [a]\n  http:\n{old}"));
    for (text, is_wrong) in [(unknown, true), (headers, true), (routes, true), (warned, false)] {
        let documents = reads(text);
        assert_eq!((documents.len(), documents[0].spec.is_none()), (1, is_wrong));
        let findings = &documents[0].findings;
        assert!((50..=202).contains(&findings.len()), "{}", findings.len());
        assert!(
            findings.iter().any(|finding| finding.message.contains("more than")),
            "{:?}",
            findings.last()
        );
    }
    let long = "x".repeat(effort(100_000, 2_000_000));
    for spec in [
        format!("  host: a\n  {long}: 1\n"),
        format!("  host: {long}\n"),
        format!("  host: a\n  subsets: {long}\n"),
    ] {
        let documents = reads(document("DestinationRule", &spec));
        let said: usize = documents[0].findings.iter().map(|finding| finding.to_string().len()).sum();
        assert!(documents[0].spec.is_none() && said < 10_000, "{said} bytes are said of it");
    }
}

#[test]
fn large_documents_take_time_in_proportion() {
    let count = effort(2_000, 50_000);
    let hosts: Vec<_> = (0..count).map(|n| format!("h{n}.local")).collect();
    let text = document(
        "VirtualService",
        &format!("  hosts: [{}]\n  http: [{{directResponse: {{status: 200}}}}]\n", hosts.join(", ")),
    );
    assert!(reads(text)[0].spec.is_some());
    let routes: String = (0..count / 4)
        .map(|n| format!("  - {{match: [{{uri: {{prefix: /p{n}}}}}], directResponse: {{status: 200}}}}\n"))
        .collect();
    assert!(reads(document("VirtualService", &format!("  hosts: [a]\n  http:\n{routes}")))[0].spec.is_some());
    let subsets: String =
        (0..count / 4).map(|n| format!("  - {{name: s{n}, labels: {{v: s{n}}}}}\n")).collect();
    assert!(
        reads(document("DestinationRule", &format!("  host: a\n  subsets:\n{subsets}")))[0].spec.is_some()
    );
    // All of one host.
    let many: String = (0..effort(300, 5000))
        .map(|n| {
            format!(
                "---\n{}",
                document("DestinationRule", "  host: a\n").replace("name: a", &format!("name: a{n}"))
            )
        })
        .collect();
    assert!(reads(many).iter().all(|document| document.spec.is_some()));
}

#[test]
fn regular_expressions_are_bounded() {
    for regex in [
        "((((a{1000}){1000}){1000}){1000})",
        &"(".repeat(1024),
        &"(a|b)*".repeat(300),
        "[[:word:]",
        "\\pL{1000}{1000}",
    ] {
        let spec = format!(
            "  hosts: [a]\n  http: [{{match: [{{uri: {{regex: '{regex}'}}}}], directResponse: {{status: 200}}}}]\n"
        );
        _ = reads(document("VirtualService", &spec));
    }
}
