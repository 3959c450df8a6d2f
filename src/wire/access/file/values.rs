//! What stands in the texts of the file: names, patterns, digests, networks, instants.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use ipnet::IpNet;
use sha2::{Digest as _, Sha256};
use toml::de::DeValue;
use toml::value::{Datetime, Offset};

use crate::core::limits::{ACCESS_NAME, DURABLE_NAME};
use crate::core::units::{is_obeyed, nearest};
use crate::wire::shapes::PATTERN_MAX;
use crate::wire::toml_file::{Piece, called, cut, template};
use crate::wire::{check_pattern, check_topic, partial_wildcard};

/// What tokens begin with that the program makes: so they are known for what they are where they should not be.
pub const TOKEN_PREFIX: &str = "fgt_";

/// Whether an identity may be called so: it stands in topics, as one token of them.
pub fn check_name(name: &str) -> Result<(), String> {
    let wrong =
        |why: &str| Err(format!("{:?} {why}: write letters, digits, - and _, as in pump-17", cut(name)));
    if name.is_empty() {
        return Err("the name is empty: write [who.NAME]".into());
    }
    if name.len() > ACCESS_NAME {
        return wrong(&format!("has {} bytes, a name at most {ACCESS_NAME}", name.len()));
    }
    if name.contains(['*', '>']) {
        return wrong("holds a wildcard");
    }
    if name.contains('.') {
        return wrong("holds a '.', and a name is one token of a topic");
    }
    if name.contains(['{', '}']) || name.chars().any(is_obeyed) || check_topic(name.as_bytes()).is_err() {
        return wrong("holds a space, a brace or a control character");
    }
    Ok(())
}

/// A pattern, with the identity's name in it.
pub(super) fn pattern(text: &str, name: Option<&str>) -> Result<String, String> {
    let pattern = with_name(text, name)?;
    if pattern.len() > PATTERN_MAX {
        return Err(format!("{:?} has {} bytes: at most {PATTERN_MAX}", cut(text), pattern.len()));
    }
    match check_pattern(pattern.as_bytes()) {
        Ok(_) => Ok(pattern),
        Err(wrong) => Err(format!("{:?} is not a pattern: {wrong}", cut(text))),
    }
}

/// What is said of a pattern with a wildcard that is none.
pub(super) fn partial(pattern: &str) -> Option<String> {
    let token = partial_wildcard(pattern)?;
    Some(format!("{token:?} stands for itself alone: a wildcard is a whole token, * or a last >"))
}

/// A durable name, with the identity's name in it.
pub(super) fn durable(text: &str, name: Option<&str>) -> Result<String, String> {
    let durable = with_name(text, name)?;
    let is_right = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if durable.is_empty() || durable.len() > DURABLE_NAME || !durable.chars().all(is_right) {
        return Err(format!(
            "{:?} is not a durable name: write 1 to {DURABLE_NAME} of A-Z a-z 0-9 . _ -, without wildcards",
            cut(&durable)
        ));
    }
    Ok(durable)
}

fn with_name(text: &str, name: Option<&str>) -> Result<String, String> {
    let shown = cut(text);
    let pieces = template(text).map_err(|_| format!("{shown:?} has braces that are not {{name}}"))?;
    let mut out = String::new();
    for piece in pieces {
        match (piece, name) {
            (Piece::Text(text), _) => out.push_str(&text),
            (Piece::Field(field, None), Some(name)) if field == "name" => out.push_str(name),
            (Piece::Field(field, None), None) if field == "name" => {
                return Err(format!(
                    "{shown:?}: {{name}} is nothing in [default], which is nobody's: leave it out"
                ));
            }
            (Piece::Field(field, format), _) => {
                let format = format.map_or(String::new(), |format| format!(":{format}"));
                let mend = match nearest(&field, ["name"]) {
                    Some(_) => "did you mean {name}?",
                    None => "there is {name} alone",
                };
                return Err(format!("unknown {{{}{}}} in {shown:?}: {mend}", cut(&field), cut(&format)));
            }
        }
    }
    Ok(out)
}

/// 32 bytes in hexadecimal digits.
pub(in crate::wire::access) fn digest(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> =
        text.chars().map(|c| c.to_digit(16).map(|digit| digit as u8)).collect::<Option<_>>()?;
    let bytes: Vec<u8> =
        digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect();
    <[u8; 32]>::try_from(bytes).ok().filter(|_| digits.len() == 64)
}

/// The SHA-256 of a token. What is there instead is not shown: it may be the token.
pub(super) fn token_digest(text: &str) -> Result<[u8; 32], String> {
    if text.starts_with(TOKEN_PREFIX) {
        return Err("this is the token itself, and who reads the file could use it: make a new one with framegate access \
                    new-token NAME, and write the lines that it prints"
            .into());
    }
    let Some(digest) = digest(text) else {
        return Err("it is not a SHA-256: write the 64 hexadecimal digits that framegate access new-token NAME prints, \
                    never the token itself"
            .into());
    };
    let of_nothing =
        [&b""[..], b"\n"].iter().any(|nothing| digest == <[u8; 32]>::from(Sha256::digest(nothing)));
    match of_nothing {
        true => {
            Err("this is the SHA-256 of an empty token: make one with framegate access new-token NAME".into())
        }
        false => Ok(digest),
    }
}

/// A network, or one address.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    let Ok(network) = text.parse::<IpNet>().or_else(|_| address()) else {
        return Err(format!(
            "{:?} is not a network: write it as in \"10.1.0.0/16\" or \"fd00:1::/64\"",
            cut(text)
        ));
    };
    if let IpNet::V6(v6) = network
        && let (Some(mapped), Some(prefix)) = (v6.addr().to_ipv4_mapped(), v6.prefix_len().checked_sub(96))
    {
        return Err(format!("{text} is of IPv4: write \"{mapped}/{prefix}\""));
    }
    match network.trunc() {
        whole if whole == network => Ok(network),
        whole => Err(format!(
            "{text} has bits behind its prefix: write \"{whole}\", or \"{}\" for one address",
            network.addr()
        )),
    }
}

/// An instant: a date with its time and zone.
pub(super) fn until(value: &DeValue<'_>) -> Result<SystemTime, String> {
    const MEND: &str = "write a date, a time and its zone, as in until = 2027-01-01T00:00:00Z";
    let instant: Datetime = match value {
        DeValue::Datetime(instant) => *instant,
        DeValue::String(text) => {
            text.parse().map_err(|_| format!("{:?} is not an instant: {MEND}", cut(text)))?
        }
        other => return Err(format!("it is {}: {MEND}", called(other))),
    };
    let (Some(date), Some(time), Some(offset)) = (instant.date, instant.time, instant.offset) else {
        return Err(format!("{instant} does not say when: {MEND}"));
    };
    let utc = format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        date.year,
        date.month,
        date.day,
        time.hour,
        time.minute,
        time.second.unwrap_or(0)
    );
    let minutes = match offset {
        Offset::Z => 0,
        Offset::Custom { minutes } => minutes,
    };
    let by = Duration::from_secs(60 * u64::from(minutes.unsigned_abs()));
    let local = humantime::parse_rfc3339(&utc).ok();
    let found = local.and_then(|at| if minutes < 0 { at.checked_add(by) } else { at.checked_sub(by) });
    let found =
        found.and_then(|at| at.checked_add(Duration::from_nanos(u64::from(time.nanosecond.unwrap_or(0)))));
    let is_shown = |at: &SystemTime| *at >= SystemTime::UNIX_EPOCH && *at < SystemTime::UNIX_EPOCH + YEARS;
    found.filter(is_shown).ok_or_else(|| format!("{instant} is not between 1970 and 9999: {MEND}"))
}

/// From 1970 to the end of 9998.
const YEARS: Duration = Duration::from_secs(253_370_764_800);
