//! Values of options, checked against their [ranges](crate::core::ranges) as they are read.

use std::ffi::OsStr;
use std::fmt::Display;
use std::marker::PhantomData;
use std::str::FromStr;

use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use clap::{Arg, Command, Error};

use crate::core::ranges;

/// Reads a `T` that is within the range of its option.
pub struct InRange<T> {
    parts: fn(&str) -> Vec<&str>,
    value: PhantomData<fn() -> T>,
}

// Not derived: `T` need not be `Clone` for it.
impl<T> Clone for InRange<T> {
    fn clone(&self) -> Self {
        InRange { parts: self.parts, value: PhantomData }
    }
}

/// The parser of an option whose value is one number or time.
pub fn in_range<T>() -> InRange<T> {
    parts_in_range(|text| vec![text])
}

/// The same where `parts` of the value are such.
pub fn parts_in_range<T>(parts: fn(&str) -> Vec<&str>) -> InRange<T> {
    InRange { parts, value: PhantomData }
}

impl<T: FromStr<Err: Display> + Clone + Send + Sync + 'static> TypedValueParser for InRange<T> {
    type Value = T;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<T, Error> {
        let wrong = |why: &dyn Display| {
            let arg = arg.map_or_else(|| "...".to_string(), ToString::to_string);
            let message = format!("invalid value '{}' for '{arg}': {why}\n", value.display());
            Error::raw(ErrorKind::ValueValidation, message).with_cmd(command)
        };
        let text = value.to_str().ok_or_else(|| wrong(&"it is not UTF-8"))?;
        let option = arg.and_then(Arg::get_long).unwrap_or_default();
        let range = ranges::of(command.get_name(), option);
        debug_assert!(range.is_some(), "{} --{option} has no range", command.get_name());
        for part in (self.parts)(text) {
            range.map_or(Ok(()), |range| range.check(part)).map_err(|why| wrong(&why))?;
        }
        text.trim().parse().map_err(|why| wrong(&why))
    }
}
