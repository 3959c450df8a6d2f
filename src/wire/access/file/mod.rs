//! The access file, read and judged: everything that is wrong in it, with the place and the mend, and all of it at once.

mod identity;
mod section;
mod values;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::SystemTime;

use toml::de::{DeTable, DeValue};

pub(super) use values::digest;
pub use values::{TOKEN_PREFIX, check_name};

use self::section::{RIGHTS, Section};
use super::{Access, Identity, Mark, Warning};
use crate::core::limits::{ACCESS_BYTES, ACCESS_IDENTITIES};
use crate::core::units::nearest;
use crate::wire::toml_file::{Problem, Report, Where, called, string};

const KEYS: [&str; 3] = ["default", "revoked", "who"];

/// For so many names that nobody has it is looked for which was meant, among all that there are.
const MEANT_MAX: usize = 10;

impl Access {
    /// Reads an access file, which `file` is the name of in messages. What has ended by `now` is warned of.
    pub fn parse(bytes: &[u8], file: &str, now: SystemTime) -> Result<(Access, Vec<Warning>), Vec<Problem>> {
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(ACCESS_BYTES)]);
        let mut report = Report::new(&text, file);
        let mut access = Access::default();
        if bytes.len() > ACCESS_BYTES {
            let what =
                format!("it is larger than {} MiB: divide its devices among gateways", ACCESS_BYTES >> 20);
            report.problem(Where::default(), what);
        } else if let Err(wrong) = std::str::from_utf8(bytes) {
            let place = Where { at: wrong.valid_up_to(), ..Where::default() };
            report.problem(place, "it is not UTF-8: save it as UTF-8 text");
        } else {
            match DeTable::parse(&text) {
                Err(wrong) => {
                    let at = wrong.span().map_or(0, |span| span.start);
                    let (what, mend) = (wrong.message(), mend(wrong.message()));
                    report.problem(Where { at, ..Where::default() }, format!("{what}{mend}"));
                }
                Ok(table) => access = read(table.get_ref(), now, &mut report),
            }
        }
        report.sorted();
        match report.problems.is_empty() {
            true => Ok((access, report.warnings)),
            false => Err(report.problems),
        }
    }
}

/// For the mistakes of TOML that people make here.
fn mend(message: &str) -> &'static str {
    if message.contains("duplicate") {
        ": a name stands once; put both into one, or give the second another"
    } else {
        ": an identity is a line [who.NAME], and below it KEY = \"TEXT\" or KEY = [\"TEXT\", \"TEXT\"]"
    }
}

fn read(table: &DeTable<'_>, now: SystemTime, report: &mut Report<'_>) -> Access {
    let mut access = Access::default();
    let mut revoked = Vec::new();
    for (name, value) in table {
        let place = Where { at: name.span().start, key: Some(name.get_ref()), ..Where::default() };
        match (&**name.get_ref(), value.get_ref()) {
            ("who", DeValue::Table(all)) if all.len() > ACCESS_IDENTITIES => {
                report.problem(place, format!("{} identities are more than {ACCESS_IDENTITIES}", all.len()));
            }
            ("who", DeValue::Table(all)) => access.identities = read_identities(all, now, report),
            ("who", _) => report.problem(place, "an identity has a name: write [who.NAME]"),
            ("default", DeValue::Table(all)) => {
                let mut section = Section { name: None, at: place.at, table: all, report };
                section.check_keys(&RIGHTS);
                access.default = Some(Arc::new(section.rights()));
            }
            ("default", _) => report.problem(place, "it is not a table: write [default]"),
            ("revoked", DeValue::Array(all)) => {
                for name in all {
                    match string(name.get_ref()) {
                        Some(text) => revoked.push((name.span().start, text)),
                        None => {
                            let what = format!("it holds {}: write names in quotes", called(name.get_ref()));
                            report.problem(Where { at: name.span().start, ..place }, what);
                        }
                    }
                }
            }
            ("revoked", other) => {
                let what = format!("it is {}: write a list, as in revoked = [\"pump-3\"]", called(other));
                report.problem(place, what);
            }
            (name, value) => report.problem(Where { key: None, ..place }, unknown(name, value)),
        }
    }
    if table.is_empty() {
        let what =
            "it says nothing, so nobody could connect: write [who.NAME] for each identity, or [default]";
        report.problem(Where::default(), what);
    }
    revoke(&mut access.identities, &revoked, report);
    index(access)
}

fn unknown(name: &str, value: &DeValue<'_>) -> String {
    match nearest(name, KEYS) {
        Some("revoked") => format!("unknown name {name}: did you mean revoked?"),
        Some("default") => format!("unknown name {name}: did you mean [default]?"),
        Some(_) => format!("unknown name {name}: did you mean [who.NAME]?"),
        None if value.is_table() => format!("unknown table [{name}]: an identity is written [who.{name}]"),
        None => format!("unknown name {name}: the file has [default], [who.NAME] and revoked alone"),
    }
}

fn read_identities(all: &DeTable<'_>, now: SystemTime, report: &mut Report<'_>) -> Vec<Arc<Identity>> {
    let mut identities: BTreeMap<&str, Arc<Identity>> = BTreeMap::new();
    let mut taken: HashMap<Mark, &str> = HashMap::new();
    for (name, value) in all {
        let (at, name) = (name.span().start, &**name.get_ref());
        let place = Where { at, identity: Some(name), ..Where::default() };
        if let Err(wrong) = check_name(name) {
            report.problem(place, wrong);
            continue;
        }
        let DeValue::Table(table) = value.get_ref() else {
            report.problem(place, format!("it is {}: write [who.{name}]", called(value.get_ref())));
            continue;
        };
        let section = Section { name: Some(name), at, table, report };
        let (identity, marks) = identity::read(section, now);
        for (key, at, mark) in marks {
            match taken.insert(mark.clone(), name) {
                None => {}
                Some(other) => {
                    let what = identity::twice(&mark, (other != name).then_some(other));
                    report.problem(Where { at, key: Some(key), ..place }, what);
                }
            }
        }
        identities.insert(name, Arc::new(identity));
    }
    identities.into_values().collect()
}

/// Marks those who are revoked; a name that nobody has is probably misspelt.
fn revoke(identities: &mut [Arc<Identity>], revoked: &[(usize, &str)], report: &mut Report<'_>) {
    let mut unknown = 0;
    for &(at, name) in revoked {
        if let Ok(found) = identities.binary_search_by(|identity| identity.name().cmp(name)) {
            Arc::make_mut(&mut identities[found]).is_revoked = true;
            continue;
        }
        unknown += 1;
        let names = identities.iter().map(|identity| identity.name());
        let mend = match (unknown <= MEANT_MAX).then(|| nearest(name, names)).flatten() {
            Some(meant) => format!("did you mean {meant}?"),
            None => "it revokes nothing".into(),
        };
        let what = format!("there is no identity {:?}: {mend}", crate::wire::toml_file::cut(name));
        report.warn(Where { at, key: Some("revoked"), ..Where::default() }, what);
    }
}

/// By what each is known.
fn index(mut access: Access) -> Access {
    for (at, identity) in access.identities.iter().enumerate() {
        let certs = identity.certs.iter().cloned().map(Mark::Cert);
        let networks = identity.networks.iter().copied().map(Mark::Network);
        let fields = identity.field.iter().cloned().map(|(name, value)| Mark::Field(name, value));
        access.by_mark.extend(certs.chain(networks).chain(fields).map(|mark| (mark, at)));
        access.field_names.extend(identity.field.iter().map(|(name, _)| name.clone()));
        access.prefixes.extend(identity.networks.iter().map(|network| network.prefix_len()));
    }
    access
}
