//! The schemas against the parser: what one refuses, the other does.

use std::process::{Command, Stdio};

use serde_json::{Map, Value, json};

use super::*;

/// Whether a value is as the schema wants it. Knows the keywords that these schemas have, and no other.
fn fits(root: &Value, schema: &Value, value: &Value) -> bool {
    let keywords = schema.as_object().unwrap();
    keywords.iter().all(|(keyword, wanted)| fits_one(root, keywords, (keyword, wanted), value))
}

fn fits_one(
    root: &Value,
    siblings: &Map<String, Value>,
    (keyword, wanted): (&str, &Value),
    value: &Value,
) -> bool {
    let object = value.as_object();
    let list = || wanted.as_array().unwrap();
    let has = |name: &Value| object.is_none_or(|object| object.contains_key(name.as_str().unwrap()));
    match keyword {
        "$schema" | "$defs" | "title" | "description" | "default" | "format" => true,
        "$ref" => {
            let target = wanted.as_str().unwrap().trim_start_matches('#');
            fits(root, root.pointer(target).unwrap(), value)
        }
        "type" => match wanted {
            Value::Array(any) => any.iter().any(|wanted| is_a(wanted, value)),
            one => is_a(one, value),
        },
        "enum" => list().contains(value),
        "minimum" => value.as_i64().is_none_or(|number| number >= wanted.as_i64().unwrap()),
        "maximum" => value.as_i64().is_none_or(|number| number <= wanted.as_i64().unwrap()),
        "minLength" => value.as_str().is_none_or(|text| text.len() as u64 >= wanted.as_u64().unwrap()),
        "minItems" => value.as_array().is_none_or(|list| list.len() as u64 >= wanted.as_u64().unwrap()),
        "minProperties" => object.is_none_or(|object| object.len() as u64 >= wanted.as_u64().unwrap()),
        "pattern" => value.as_str().is_none_or(|text| matches(wanted.as_str().unwrap(), text)),
        "items" => value.as_array().is_none_or(|list| list.iter().all(|one| fits(root, wanted, one))),
        "required" => list().iter().all(has),
        "dependentRequired" => wanted.as_object().unwrap().iter().all(|(name, needs)| {
            object.is_none_or(|object| !object.contains_key(name))
                || needs.as_array().unwrap().iter().all(has)
        }),
        "not" => !fits(root, wanted, value),
        "properties" => object
            .into_iter()
            .flatten()
            .all(|(name, value)| wanted.get(name).is_none_or(|schema| fits(root, schema, value))),
        "propertyNames" => object.into_iter().flatten().all(|(name, _)| fits(root, wanted, &json!(name))),
        "additionalProperties" => {
            let named = siblings.get("properties");
            let others = object.into_iter().flatten();
            let mut others = others.filter(|(name, _)| named.is_none_or(|named| named.get(name).is_none()));
            others.all(|(_, value)| wanted.as_bool().unwrap_or_else(|| fits(root, wanted, value)))
        }
        other => panic!("the test does not know {other:?}"),
    }
}

fn is_a(wanted: &Value, value: &Value) -> bool {
    match wanted.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "null" => value.is_null(),
        other => panic!("the test does not know the type {other:?}"),
    }
}

/// The patterns of these schemas mean the same to `grep -E`.
fn matches(pattern: &str, text: &str) -> bool {
    let mut grep = Command::new("grep");
    grep.args(["-Eq", "-e", pattern]).env("LC_ALL", "C").stdin(Stdio::piped());
    let mut grep = grep.spawn().unwrap();
    std::io::Write::write_all(&mut grep.stdin.take().unwrap(), format!("{text}\n").as_bytes()).unwrap();
    grep.wait().unwrap().success()
}

#[test]
fn the_schema_of_an_instance_refuses_what_the_parser_refuses() {
    let good = [
        json!({ "address": "10.0.0.1" }),
        json!({ "address": "2001:db8::1", "port": 80, "protocol": "grpc" }),
        json!({ "address": "unix:/run/a b.sock", "port": 65535, "ports": {} }),
        json!({ "address": "Db_1.example.com.", "ports": { "web": 80, "81": 81 }, "protocols": { "web": "http" } }),
        json!({ "address": "10.0.0.1", "weight": 1_000_000, "health": "draining", "labels": { "a": "b" } }),
        json!({ "address": "10.0.0.1", "locality": { "zone": "a" }, "identity": "spiffe://td/a" }),
    ];
    let bad = [
        json!({}),
        json!({ "address": "" }),
        json!({ "address": "x y" }),
        json!({ "address": "unix:run/a.sock" }),
        json!({ "address": format!("unix:/{}", "a".repeat(107)) }),
        json!({ "address": "http://10.0.0.1/" }),
        json!({ "address": "10.0.0.1", "port": 0 }),
        json!({ "address": "10.0.0.1", "port": 65_536 }),
        json!({ "address": "10.0.0.1", "port": 80, "ports": { "web": 80 } }),
        json!({ "address": "10.0.0.1", "ports": { "": 80 } }),
        json!({ "address": "10.0.0.1", "ports": { "web": 0 } }),
        json!({ "address": "10.0.0.1", "protocol": "http" }),
        json!({ "address": "10.0.0.1", "ports": { "web": 80 }, "protocol": "http" }),
        json!({ "address": "10.0.0.1", "port": 80, "protocol": "htp" }),
        json!({ "address": "10.0.0.1", "ports": { "web": 80 }, "protocols": { "web": "htp" } }),
        json!({ "address": "10.0.0.1", "port": 80, "protocols": { "web": "http" } }),
        json!({ "address": "10.0.0.1", "weight": 0 }),
        json!({ "address": "10.0.0.1", "weight": 1_000_001 }),
        json!({ "address": "10.0.0.1", "health": "well" }),
        json!({ "address": "10.0.0.1", "zone": "a" }),
        json!({ "address": "10.0.0.1", "locality": { "rack": "a" } }),
        json!({ "address": "10.0.0.1", "labels": { "a": 1 } }),
    ];
    let parse = |json: &[u8]| Instance::parse(json).map(drop);
    agree(&instance_schema().to_value(), parse, &good, &bad);
}

#[test]
fn the_schema_of_a_description_refuses_what_the_parser_refuses() {
    let good = [
        json!({ "ports": [{ "number": 80, "protocol": "http" }] }),
        json!({ "ports": [{ "number": 80, "name": "web", "protocol": "tcp" }], "resolution": "dns" }),
        json!({ "ports": [{ "number": 80, "protocol": "tcp" }], "virtual_addresses": ["10.0.0.1"] }),
        json!({ "ports": [{ "number": 80, "protocol": "tcp" }], "namespace": "shop", "export_to": [".", "bank"] }),
    ];
    let bad = [
        json!({}),
        json!({ "ports": [{ "number": 80 }] }),
        json!({ "ports": [{ "number": 80, "protocol": "htp" }] }),
        json!({ "ports": [{ "number": 0, "protocol": "http" }] }),
        json!({ "ports": [{ "number": 80, "name": "", "protocol": "http" }] }),
        json!({ "ports": [{ "number": 80, "protocol": "http" }], "resolution": "static" }),
        json!({ "ports": [{ "number": 80, "protocol": "http" }], "address": "10.0.0.1" }),
        json!({ "ports": [{ "number": 80, "protocol": "http" }], "export_to": [] }),
    ];
    let parse = |json: &[u8]| Description::parse(json).map(drop);
    agree(&service_schema().to_value(), parse, &good, &bad);
}

fn agree(schema: &Value, parse: impl Fn(&[u8]) -> Result<(), String>, good: &[Value], bad: &[Value]) {
    for document in good {
        assert_eq!(parse(document.to_string().as_bytes()), Ok(()), "{document}");
        assert!(fits(schema, schema, document), "the schema refuses {document}");
    }
    for document in bad {
        assert!(parse(document.to_string().as_bytes()).is_err(), "the parser takes {document}");
        assert!(!fits(schema, schema, document), "the schema takes {document}");
    }
}
