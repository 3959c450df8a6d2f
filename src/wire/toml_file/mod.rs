//! What the TOML files that people write have in common (declarations of layouts, the access file): where something
//! stands, what is wrong with it, collected, a line each, and text with `{names}` in it.

mod report;
mod template;

use toml::de::DeValue;

pub use report::{Problem, Warning};
pub(super) use report::{Report, Where};
#[cfg(feature = "layouts")]
pub(super) use template::is_name;
pub(super) use template::{Piece, cut, template};

pub(super) fn string<'a>(value: &'a DeValue<'_>) -> Option<&'a str> {
    match value {
        DeValue::String(text) => Some(text),
        _ => None,
    }
}

/// What a value is, in messages.
pub(super) fn called(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// Where text holds a number, or true or false: that it is to stand without quotes.
#[cfg(feature = "layouts")]
pub(super) fn unquoted(key: &str, value: &DeValue<'_>) -> Option<String> {
    let text = string(value)?.trim();
    let is_value = matches!(text, "true" | "false") || text.parse::<i64>().is_ok() || text.starts_with("0x");
    is_value.then(|| format!("write it without quotes: {key} = {text}"))
}
