use super::*;

fn at(line: usize, column: usize) -> Position {
    Position { line, column }
}

/// The tree with its entries in their place.
fn tree(format: Format, text: &str) -> Result<Node, Mistake> {
    let Document { mut root, entries } = format.parse::<Node>(text)?;
    if let Value::Table(fields) = &mut root.value
        && let Some(list) = fields.iter_mut().find(|field| field.key == LIST)
        && let Value::List(items) = &mut list.value.value
    {
        *items = entries;
    }
    Ok(root)
}

/// Finds a value by keys and indices: `service.0.host`.
fn find<'a>(node: &'a Node, path: &str) -> &'a Node {
    path.split('.').fold(node, |node, step| match &node.value {
        Value::List(items) => &items[step.parse::<usize>().unwrap()],
        Value::Table(fields) => &fields.iter().find(|field| field.key == step).unwrap().value,
        other => panic!("no {step} in {other:?}"),
    })
}

const TOML: &str = "# ü\n[[service]]\nhost = \"ä\"\nports = [\n  { port = 80, x = 1.5 },\n]\n";
const YAML: &str = "# ü\nservice:\n- host: \"ä\"\n  ports:\n  - {port: 80, x: 1.5}\n";
const JSON: &str = "{\"service\": [\n  {\"host\": \"ä\", \"ports\": [{\"port\": 80, \"x\": 1.5}]}\n]}\n";

#[test]
fn every_format_tells_where_a_value_stands() {
    for (format, text, host, port) in [
        (Format::Toml, TOML, at(3, 8), at(5, 12)),
        (Format::Yaml, YAML, at(3, 9), at(5, 12)),
        (Format::Json, JSON, at(2, 12), at(2, 36)),
    ] {
        let root = tree(format, text).unwrap();
        let found = find(&root, "service.0.host");
        assert_eq!((found.at, &found.value), (host, &Value::Text("ä".into())), "{format:?}");
        let found = find(&root, "service.0.ports.0.port");
        assert_eq!((found.at, &found.value), (port, &Value::Integer(80)), "{format:?}");
        assert_eq!(find(&root, "service.0.ports.0.x").value, Value::Other("a fraction"), "{format:?}");
    }
}

#[test]
fn a_syntax_error_says_where() {
    for (format, text, place) in [
        (Format::Toml, "[[service]]\nhost = \n", at(2, 8)),
        (Format::Toml, "a = 1\na = 2\n", at(2, 1)),
        (Format::Yaml, "service:\n- {host: a\n", at(2, 3)),
        (Format::Yaml, "a: 1\na: 2\n", at(2, 1)),
        (Format::Json, "{\n  \"a\": }\n", at(2, 8)),
        (Format::Json, "{\"a\": 1,\n \"a\": 2}", at(2, 2)),
        (Format::Json, "{\"a\": 1,\n \"b\": \"\\ud800\"}", at(2, 14)),
        (Format::Json, "", at(1, 1)),
    ] {
        let mistake = tree(format, text).unwrap_err();
        assert_eq!(mistake.at, place, "{format:?} {text:?}: {}", mistake.message);
        assert!(!mistake.message.contains("line"), "{}", mistake.message);
    }
}

#[test]
fn yaml_may_begin_and_end_with_a_document_mark_and_several_documents_are_one_list() {
    let service = |host: &str| format!("service:\n- host: {host}\n");
    let (a, b) = (service("a"), service("b"));
    for (text, expected) in [
        (format!("---\n{a}"), vec![at(3, 9)]),
        (format!("{a}---\n"), vec![at(2, 9)]),
        (format!("{a}...\n"), vec![at(2, 9)]),
        (format!("---\n---\n{a}---\n# nothing\n---\n"), vec![at(4, 9)]),
        (format!("{a}---\n{b}"), vec![at(2, 9), at(5, 9)]),
        (format!("%YAML 1.2\n---\n{a}...\n---\nservice: []\n---\n{b}"), vec![at(4, 9), at(10, 9)]),
    ] {
        let document = Format::Yaml.parse::<Node>(&text).unwrap();
        let hosts: Vec<_> = document.entries.iter().map(|entry| find(entry, "host").at).collect();
        assert_eq!(hosts, expected, "{text:?}");
    }
}

/// The library's words are for programmers: "block mapping", "plain scalar", "budget breached".
#[test]
fn mistakes_in_yaml_are_told_in_a_users_words() {
    let aliases = |count: usize| {
        let item = "[x, x, x, x, x, x, x, x, x, x]";
        format!("a: &a {item}\nb: [{}]\n", vec!["*a"; count].join(", "))
    };
    let cases = [
        ("service:\n\t- host: a\n".to_owned(), "a tab: YAML is indented by spaces"),
        ("service:\n- host: a\n\tports: []\n".to_owned(), "a tab: YAML is indented by spaces"),
        ("service:\n- host: a\n ports: []\n".to_owned(), "begins in one column"),
        ("service:\n- host: a\n   ports: []\n".to_owned(), "is the line before indented as it should be"),
        (
            "service:\n  - host: a\n    labels: {}\n   ports: []\n".to_owned(),
            "expected a key in the column of the keys",
        ),
        ("service:\n- {host: a\n".to_owned(), "a \"{\" that is not closed"),
        ("service:\n- host: [a\n".to_owned(), "a \"[\" that is not closed"),
        ("service:\n- host: \"a\n".to_owned(), "a quote that is not closed"),
        ("service:\n- host: 'a' b\n".to_owned(), "text behind the closing quote"),
        ("service:\n- host: a\n  host: b\n".to_owned(), "key \"host\" is there twice"),
        ("service: *other\n".to_owned(), "an alias (*name) whose anchor (&name) is not there"),
        ("service:\n- host: a\n]\n".to_owned(), "a bracket that was not opened"),
        (aliases(30_000), "aliases (*name) repeat more than is read: write the values out"),
        (format!("a: {}", "[".repeat(5_000)), "it nests too deeply"),
        ("---\na: 1\n".repeat(10_001), "more documents (---) than are read from one text: use several"),
    ];
    for (text, expected) in cases {
        let mistake = tree(Format::Yaml, &text).unwrap_err();
        let start: String = text.chars().take(60).collect();
        assert!(mistake.message.contains(expected), "{start:?}: {}", mistake.message);
    }
}

#[test]
fn deep_nesting_is_refused() {
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    assert!(tree(Format::Toml, &format!("a = {deep}")).is_err());
    assert!(tree(Format::Yaml, &deep).is_err());
    assert!(tree(Format::Json, &deep).is_err());
}

#[test]
fn an_alias_bomb_is_refused() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let below = format!("*a{}", level - 1);
        text += &format!("a{level}: &a{level} [{}]\n", [below.as_str(); 10].join(", "));
    }
    let mistake = tree(Format::Yaml, &text).unwrap_err();
    assert!(mistake.at.line > 1, "{mistake:?}");
}

#[test]
fn a_place_in_one_long_line_is_found() {
    let text = "ü".repeat(1000) + "x\ny";
    let lines = Lines::new(&text);
    assert_eq!(lines.position(text.find('x').unwrap()), at(1, 1001));
    assert_eq!(lines.position(text.find('y').unwrap()), at(2, 1));
    assert_eq!(lines.position(usize::MAX), at(2, 2));
}
