//! `framegate access`: tokens for the access file, and the file checked.

use std::fs;

use framegate::wire::Scheme;

use crate::cli::{framegate, refused};

fn said(args: &[&str], code: i32) -> (String, String) {
    let output = framegate(args);
    let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert_eq!(output.status.code(), Some(code), "{args:?}: {out}\n{err}");
    (out, err)
}

#[test]
fn a_token_and_the_lines_for_the_file() {
    let (out, err) = said(&["access", "new-token", "pump-17"], 0);
    assert_eq!(err, "");
    let lines: Vec<&str> = out.lines().collect();
    let [token, table, key] = lines[..] else { panic!("{out}") };
    assert!(token.starts_with("fgt_") && token.len() == 47, "{token}");
    assert_eq!(table, "[who.pump-17]");
    let digest: String =
        Scheme::Sha256.digest(token.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(key, format!("token-sha256 = [\"{digest}\"]"));
    let (other, _) = said(&["access", "new-token", "pump-17"], 0);
    assert_ne!(other.lines().next(), Some(token), "each is another");
    // What is printed is a file, once it has a right.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.toml");
    let path = path.to_str().unwrap();
    fs::write(path, format!("{table}\n{key}\npublish = [\"plant.{{name}}.>\"]\n")).unwrap();
    let (out, err) = said(&["access", "check", path], 0);
    assert!(out.contains("\n  publish    plant.pump-17.>\n") && err.is_empty(), "{out}{err}");
    // And the token itself is refused there, and not shown.
    fs::write(path, format!("{table}\ntoken-sha256 = [\"{token}\"]\n")).unwrap();
    let (_, err) = said(&["access", "check", path], 2);
    assert!(err.contains("line 2: identity pump-17, token-sha256: this is the token itself"), "{err}");
    assert!(!err.contains(token), "{err}");
}

#[test]
fn names_that_topics_cannot_have_are_refused() {
    for name in ["", "a.b", "a*", "a b", "{name}", "a\nb"] {
        refused(&["access", "new-token", name], 2, &["NAME: "]);
    }
    refused(&["access", "new-token"], 2, &["NAME"]);
    refused(&["access", "new-tokn", "a"], 2, &["new-token"]);
    refused(&["access"], 2, &["subcommand"]);
}

const FILE: &str = r#"revoked = ["pump-3", "pump-4"]

[default]
subscribe = ["public.>"]

[who.pump-3]
cert = "cn:pump-3"
publish = "plant.{name}"

[who.tracker]
from = ["10.1.0.0/16"]
field = { imei = "356307042441013" }
publish = ["at.{name}"]
subscribe = ["cmd.{name}.>", "news"]
durable = ["{name}"]
until = 9000-01-01T00:00:00+01:00
"#;

#[test]
fn a_file_is_shown_as_it_will_be_understood() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.toml");
    let path = path.to_str().unwrap();
    fs::write(path, FILE).unwrap();
    let (out, err) = said(&["access", "check", path], 0);
    let expected = format!(
        "without an identity (default)
  publish    nothing
  subscribe  public.>
  durable    nothing

pump-3
  known by   cn:pump-3
  publish    plant.pump-3
  subscribe  nothing
  durable    nothing
  refused    pump-3 is revoked

tracker
  known by   from 10.1.0.0/16, field imei=356307042441013
  publish    at.tracker
  subscribe  cmd.tracker.>, news
  durable    tracker
  until      8999-12-31T23:00:00Z

{path} is right: 2 identities, 1 refused, 2 warnings
"
    );
    assert_eq!(out, expected);
    for part in [
        "line 1: revoked: there is no identity \"pump-4\": did you mean pump-3?",
        "line 11: identity tracker, from: a connection from there is this identity without its field",
    ] {
        assert!(err.contains(part), "{err}");
    }
    assert_eq!(err.lines().count(), 2, "{err}");
    let (out, _) = said(&["access", "check", "--json", path], 0);
    let lines: Vec<serde_json::Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0]["name"], serde_json::Value::Null);
    assert_eq!((&lines[1]["name"], &lines[1]["refused"]), (&"pump-3".into(), &"pump-3 is revoked".into()));
    assert_eq!((&lines[2]["durable"][0], &lines[2]["from"][0]), (&"tracker".into(), &"10.1.0.0/16".into()));
}

#[test]
fn every_mistake_is_a_line_and_the_exit_code_is_2() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.toml");
    let path = path.to_str().unwrap();
    fs::write(path, "[who.a]\npubish = 'x'\ncert = 'a'\n\n[who.b]\npublish = 'a.{nmae}'\n").unwrap();
    let (out, err) = said(&["access", "check", path], 2);
    assert_eq!(out, "");
    let expected = [
        "2: identity a: unknown key pubish: did you mean publish?",
        "3: identity a, cert: \"a\" does not say which name of a certificate: write \"cn:a\"",
        "6: identity b, publish: unknown {nmae} in \"a.{nmae}\": did you mean {name}?",
    ];
    let expected = expected.map(|said| format!("framegate: {path} line {said}"));
    assert_eq!(err.lines().collect::<Vec<_>>(), expected);
    fs::write(path, b"[who.a]\ncert = \"cn:\xff\"\n").unwrap();
    refused(&["access", "check", path], 2, &["line 2: it is not UTF-8"]);
    fs::write(path, "").unwrap();
    refused(&["access", "check", path], 2, &["nobody could connect"]);
    refused(
        &["access", "check", "/nowhere/access.toml"],
        2,
        &["/nowhere/access.toml: ", "give an access file"],
    );
    refused(&["access", "check", folder.path().to_str().unwrap()], 2, &["give an access file"]);
    refused(&["access", "check"], 2, &["FILE"]);
}
