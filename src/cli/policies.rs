//! The policies of a gateway by their names on the command line and in its file.

use std::fmt;

use clap::{ValueEnum, builder::PossibleValue};
use serde::{Deserialize, Deserializer, de};

use crate::gateway::{BadDigestPolicy, Overflow, Pressure, SlowPolicy};
use crate::runtime::tls::ClientAuth;
use crate::sinks::store::SyncPolicy;
use crate::wire::Width;

/// The same names in TOML as on the command line.
pub fn policy<'de, D: Deserializer<'de>, T: ValueEnum>(deserializer: D) -> Result<Option<T>, D::Error> {
    let name = String::deserialize(deserializer)?;
    T::from_str(&name, false).map(Some).map_err(|_| {
        let names: Vec<String> = T::value_variants().iter().map(|value| shown(value).to_string()).collect();
        de::Error::custom(format!("invalid policy '{name}': choose {}", names.join(" or ")))
    })
}

/// The name of a policy, as it is given.
pub fn shown<T: ValueEnum>(policy: &T) -> impl fmt::Display {
    policy.to_possible_value().map_or_else(String::new, |value| value.get_name().to_string())
}

impl ValueEnum for SlowPolicy {
    fn value_variants<'a>() -> &'a [Self] {
        &[SlowPolicy::Disconnect, SlowPolicy::Pause, SlowPolicy::Drop]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            SlowPolicy::Disconnect => PossibleValue::new(self.name()).help("it gets SLOW and is closed"),
            SlowPolicy::Pause => {
                PossibleValue::new(self.name()).help("the publishers that feed it are paused")
            }
            SlowPolicy::Drop => PossibleValue::new(self.name())
                .help("its oldest frames are dropped, counted and reported as a GAP"),
        })
    }
}

impl ValueEnum for Width {
    fn value_variants<'a>() -> &'a [Self] {
        &Width::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let help = match self {
            Width::Lanes16 => "sixteen, with AVX-512",
            Width::Lanes8 => "eight, with AVX-512VL or AVX2",
            Width::Pairs => "two, with the processor's SHA-256 instructions",
            Width::One => "one after the other",
        };
        Some(PossibleValue::new(self.name()).help(help))
    }
}

impl ValueEnum for ClientAuth {
    fn value_variants<'a>() -> &'a [Self] {
        &[ClientAuth::Require, ClientAuth::Want]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            ClientAuth::Require => PossibleValue::new("require").help("who brings no certificate is refused"),
            ClientAuth::Want => PossibleValue::new("want")
                .help("who brings none is taken, and known by a token, or not at all"),
        })
    }
}

impl ValueEnum for Overflow {
    fn value_variants<'a>() -> &'a [Self] {
        &[Overflow::Pause, Overflow::Reject]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            Overflow::Pause => {
                PossibleValue::new("pause").help("its connection is paused until there is room")
            }
            Overflow::Reject => PossibleValue::new("reject")
                .help("it is answered BUSY; one that asks for no reply pauses its connection"),
        })
    }
}

impl ValueEnum for Pressure {
    fn value_variants<'a>() -> &'a [Self] {
        &[Pressure::Pause, Pressure::Expire]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let help = match self {
            Pressure::Pause => "its connection is paused until a message is complete or its lease ends",
            Pressure::Expire => "the lease of the message that has waited longest ends at once",
        };
        Some(PossibleValue::new(self.name()).help(help))
    }
}

impl ValueEnum for SyncPolicy {
    fn value_variants<'a>() -> &'a [Self] {
        &[SyncPolicy::Batch, SyncPolicy::Off]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let help = match self {
            SyncPolicy::Batch => "once it is on the disk; one sync covers all frames that wait",
            SyncPolicy::Off => "once the system has it, which may lose it if the machine crashes",
        };
        Some(PossibleValue::new(self.name()).help(help))
    }
}

impl ValueEnum for BadDigestPolicy {
    fn value_variants<'a>() -> &'a [Self] {
        &[BadDigestPolicy::Drop, BadDigestPolicy::Close]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            BadDigestPolicy::Drop => {
                PossibleValue::new(self.name()).help("the frame is dropped and counted; the connection stays")
            }
            BadDigestPolicy::Close => PossibleValue::new("close").help("the connection closes too"),
        })
    }
}
