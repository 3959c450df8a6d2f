//! Access files against what they were written of, and covered patterns against the topics themselves.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use super::choices::Choices;
use crate::wire::access::{Access, CertName, Evidence, Presented, Refusal, TokenDigest, check_name};
use crate::wire::{check_pattern, covers, matches};

/// More choices find nothing new, and slow the search.
const CHOICES_MAX: usize = 200;

/// Every topic of up to six of these tokens tells apart what patterns of up to five tokens match: `x` is in no pattern.
const TOPIC_TOKENS: [&str; 3] = ["a", "b", "x"];
const PATTERN_TOKENS: [&str; 4] = ["a", "b", "*", ">"];

const TOKENS: [&str; 4] = ["t0", "t1", "t2", "t3"];
const CERTS: [&str; 5] = ["dns:a", "dns:b.c", "uri:spiffe://a/b", "email:a@b", "cn:a"];
const NETWORKS: [(&str, u32); 5] =
    [("0.0.0.0", 0), ("10.0.0.0", 8), ("10.1.0.0", 16), ("10.1.2.3", 32), ("fd00::", 8)];
const ADDRESSES: [&str; 6] = ["10.1.2.3", "10.1.2.4", "10.2.0.0", "11.0.0.0", "fd00::1", "::ffff:10.1.2.3"];
const FIELDS: [(&str, &str); 4] = [("imei", "1"), ("imei", "2"), ("serial", "1"), ("imei", "")];

/// An identity as it is written.
#[derive(Debug)]
struct Made {
    name: String,
    tokens: Vec<usize>,
    certs: Vec<usize>,
    networks: Vec<usize>,
    field: Option<usize>,
    is_revoked: bool,
    until: Option<SystemTime>,
}

/// A file that is made of the bytes means what it was made of, and the bytes themselves are read or refused in lines.
pub fn check_access(data: &[u8]) {
    check_any_bytes(data);
    let mut choices = Choices::new(&data[..data.len().min(CHOICES_MAX)]);
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    let has_default = choices.flip();
    let all: Vec<Made> = (0..choices.below(4)).map(|n| made(n, now, &mut choices)).collect();
    let text = written(&all, has_default);
    let parsed = Access::parse(text.as_bytes(), "a", now);
    assert_eq!(parsed.is_ok(), is_right(&all, has_default), "{text}\n{:?}", parsed.err());
    let Ok((access, _)) = parsed else { return };
    while !choices.is_empty() {
        let certs: Vec<usize> = (0..choices.below(3)).map(|_| choices.below(CERTS.len())).collect();
        let token = choices.flip().then(|| (choices.below(5), choices.below(TOKENS.len())));
        let address: Option<IpAddr> =
            choices.flip().then(|| ADDRESSES[choices.below(ADDRESSES.len())].parse().expect("it is one"));
        let fields: Vec<usize> = (0..choices.below(3)).map(|_| choices.below(FIELDS.len())).collect();
        let expected = expected(&all, has_default, now, &certs, token, address, &fields);
        let certificate: Vec<CertName> = certs.iter().map(|at| cert(CERTS[*at])).collect();
        let name = token.map_or(String::new(), |(of, _)| format!("n{of}"));
        let evidence = Evidence {
            certificate: &certificate,
            token: token
                .map(|(_, at)| Presented { name: &name, token: TokenDigest::of(TOKENS[at].as_bytes()) }),
            address,
            fields: &fields.iter().map(|at| FIELDS[*at]).collect::<Vec<_>>(),
        };
        let found = match access.identify(&evidence, now) {
            Ok(who) => Ok(who.name().map(str::to_string)),
            Err(Refusal::Unknown) => Err("unknown"),
            Err(Refusal::WrongToken) => Err("token"),
            Err(Refusal::InTheClear) => unreachable!("the rules do not see how a token came"),
            Err(Refusal::Ambiguous { .. }) => Err("two"),
            Err(Refusal::Revoked(_) | Refusal::Ended { .. }) => Err("over"),
        };
        assert_eq!(found, expected, "{text}\n{evidence:?}");
    }
}

fn check_any_bytes(data: &[u8]) {
    match Access::parse(data, "a", SystemTime::UNIX_EPOCH) {
        Ok((access, warnings)) => {
            assert!(warnings.iter().all(|warning| !warning.to_string().contains('\n')));
            for identity in access.identities() {
                assert_eq!(check_name(identity.name()), Ok(()));
                let rights = identity.rights();
                for pattern in rights.publish().iter().chain(rights.subscribe()) {
                    assert!(check_pattern(pattern.as_bytes()).is_ok() && pattern.len() <= 255, "{pattern:?}");
                }
            }
        }
        Err(problems) => {
            assert!(!problems.is_empty());
            for problem in problems {
                let said = problem.to_string();
                assert!(said.starts_with("a line ") && !said.contains('\n'), "{said}");
            }
        }
    }
}

fn made(n: usize, now: SystemTime, choices: &mut Choices<'_>) -> Made {
    let mut some = |most: usize, of: usize| -> Vec<usize> {
        (0..choices.below(most + 1)).map(|_| choices.below(of)).collect()
    };
    let (tokens, certs, networks) = (some(2, TOKENS.len()), some(2, CERTS.len()), some(2, NETWORKS.len()));
    // The last of the fields has no value.
    let field = some(1, FIELDS.len() - 1).pop();
    let is_revoked = choices.below(4) == 1;
    let until = match choices.below(6) {
        2 => Some(now),
        3 => Some(now + Duration::from_secs(1)),
        4 => Some(now - Duration::from_secs(1)),
        _ => None,
    };
    Made { name: format!("n{n}"), tokens, certs, networks, field, is_revoked, until }
}

fn written(all: &[Made], has_default: bool) -> String {
    let list = |items: Vec<String>| format!("[{}]", items.join(", "));
    let revoked = all.iter().filter(|made| made.is_revoked).map(|made| format!("'{}'", made.name)).collect();
    let mut text = match all.is_empty() {
        true => String::new(),
        false => format!("revoked = {}\n", list(revoked)),
    };
    if has_default {
        text.push_str("[default]\npublish = 'a'\n");
    }
    for made in all {
        let digest = |at: &usize| TokenDigest::of(TOKENS[*at].as_bytes()).expect("it is short").hex();
        let tokens = made.tokens.iter().map(|at| format!("'{}'", digest(at))).collect();
        let certs = made.certs.iter().map(|at| format!("'{}'", CERTS[*at])).collect();
        let network = |at: &usize| format!("'{}/{}'", NETWORKS[*at].0, NETWORKS[*at].1);
        let networks = made.networks.iter().map(network).collect();
        let _ =
            writeln!(text, "[who.{}]\ntoken-sha256 = {}\ncert = {}", made.name, list(tokens), list(certs));
        let _ = writeln!(text, "from = {}\npublish = 'x.{{name}}'", list(networks));
        if let Some((name, value)) = made.field.map(|at| FIELDS[at]) {
            let _ = writeln!(text, "field = {{ {name} = '{value}' }}");
        }
        if let Some(until) = made.until {
            let _ = writeln!(text, "until = {}", humantime::format_rfc3339_seconds(until));
        }
    }
    text
}

/// Every identity is known by something, and by nothing that stands anywhere else.
fn is_right(all: &[Made], has_default: bool) -> bool {
    let distinct = |mut marks: Vec<usize>| {
        let before = marks.len();
        marks.sort_unstable();
        marks.dedup();
        marks.len() == before
    };
    (has_default || !all.is_empty())
        && all.iter().all(|made| {
            made.tokens.len() + made.certs.len() + made.networks.len() + made.field.iter().len() > 0
        })
        && distinct(all.iter().flat_map(|made| made.tokens.clone()).collect())
        && distinct(all.iter().flat_map(|made| made.certs.clone()).collect())
        && distinct(all.iter().flat_map(|made| made.networks.clone()).collect())
        && distinct(all.iter().filter_map(|made| made.field).collect())
}

/// Whose connection it is, by the sentence of the documentation.
fn expected(
    all: &[Made],
    has_default: bool,
    now: SystemTime,
    certs: &[usize],
    token: Option<(usize, usize)>,
    address: Option<IpAddr>,
    fields: &[usize],
) -> Result<Option<String>, &'static str> {
    let by_cert: Vec<&Made> =
        all.iter().filter(|made| made.certs.iter().any(|at| certs.contains(at))).collect();
    let by_field: Vec<&Made> =
        all.iter().filter(|made| made.field.is_some_and(|at| fields.contains(&at))).collect();
    let prefix = |made: &Made| {
        let address = address?;
        let within = |at: &&usize| is_within(address, NETWORKS[**at]);
        made.networks.iter().filter(within).map(|at| NETWORKS[*at].1).max()
    };
    let found = match (&by_cert[..], token) {
        ([_, _, ..], _) => return Err("two"),
        ([one], _) => Some(*one),
        ([], Some((name, token))) => match all.get(name) {
            Some(made) if made.tokens.contains(&token) => Some(made),
            _ => return Err("token"),
        },
        ([], None) => {
            match all.iter().filter(|made| prefix(made).is_some()).max_by_key(|made| prefix(made)) {
                Some(made) => Some(made),
                None if by_field.len() > 1 => return Err("two"),
                None => by_field.first().copied(),
            }
        }
    };
    match found {
        Some(made) if made.is_revoked || made.until.is_some_and(|until| until <= now) => Err("over"),
        Some(made) => Ok(Some(made.name.clone())),
        None if has_default => Ok(None),
        None => Err("unknown"),
    }
}

/// Whether the first bits are the same.
fn is_within(address: IpAddr, (network, prefix): (&str, u32)) -> bool {
    let bits = |address: IpAddr| match address.to_canonical() {
        IpAddr::V4(v4) => (32, u128::from(u32::from(v4))),
        IpAddr::V6(v6) => (128, u128::from(v6)),
    };
    let ((size, given), (of, network)) = (bits(address), bits(network.parse().expect("it is one")));
    size == of && (prefix == 0 || given >> (size - prefix) == network >> (size - prefix))
}

fn cert(text: &str) -> CertName {
    match text.split_once(':').expect("it has a kind") {
        ("dns", host) => CertName::dns(&host.to_uppercase()),
        ("uri", uri) => CertName::Uri(uri.into()),
        ("email", address) => CertName::email(address),
        (_, name) => CertName::Cn(name.into()),
    }
}

/// A pattern covers another if it matches all topics that the other one matches, which are looked at one by one.
pub fn check_covers(data: &[u8]) {
    let mut choices = Choices::new(data);
    let [allowed, asked] = [pattern(&mut choices), pattern(&mut choices)];
    let expected = topics().iter().all(|topic| !matches(&asked, topic) || matches(&allowed, topic));
    assert_eq!(covers(&allowed, &asked), expected, "{asked:?} under {allowed:?}");
}

fn pattern(choices: &mut Choices<'_>) -> String {
    let mut tokens = Vec::new();
    for _ in 0..choices.below(6) {
        tokens.push(PATTERN_TOKENS[choices.below(PATTERN_TOKENS.len())]);
        if tokens.last() == Some(&">") {
            break;
        }
    }
    tokens.join(".")
}

fn topics() -> &'static [String] {
    static ALL: OnceLock<Vec<String>> = OnceLock::new();
    ALL.get_or_init(|| {
        let (mut all, mut last) = (vec![String::new()], vec![String::new()]);
        for _ in 0..6 {
            let longer = |topic: &String| {
                let before = if topic.is_empty() { String::new() } else { format!("{topic}.") };
                TOPIC_TOKENS.map(|token| format!("{before}{token}"))
            };
            last = last.iter().flat_map(longer).collect();
            all.extend(last.iter().cloned());
        }
        all
    })
}
