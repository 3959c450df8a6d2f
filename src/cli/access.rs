//! `framegate access`: makes tokens, and checks the file that says who may connect and what each may do.

mod report;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use clap::{Args, Subcommand};

use super::{Exit, Failure, complain, print};
use crate::core::limits::ACCESS_BYTES;
use crate::core::units::{hex, plain};
use crate::wire::Scheme;
use crate::wire::access::{Access, TOKEN_PREFIX, check_name};

/// An access file says who may connect, and what each may publish and subscribe to.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES, arg_required_else_help = false)]
pub struct AccessCommand {
    #[command(subcommand)]
    which: Which,
}

#[derive(Debug, Subcommand)]
enum Which {
    /// Makes a token, and prints it and the lines of the access file for it
    ///
    /// A token is 256 random bits. The first line that is printed is the token, for the device alone; the others are for
    /// the access file, which has its SHA-256 and never the token itself. Nothing is kept: a token that is lost is
    /// replaced by a new one.
    NewToken(NewToken),
    /// Checks an access file, and shows what each identity may do
    ///
    /// What is wrong is said on standard error, a line each, and so is what is probably a mistake. If nothing is wrong,
    /// each identity is shown, by what it is known and what it may do, and the exit code is 0; else it is 2.
    Check(Check),
}

const EXAMPLES: &str = "\
Examples:
  framegate access new-token pump-17
  framegate access check access.toml";

#[derive(Args, Debug)]
#[command(after_help = "Example:\n  framegate access new-token pump-17")]
struct NewToken {
    /// The identity's name: one token of a topic, without wildcards
    #[arg(value_name = "NAME")]
    name: String,
}

#[derive(Args, Debug)]
#[command(after_help = "Example:\n  framegate access check access.toml")]
struct Check {
    /// The access file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Prints each identity as one JSON object a line
    #[arg(long)]
    json: bool,
}

impl AccessCommand {
    /// Runs one of them.
    pub fn run(self) -> Result<Exit, Failure> {
        match self.which {
            Which::NewToken(NewToken { name }) => new_token(&name),
            Which::Check(Check { file, json }) => check(&file, json),
        }
    }
}

fn new_token(name: &str) -> Result<Exit, Failure> {
    check_name(name).map_err(|wrong| Failure::usage(format!("NAME: {wrong}")))?;
    let mut bits = [0; 32];
    getrandom::fill(&mut bits).map_err(|why| Failure {
        exit: Exit::Partly,
        message: format!("the system gives no random bits: {why}: no token was made"),
    })?;
    print(&lines(name, &bits))?;
    Ok(Exit::Done)
}

/// The token, and what the access file has of it.
fn lines(name: &str, bits: &[u8; 32]) -> String {
    let token = format!("{TOKEN_PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(bits));
    let digest = hex(&Scheme::Sha256.digest(token.as_bytes()));
    let is_bare = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    // Quotes and backslashes are all that a name may have that text in quotes may not.
    let key = match is_bare {
        true => name.to_string(),
        false => format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\"")),
    };
    format!("{token}\n[who.{key}]\ntoken-sha256 = [\"{digest}\"]\n")
}

fn check(path: &Path, json: bool) -> Result<Exit, Failure> {
    let shown = path.display().to_string();
    let now = SystemTime::now();
    match Access::parse(&read(path)?, &shown, now) {
        Ok((access, warnings)) => {
            warnings.iter().for_each(|warning| log::warn!("{warning}"));
            let report = match json {
                true => report::json(&access, now),
                false => report::text(&access, &plain(&shown), warnings.len(), now),
            };
            print(&report)?;
            Ok(Exit::Done)
        }
        Err(problems) => {
            problems.iter().for_each(|problem| complain(problem));
            Ok(Exit::Usage)
        }
    }
}

/// Reads an access file that is about to be in force. Everything that is wrong in it is said in the log, and the first of it
/// in the error; what is probably a mistake is a warning.
pub fn load(path: &Path) -> Result<Access, Failure> {
    let shown = path.display().to_string();
    match Access::parse(&read(path)?, &shown, SystemTime::now()) {
        Ok((access, warnings)) => {
            warnings.iter().for_each(|warning| log::warn!("{warning}"));
            Ok(access)
        }
        Err(problems) => {
            let first = problems.first().map_or(String::new(), |problem| problem.to_string());
            problems.iter().skip(1).for_each(|problem| log::error!("{problem}"));
            Err(Failure::usage(first))
        }
    }
}

/// No more of it than is needed to see that it is too large.
fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(ACCESS_BYTES as u64 + 1).read_to_end(&mut bytes)).map_err(
        |why| {
            let shown = plain(&path.display().to_string());
            Failure::usage(format!("{shown}: {why}: give an access file, of [who.NAME] tables"))
        },
    )?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::access::{Evidence, Presented, TokenDigest};

    #[test]
    fn what_is_printed_lets_the_token_in() {
        let now = SystemTime::UNIX_EPOCH;
        for name in ["pump-17", "pumpe\"größe\\", "17"] {
            let printed = lines(name, &[7; 32]);
            let (token, file) = printed.split_once('\n').expect("the token has a line of its own");
            assert!(token.starts_with("fgt_") && token.len() == 47, "{token}");
            let (access, _) = Access::parse(file.as_bytes(), "a", now).expect("the lines are right");
            let identify = |name, token: &str| {
                let token = Some(Presented { name, token: TokenDigest::of(token.as_bytes()) });
                access.identify(&Evidence { token, ..Evidence::default() }, now)
            };
            assert_eq!(identify(name, token).unwrap().name(), Some(name));
            assert!(identify(name, &token[1..]).is_err());
        }
        assert_ne!(lines("a", &[7; 32]), lines("a", &[8; 32]));
    }
}
