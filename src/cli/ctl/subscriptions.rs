//! Durable names as people read them.

use std::time::Duration;

use serde_json::Value;

use crate::core::units::{about, bytes, grouped, plain};

/// What `/subscriptions` said, as text.
pub fn table(answer: &Value) -> String {
    let names = answer["names"].as_array().map(Vec::as_slice).unwrap_or_default();
    if names.is_empty() {
        return "no durable names\n".into();
    }
    let mut out = format!(
        "{:24} {:>16} {:>14} {:>10} {:>10}  {:9} {}\n",
        "name", "position", "frames behind", "bytes", "for", "connected", "patterns"
    );
    for name in names {
        let number = |key: &str| name[key].as_u64().unwrap_or_default();
        let lag = match name["lag_seconds"].as_f64().unwrap_or_default() {
            0.0 => "-".to_string(),
            seconds => about(Duration::try_from_secs_f64(seconds).unwrap_or_default()),
        };
        let patterns = name["patterns"].as_array().into_iter().flatten();
        let patterns: Vec<String> = patterns.filter_map(Value::as_str).map(plain).collect();
        out += &format!(
            "{:24} {:>16} {:>14} {:>10} {:>10}  {:9} {}\n",
            plain(name["name"].as_str().unwrap_or("?")),
            grouped(number("position")),
            grouped(number("lag_frames")),
            bytes(number("lag_bytes")),
            lag,
            if name["connected"] == true { "yes" } else { "no" },
            patterns.join(" ")
        );
    }
    out
}

/// What came of a rewind.
pub fn rewound(answer: &Value) -> String {
    let again = match answer["was_connected"] == true {
        true => "; its subscriber was closed, and goes on there when it comes again",
        false => "",
    };
    let name = plain(answer["name"].as_str().unwrap_or("?"));
    format!("{name}: goes on with {} instead of {}{again}", answer["new"], answer["old"])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_are_listed() {
        let answer = json!({"names": [{
            "name": "billing", "position": 1_234_567, "lag_frames": 12, "lag_bytes": 3_900, "lag_seconds": 2.5,
            "connected": true, "patterns": ["orders.>", "a"],
        }]});
        let text = table(&answer);
        let line = text.lines().nth(1).unwrap();
        for part in ["billing", "1,234,567", "12", "yes", "orders.> a"] {
            assert!(line.contains(part), "{line}");
        }
        assert_eq!(table(&json!({"names": []})), "no durable names\n");
        let said = rewound(&json!({"name": "b", "old": 9, "new": 1, "was_connected": true}));
        assert!(said.starts_with("b: goes on with 1 instead of 9; its subscriber was closed"), "{said}");
    }
}
