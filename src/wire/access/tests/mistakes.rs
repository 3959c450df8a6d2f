//! Each mistake that a person makes is said in a line, with the place and the mend.

use super::{filled, now};
use crate::core::limits::ACCESS_BYTES;
use crate::wire::access::Access;

fn problems(text: &str) -> Vec<String> {
    let said = Access::parse(filled(text).as_bytes(), "a.toml", now()).expect_err(text);
    said.iter().map(ToString::to_string).collect()
}

fn warnings(text: &str) -> Vec<String> {
    let (_, said) =
        Access::parse(filled(text).as_bytes(), "a.toml", now()).unwrap_or_else(|said| panic!("{}", said[0]));
    said.iter().map(ToString::to_string).collect()
}

/// Of `[who.a]` with a line below it, what is said.
fn of_line(line: &str, expected: &str) {
    let text = format!("[who.a]\ncert = 'cn:a'\n{line}\n");
    assert_eq!(problems(&text), [format!("a.toml line 3: identity a, {expected}")], "{line}");
}

#[test]
fn keys() {
    for (line, expected) in [
        ("pubish = 'a'", "unknown key pubish: did you mean publish?"),
        (
            "qqq = 'a'",
            "unknown key qqq: there are token-sha256, cert, from, field, publish, subscribe, durable, until",
        ),
        (
            "revoked = ['a']",
            "unknown key revoked: it stands at the top of the file, above the first line in brackets: revoked = [\"NAME\"]",
        ),
        (
            "token = 'fgt_x'",
            "unknown key token: the file has the token's SHA-256 alone, in token-sha256; framegate access new-token a prints both",
        ),
        ("17 = { cert = 'cn:b' }", "unknown table 17: the name of an identity has no '.': write [who.a-17]"),
    ] {
        let text = format!("[who.a]\ncert = 'cn:a'\n{line}\n");
        assert_eq!(problems(&text), [format!("a.toml line 3: identity a: {expected}")], "{line}");
    }
    for (text, expected) in [
        (
            "",
            "line 1: it says nothing, so nobody could connect: write [who.NAME] for each identity, or [default]",
        ),
        ("[pump-17]\npublish = 'a'", "line 1: unknown table [pump-17]: an identity is written [who.pump-17]"),
        ("revokd = ['a']", "line 1: unknown name revokd: did you mean revoked?"),
        ("[defalt]", "line 1: unknown name defalt: did you mean [default]?"),
        ("x = 1", "line 1: unknown name x: the file has [default], [who.NAME] and revoked alone"),
        ("who = 'a'", "line 1: who: an identity has a name: write [who.NAME]"),
        ("[[who]]", "line 1: who: an identity has a name: write [who.NAME]"),
        ("who.a = 'b'", "line 1: identity a: it is text: write [who.a]"),
        ("default = true", "line 1: default: it is not a table: write [default]"),
        (
            "[default]\ncert = 'cn:a'",
            "line 2: default: unknown key cert: there are publish, subscribe, durable",
        ),
        ("revoked = 'a'", "line 1: revoked: it is text: write a list, as in revoked = [\"pump-3\"]"),
        ("revoked = [\n1]", "line 2: revoked: it holds a number: write names in quotes"),
        (
            "[who.'a.b']",
            "line 1: identity a.b: \"a.b\" holds a '.', and a name is one token of a topic: write letters, digits, - and _, as in pump-17",
        ),
        (
            "[who.'a*']",
            "line 1: identity a*: \"a*\" holds a wildcard: write letters, digits, - and _, as in pump-17",
        ),
        (
            "[who.'a b']",
            "line 1: identity a b: \"a b\" holds a space, a brace or a control character: write letters, digits, - and _, as in pump-17",
        ),
        ("[who.'']", "line 1: identity : the name is empty: write [who.NAME]"),
        (
            "[who.a]",
            "line 1: identity a: nothing says how it is known: give it token-sha256, cert, from or field",
        ),
        (
            "[who.a]\npublish = 'x'",
            "line 1: identity a: nothing says how it is known: give it token-sha256, cert, from or field",
        ),
    ] {
        assert_eq!(problems(text), [format!("a.toml {expected}")], "{text}");
    }
}

#[test]
fn tokens() {
    let not = "it is not a SHA-256: write the 64 hexadecimal digits that framegate access new-token NAME prints, never the token itself";
    for (line, expected) in [
        ("token-sha256 = 'hush-hush'", not),
        ("token-sha256 = ['…']", not),
        ("token-sha256 = '<1><2>'", not),
        ("token-sha256 = ''", not),
        (
            "token-sha256 = 'fgt_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'",
            "this is the token itself, and who reads the file could use it: make a new one with framegate access new-token NAME, and write the lines that it prints",
        ),
        (
            "token-sha256 = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'",
            "this is the SHA-256 of an empty token: make one with framegate access new-token NAME",
        ),
        ("token-sha256 = ['<1>', '<2>', '<3>']", "3 are more than 2"),
        ("token-sha256 = 7", "it is a number: write token-sha256 = [\"64 hexadecimal digits\"]"),
        ("token-sha256 = [7]", "it holds a number: write token-sha256 = [\"64 hexadecimal digits\"]"),
        ("token-sha256 = ['<1>', '<1>']", "the same token stands here twice: leave one out"),
    ] {
        of_line(line, &format!("token-sha256: {expected}"));
    }
}

#[test]
fn certificates_networks_and_fields() {
    for (line, expected) in [
        (
            "cert = 'pump-17.plant'",
            "cert: \"pump-17.plant\" does not say which name of a certificate: write \"dns:pump-17.plant\"",
        ),
        ("cert = 'pump'", "cert: \"pump\" does not say which name of a certificate: write \"cn:pump\""),
        ("cert = 'a@b'", "cert: \"a@b\" does not say which name of a certificate: write \"email:a@b\""),
        ("cert = 'dnss:a'", "cert: unknown kind of name dnss: in \"dnss:a\": did you mean dns:?"),
        (
            "cert = 'spiffe://a/b'",
            "cert: unknown kind of name spiffe: in \"spiffe://a/b\": a URI is written \"uri:spiffe://a/b\"",
        ),
        ("cert = 'dns:*.a'", "cert: \"dns:*.a\": a wildcard names nobody: write one host's whole name"),
        (
            "cert = 'dns:'",
            "cert: \"dns:\" has no name behind dns:, or spaces around it: write it as the certificate has it",
        ),
        (
            "cert = 'dns: a'",
            "cert: \"dns: a\" has no name behind dns:, or spaces around it: write it as the certificate has it",
        ),
        (
            "cert = 'spki:AB:CD'",
            "cert: \"spki:AB:CD\" is not a SHA-256: write 64 hexadecimal digits, those of the certificate's public key in DER, without colons",
        ),
        ("cert = 'email:a'", "cert: \"email:a\" is not an e-mail address: write \"email:NAME@HOST\""),
        (
            "cert = 'uri:a'",
            "cert: \"uri:a\" is not a URI: write all of it, such as \"uri:spiffe://plant/pump-17\"",
        ),
        ("cert = ['cn:a', 'cn:a']", "cert: cn:a stands here twice: leave one out"),
        (
            "from = '10.1.0.5/16'",
            "from: 10.1.0.5/16 has bits behind its prefix: write \"10.1.0.0/16\", or \"10.1.0.5\" for one address",
        ),
        (
            "from = '10.1'",
            "from: \"10.1\" is not a network: write it as in \"10.1.0.0/16\" or \"fd00:1::/64\"",
        ),
        (
            "from = '10.1.0.0/33'",
            "from: \"10.1.0.0/33\" is not a network: write it as in \"10.1.0.0/16\" or \"fd00:1::/64\"",
        ),
        ("from = '::ffff:10.1.0.0/112'", "from: ::ffff:10.1.0.0/112 is of IPv4: write \"10.1.0.0/16\""),
        ("field = 'imei'", "field: it is text: write field = { imei = \"356307042441013\" }"),
        ("field = { imei = 356307042441013 }", "field: the value is a number: put it in quotes"),
        ("field = { imei = '' }", "field: the value is empty"),
        (
            "field = { a = '1', b = '2' }",
            "field: it names 2 fields: name the one that the device is known by",
        ),
    ] {
        let line = line.replace("cert = ", "token-sha256 = '<1>'\ncert = ");
        let (text, at) = match line.contains("cert = ") {
            true => (format!("[who.a]\n{line}\n"), 3),
            false => (format!("[who.a]\ncert = 'cn:a'\n{line}\n"), 3),
        };
        assert_eq!(problems(&text), [format!("a.toml line {at}: identity a, {expected}")], "{line}");
    }
}

#[test]
fn patterns_and_durable_names() {
    for (line, expected) in [
        (
            "publish = 'a.>.b'",
            "publish: \"a.>.b\" is not a pattern: the pattern has a token '>' that is not the last",
        ),
        (
            "publish = 'a..b'",
            "publish: \"a..b\" is not a pattern: the topic has an empty token (a '.' at an end, or '..')",
        ),
        (
            "subscribe = ['a b']",
            "subscribe: \"a b\" is not a pattern: the topic holds ' '; no spaces or control characters",
        ),
        ("publish = 'a.{nmae}'", "publish: unknown {nmae} in \"a.{nmae}\": did you mean {name}?"),
        ("publish = 'a.{topic}'", "publish: unknown {topic} in \"a.{topic}\": there is {name} alone"),
        ("publish = 'a.{name:hex}'", "publish: unknown {name:hex} in \"a.{name:hex}\": did you mean {name}?"),
        ("publish = 'a.{name'", "publish: \"a.{name\" has braces that are not {name}"),
        ("publish = 'a.name}'", "publish: \"a.name}\" has braces that are not {name}"),
        ("publish = 7", "publish: it is a number: write publish = [\"plant.{name}.>\"]"),
        (
            "durable = '{name}.*'",
            "durable: \"a.*\" is not a durable name: write 1 to 64 of A-Z a-z 0-9 . _ -, without wildcards",
        ),
        (
            "durable = ''",
            "durable: \"\" is not a durable name: write 1 to 64 of A-Z a-z 0-9 . _ -, without wildcards",
        ),
        ("durable = [true]", "durable: it holds true or false: write durable = [\"{name}\"]"),
    ] {
        of_line(line, expected);
    }
    let long = format!("publish = '{}.{{name}}'", "x".repeat(254));
    of_line(&long, &format!("publish: \"{}\" has 256 bytes: at most 255", "x".repeat(60)));
    let text = "[default]\nsubscribe = ['a', '{name}']";
    let expected = "a.toml line 2: default.subscribe: \"{name}\": {name} is nothing in [default], which is nobody's: leave it out";
    assert_eq!(problems(text), [expected]);
    // The line is that of the item.
    let text = "[who.a]\ncert = 'cn:a'\npublish = [\n  'a',\n  'b..',\n]";
    assert!(problems(text)[0].starts_with("a.toml line 5: identity a, publish: "));
}

#[test]
fn instants() {
    const MEND: &str = "write a date, a time and its zone, as in until = 2027-01-01T00:00:00Z";
    for (line, expected) in [
        ("until = 2027-01-01", format!("2027-01-01 does not say when: {MEND}")),
        ("until = 2027-01-01T00:00:00", format!("2027-01-01T00:00:00 does not say when: {MEND}")),
        ("until = 07:00:00", format!("07:00:00 does not say when: {MEND}")),
        ("until = 'soon'", format!("\"soon\" is not an instant: {MEND}")),
        ("until = 2027", format!("it is a number: {MEND}")),
        (
            "until = 1969-12-31T00:00:00Z",
            format!("1969-12-31T00:00:00Z is not between 1970 and 9999: {MEND}"),
        ),
        (
            "until = 1970-01-01T00:00:00+01:00",
            format!("1970-01-01T00:00:00+01:00 is not between 1970 and 9999: {MEND}"),
        ),
    ] {
        of_line(line, &format!("until: {expected}"));
    }
}

#[test]
fn two_identities_have_nothing_in_common() {
    for (line, expected) in [
        (
            "token-sha256 = ['<2>', '<1>']",
            "token-sha256: the same token is identity a's too: only one identity may have it",
        ),
        ("cert = ['dns:A']", "cert: dns:a is identity a's too: only one identity may have it"),
        ("from = '10.1.0.0/16'", "from: 10.1.0.0/16 is identity a's too: only one identity may have it"),
        ("field = { imei = '1' }", "field: imei = \"1\" is identity a's too: only one identity may have it"),
    ] {
        let first =
            "[who.a]\ntoken-sha256 = '<1>'\ncert = 'dns:a'\nfrom = '10.1.0.0/16'\nfield = { imei = '1' }\n";
        let expected = format!("a.toml line 7: identity b, {expected}");
        assert_eq!(problems(&format!("{first}[who.b]\n{line}\n")), [expected]);
    }
}

#[test]
fn what_is_no_toml_says_where_and_how() {
    for (text, line, parts) in [
        ("[who.a]\ncert = cn:a", 2, &["[who.NAME], and below it KEY = \"TEXT\""][..]),
        ("[who.a]\ncert = 'cn:a'\n[who.a]\n", 3, &["duplicate", "a name stands once"]),
        ("[who.a]\npublish = ['a'", 2, &["[who.NAME]"]),
    ] {
        let said = problems(text);
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].starts_with(&format!("a.toml line {line}: ")), "{said:?}");
        assert!(parts.iter().all(|part| said[0].contains(part)), "{said:?}");
    }
    let said = |bytes: &[u8]| Access::parse(bytes, "a.toml", now()).unwrap_err()[0].to_string();
    assert_eq!(said(b"# \n# \xff"), "a.toml line 2: it is not UTF-8: save it as UTF-8 text");
    let large = vec![b'#'; ACCESS_BYTES + 1];
    assert_eq!(said(&large), "a.toml line 1: it is larger than 32 MiB: divide its devices among gateways");
}

#[test]
fn everything_is_said_at_once_in_the_order_of_the_lines() {
    let said = problems("[who.b]\ncert = 'x'\npublish = '..'\n[who.a]\nuntil = 1\nfrom = 'x'\n[x]\n");
    let lines: Vec<&str> = said.iter().filter_map(|said| said.split(' ').nth(2)).collect();
    assert_eq!(lines, ["2:", "3:", "5:", "6:", "7:"], "{said:#?}");
}

#[test]
fn what_is_probably_a_mistake_is_a_warning() {
    let known = "[who.pump-3]\ncert = 'cn:a'\npublish = 'a'\n";
    for (text, expected) in [
        (
            format!("revoked = ['pump3']\n{known}"),
            "line 1: revoked: there is no identity \"pump3\": did you mean pump-3?",
        ),
        (
            format!("revoked = ['xyz']\n{known}"),
            "line 1: revoked: there is no identity \"xyz\": it revokes nothing",
        ),
        (
            format!("{known}until = 2026-11-30T20:00:00Z"),
            "line 4: identity pump-3, until: 2026-11-30T20:00:00Z has passed: it cannot connect any more",
        ),
        (
            "[who.a]\ncert = 'cn:a'\npublish = 'plant.a*'".into(),
            "line 3: identity a, publish: \"a*\" stands for itself alone: a wildcard is a whole token, * or a last >",
        ),
        (
            "[who.a]\ncert = 'cn:a'".into(),
            "line 1: identity a: it may do nothing: give it publish or subscribe",
        ),
        (
            "[who.a]\ntoken-sha256 = '<1>'\nfrom = '10.1.0.0/16'\npublish = 'a'".into(),
            "line 3: identity a, from: a connection from there is this identity without its token-sha256: leave out one of them",
        ),
        (
            "[who.a]\nfrom = '0.0.0.0/0'\npublish = 'a'".into(),
            "line 2: identity a, from: these are all addresses: everyone is this identity",
        ),
    ] {
        assert_eq!(warnings(&text), [format!("a.toml {expected}")], "{text}");
    }
    assert_eq!(warnings(&filled(super::FILE)), [""; 0]);
    assert_eq!(warnings("[default]\npublish = '>'"), [""; 0]);
}
