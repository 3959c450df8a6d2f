//! What an access file means, and what is said of one that is wrong.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use super::*;
use crate::core::limits::{ACCESS_IDENTITIES, ACCESS_NAME, REASON_MAX};
use crate::core::units::hex;

mod mistakes;

const FILE: &str = r#"
revoked = ["pump-3"]

[default]
subscribe = ["public.>"]

[who.pump-17]
token-sha256 = ["<1>", "<2>"]
cert = ["dns:Pump-17.plant", "spki:K1"]
publish = ["plant.{name}.>"]
subscribe = ["cmd.{name}.>", "news.*"]
durable = ["{name}", "{name}-2"]
until = 2027-01-01T01:00:00+01:00

[who.pump-3]
token-sha256 = "<3>"
publish = "plant.{name}"

[who.yard]
from = ["10.1.0.0/16", "fd00:1::/64"]
publish = "yard.>"

[who.gate]
from = "10.1.2.3"
publish = "gate"

[who.tracker]
field = { imei = "356307042441013" }
publish = "{name}.at"
"#;

/// A token's digest in the place of its number, and a key's.
fn filled(text: &str) -> String {
    let text = text.replace("K1", &hex(&[0xAB; 32]).to_uppercase());
    ["1", "2", "3"].iter().fold(text, |text, number| {
        let digest = TokenDigest::of(format!("T{number}").as_bytes()).expect("it is short");
        text.replace(&format!("<{number}>"), &digest.hex())
    })
}

fn at(text: &str) -> SystemTime {
    humantime::parse_rfc3339(text).expect("it is an instant")
}

fn now() -> SystemTime {
    at("2026-11-30T20:00:00Z")
}

fn access(text: &str) -> Access {
    let parsed = Access::parse(filled(text).as_bytes(), "a.toml", now());
    parsed.unwrap_or_else(|problems| panic!("{}", problems[0])).0
}

/// The name that a connection gets, or why it is refused.
fn who(access: &Access, evidence: Evidence<'_>) -> String {
    match access.identify(&evidence, now()) {
        Ok(who) => who.name().unwrap_or("default").into(),
        Err(refusal) => refusal.to_string(),
    }
}

fn with_token<'a>(name: &'a str, token: &'a str) -> Evidence<'a> {
    Evidence {
        token: Some(Presented { name, token: TokenDigest::of(token.as_bytes()) }),
        ..Evidence::default()
    }
}

#[test]
fn an_identity_is_known_by_each_of_its_marks() {
    let access = access(FILE);
    assert_eq!(who(&access, Evidence::default()), "default");
    for (name, token, expected) in [
        ("pump-17", "T1", "pump-17"),
        ("pump-17", "T2", "pump-17"),
        ("pump-17", "T3", "wrong name or token"),
        ("pump-17", "", "wrong name or token"),
        ("pump-18", "T1", "wrong name or token"),
        ("", "T1", "wrong name or token"),
        ("yard", "T1", "wrong name or token"),
        ("pump-3", "T3", "pump-3 is revoked"),
        // Nobody learns what is revoked by asking.
        ("pump-3", "T1", "wrong name or token"),
    ] {
        assert_eq!(who(&access, with_token(name, token)), expected, "{name} {token}");
    }
    let certs = [
        (CertName::dns("PUMP-17.plant."), "pump-17"),
        (CertName::Spki([0xAB; 32]), "pump-17"),
        (CertName::Cn("pump-17.plant".into()), "default"),
        (CertName::dns("pump-18.plant"), "default"),
    ];
    for (name, expected) in certs {
        let certificate = std::slice::from_ref(&name);
        assert_eq!(who(&access, Evidence { certificate, ..Evidence::default() }), expected, "{name}");
    }
    for (address, expected) in [
        ("10.1.9.9", "yard"),
        ("10.1.2.3", "gate"),
        ("::ffff:10.1.2.3", "gate"),
        ("10.2.0.1", "default"),
        ("fd00:1::7", "yard"),
        ("fd00:2::7", "default"),
    ] {
        let address: Option<IpAddr> = Some(address.parse().unwrap());
        assert_eq!(who(&access, Evidence { address, ..Evidence::default() }), expected, "{address:?}");
    }
    for (field, expected) in [
        (("imei", "356307042441013"), "tracker"),
        (("imei", "35630704244101"), "default"),
        (("serial", "356307042441013"), "default"),
    ] {
        let fields = &[("other", "x"), field];
        assert_eq!(who(&access, Evidence { fields, ..Evidence::default() }), expected, "{field:?}");
    }
}

#[test]
fn the_first_that_is_known_decides() {
    let access = access(FILE);
    let certificate = &[CertName::dns("pump-17.plant")][..];
    let stranger = &[CertName::dns("elsewhere")][..];
    let address: Option<IpAddr> = Some("10.1.2.3".parse().unwrap());
    let fields = &[("imei", "356307042441013")][..];
    let revoked = with_token("pump-3", "T3");
    let wrong = with_token("pump-17", "T3");
    for (evidence, expected) in [
        (Evidence { certificate, address, fields, ..revoked }, "pump-17"),
        (Evidence { certificate: stranger, address, fields, ..revoked }, "pump-3 is revoked"),
        (Evidence { address, fields, ..wrong }, "wrong name or token"),
        (Evidence { certificate: stranger, address, fields, ..Evidence::default() }, "gate"),
        (Evidence { certificate: stranger, fields, ..Evidence::default() }, "tracker"),
        (Evidence { certificate: stranger, ..Evidence::default() }, "default"),
    ] {
        assert_eq!(who(&access, evidence), expected, "{evidence:?}");
    }
}

#[test]
fn a_certificate_of_two_identities_is_of_neither() {
    let access = access("[who.a]\ncert = 'dns:a'\n[who.b]\ncert = ['dns:b', 'cn:b']");
    let names = [CertName::dns("b"), CertName::Cn("b".into()), CertName::dns("a")];
    let known = |certificate| who(&access, Evidence { certificate, ..Evidence::default() });
    assert_eq!(known(&names[..2]), "b");
    assert_eq!(known(&names), "it is two identities by its certificate: b and a");
}

#[test]
fn rights_have_the_name_in_them() {
    let access = access(FILE);
    let pump = access.named("pump-17").expect("it is there");
    let rights = pump.rights();
    for (topic, may) in
        [("plant.pump-17.flow", true), ("plant.pump-17", false), ("plant.pump-18.flow", false), ("", false)]
    {
        assert_eq!(rights.may_publish(topic), may, "{topic}");
    }
    for (pattern, may) in [
        ("cmd.pump-17.>", true),
        ("cmd.pump-17.*", true),
        ("cmd.pump-17.stop", true),
        ("cmd.*.stop", false),
        ("cmd.>", false),
        (">", false),
        ("news.*", true),
        ("news.>", false),
        ("news.today", true),
    ] {
        assert_eq!(rights.may_subscribe(pattern), may, "{pattern}");
    }
    for (name, may) in [("pump-17", true), ("pump-17-2", true), ("pump-18", false), ("", false)] {
        assert_eq!(rights.may_be_durable(name), may, "{name}");
    }
    let default = access.default_rights().expect("there is one");
    assert!(default.may_subscribe("public.*") && !default.may_publish("public.a"));
    // Nothing is allowed that is not in the file.
    let none = Rights::default();
    assert!(!none.may_publish("a") && !none.may_subscribe("a") && !none.may_be_durable("a"));
}

#[test]
fn access_ends_at_its_instant() {
    let access = access(FILE);
    let pump = access.named("pump-17").expect("it is there");
    assert_eq!(pump.until(), Some(at("2027-01-01T00:00:00Z")));
    assert_eq!(pump.check(at("2026-12-31T23:59:59Z")), Ok(()));
    let ended = pump.check(at("2027-01-01T00:00:00Z")).unwrap_err().to_string();
    assert_eq!(ended, "pump-17 ended at 2027-01-01T00:00:00Z");
    for (text, expected) in [
        ("2027-01-01T00:00:00-00:30", "2027-01-01T00:30:00Z"),
        ("2027-01-01 00:00:00z", "2027-01-01T00:00:00Z"),
        ("'2027-01-01T00:00:00Z'", "2027-01-01T00:00:00Z"),
        ("2028-02-29T12:00:00.5Z", "2028-02-29T12:00:00.500Z"),
    ] {
        let access = self::access(&format!("[who.a]\ncert = 'cn:a'\nuntil = {text}"));
        assert_eq!(access.identities()[0].until(), Some(at(expected)), "{text}");
    }
}

#[test]
fn without_a_default_who_is_unknown_is_refused() {
    let access = access("[who.a]\ncert = 'cn:a'\npublish = 'a'");
    let said = who(&access, Evidence::default());
    assert_eq!(said, "the access file knows no such identity, and has no [default]");
}

#[test]
fn reasons_fit_into_a_reply_and_show_no_secret() {
    let name = "n".repeat(ACCESS_NAME);
    for refusal in [
        Refusal::Unknown,
        Refusal::WrongToken,
        Refusal::Revoked(name.clone()),
        Refusal::Ended { name, until: now() + Duration::from_secs(1) },
    ] {
        let said = refusal.to_string();
        assert!(said.len() <= REASON_MAX, "{said}");
    }
    let shown = format!("{:?} {:?}", access(FILE), with_token("a", "hush"));
    for secret in ["hush", &TokenDigest::of(b"T1").expect("it is short").hex()] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[test]
fn a_long_token_is_wrong_before_it_is_hashed() {
    assert!(TokenDigest::of(&[7; crate::core::limits::ACCESS_TOKEN]).is_some());
    assert!(TokenDigest::of(&[7; crate::core::limits::ACCESS_TOKEN + 1]).is_none());
}

#[test]
fn as_many_identities_as_there_may_be_are_read() {
    let many = |count: usize| -> String {
        (0..count).map(|n| format!("[who.d{n}]\ncert='cn:d{n}'\npublish='{{name}}'\n")).collect()
    };
    let text = many(ACCESS_IDENTITIES);
    assert_eq!(access(&text).identities().len(), ACCESS_IDENTITIES);
    let problems = Access::parse(many(ACCESS_IDENTITIES + 1).as_bytes(), "a", now()).unwrap_err();
    assert_eq!(problems[0].to_string(), "a line 1: who: 100001 identities are more than 100000");
}
