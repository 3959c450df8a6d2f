//! Topics and the patterns that match them.
//!
//! A topic is tokens separated by `.`; the empty topic has none. In a pattern the token `*` matches
//! one token and a last `>` matches one or more; `>` alone matches every topic, the empty one included.

use std::fmt;

/// What is wrong with a topic or a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicError {
    /// Not UTF-8.
    NotUtf8,
    /// A control character or white space.
    Character(char),
    /// Two `.` in a row, or one at an end.
    EmptyToken,
    /// A token `*` or `>` in the topic of a DATA frame.
    Wildcard,
    /// A token `>` before the last.
    RestNotLast,
}

impl fmt::Display for TopicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TopicError::NotUtf8 => f.write_str("the topic is not UTF-8"),
            TopicError::Character(c) => write!(f, "the topic holds {c:?}; no spaces or control characters"),
            TopicError::EmptyToken => f.write_str("the topic has an empty token (a '.' at an end, or '..')"),
            TopicError::Wildcard => f.write_str("the topic has a token '*' or '>'; only patterns may"),
            TopicError::RestNotLast => f.write_str("the pattern has a token '>' that is not the last"),
        }
    }
}

impl std::error::Error for TopicError {}

/// Checks the topic of a DATA frame.
pub fn check_topic(topic: &[u8]) -> Result<&str, TopicError> {
    let text = check_characters(topic)?;
    for token in tokens(text) {
        match token {
            "" => return Err(TopicError::EmptyToken),
            "*" | ">" => return Err(TopicError::Wildcard),
            _ => {}
        }
    }
    Ok(text)
}

/// Checks the pattern of a SUBSCRIBE or UNSUBSCRIBE. The empty pattern matches the empty topic.
pub fn check_pattern(pattern: &[u8]) -> Result<&str, TopicError> {
    let text = check_characters(pattern)?;
    let mut tokens = tokens(text).peekable();
    while let Some(token) = tokens.next() {
        match token {
            "" => return Err(TopicError::EmptyToken),
            ">" if tokens.peek().is_some() => return Err(TopicError::RestNotLast),
            _ => {}
        }
    }
    Ok(text)
}

/// Whether a checked pattern matches one topic alone.
pub fn is_exact(pattern: &str) -> bool {
    tokens(pattern).all(|token| token != "*" && token != ">")
}

/// The first token of a pattern that holds a `*` or `>` beside other characters. It stands for itself alone: topics
/// may hold such tokens too, but who writes `a*` nearly always means something else.
pub fn partial_wildcard(pattern: &str) -> Option<&str> {
    tokens(pattern).find(|token| token.len() > 1 && token.contains(['*', '>']))
}

/// The tokens of a topic or pattern.
pub fn tokens(text: &str) -> impl Iterator<Item = &str> {
    // "".split('.') is one empty token; the empty topic has none.
    text.split('.').take(if text.is_empty() { 0 } else { usize::MAX })
}

/// Whether `pattern` matches `topic`, both checked: the definition that every faster way is tested against.
pub fn matches(pattern: &str, topic: &str) -> bool {
    if pattern == ">" {
        return true;
    }
    let mut topic = tokens(topic);
    for token in tokens(pattern) {
        match (token, topic.next()) {
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (literal, Some(given)) if literal == given => {}
            _ => return false,
        }
    }
    topic.next().is_none()
}

/// Whether every topic that `asked` matches is one that `allowed` matches, both checked patterns.
pub fn covers(allowed: &str, asked: &str) -> bool {
    // The two that no token tells apart: `>` alone matches the empty topic, too.
    if allowed == ">" || asked == ">" {
        return allowed == ">";
    }
    let mut asked = tokens(asked);
    for token in tokens(allowed) {
        match (token, asked.next()) {
            (">", Some(_)) => return true,
            // What stands for one token is no more than that.
            ("*", Some(other)) if other != ">" => {}
            (literal, Some(other)) if literal == other => {}
            _ => return false,
        }
    }
    asked.next().is_none()
}

fn check_characters(bytes: &[u8]) -> Result<&str, TopicError> {
    let text = std::str::from_utf8(bytes).map_err(|_| TopicError::NotUtf8)?;
    match text.chars().find(|c| c.is_control() || c.is_whitespace()) {
        Some(c) => Err(TopicError::Character(c)),
        None => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics() {
        use TopicError::*;
        for (topic, expected) in [
            (&b""[..], Ok("")),
            (b"orders.eu", Ok("orders.eu")),
            ("größe.東京".as_bytes(), Ok("größe.東京")),
            (b"a*.b>", Ok("a*.b>")),
            (b"*", Err(Wildcard)),
            (b"a.>", Err(Wildcard)),
            (b"a..b", Err(EmptyToken)),
            (b".", Err(EmptyToken)),
            (b"a.", Err(EmptyToken)),
            (b"a b", Err(Character(' '))),
            (b"a\0", Err(Character('\0'))),
            (b"a\n", Err(Character('\n'))),
            ("a\u{a0}".as_bytes(), Err(Character('\u{a0}'))),
            (b"\xff", Err(NotUtf8)),
        ] {
            assert_eq!(check_topic(topic), expected, "{topic:?}");
        }
    }

    #[test]
    fn patterns() {
        use TopicError::*;
        for (pattern, expected) in [
            (&b""[..], Ok(())),
            (b">", Ok(())),
            (b"*.a.>", Ok(())),
            (b">.a", Err(RestNotLast)),
            (b"a..>", Err(EmptyToken)),
            (b"a b", Err(Character(' '))),
            (b"\xc3", Err(NotUtf8)),
        ] {
            assert_eq!(check_pattern(pattern).map(|_| ()), expected, "{pattern:?}");
        }
    }

    #[test]
    fn wildcards_within_a_token_are_found() {
        for (pattern, token) in [
            ("a*", Some("a*")),
            ("a.b>", Some("b>")),
            ("x.*.**", Some("**")),
            ("a.*.b", None),
            ("a.>", None),
            (">", None),
            ("", None),
        ] {
            assert_eq!(partial_wildcard(pattern), token, "{pattern}");
        }
    }

    #[test]
    fn matching() {
        for (pattern, topic, expected) in [
            (">", "", true),
            (">", "a.b", true),
            ("", "", true),
            ("", "a", false),
            ("*", "", false),
            ("*", "a", true),
            ("*", "a.b", false),
            ("a.>", "a", false),
            ("a.>", "a.b", true),
            ("a.>", "a.b.c", true),
            ("a.*.c", "a.b.c", true),
            ("a.*.c", "a.b.d", false),
            ("a.b", "a", false),
            ("a", "a.b", false),
            ("*.>", "a", false),
            ("*.>", "a.b", true),
        ] {
            assert_eq!(matches(pattern, topic), expected, "{pattern} {topic}");
        }
    }

    /// Every pattern of up to three tokens with every other, against what they match of all topics that tell them apart:
    /// of up to five tokens, one of which (`x`) is in no pattern.
    #[test]
    fn covering_is_matching_no_more() {
        fn texts(tokens: &[&str], longest: usize) -> Vec<String> {
            let mut all = vec![String::new()];
            for _ in 0..longest {
                let longer = all.iter().flat_map(|text| {
                    tokens.iter().map(move |token| match text.as_str() {
                        "" => (*token).to_string(),
                        text => format!("{text}.{token}"),
                    })
                });
                let longer: Vec<String> = longer.collect();
                all.extend(longer);
                all.sort_unstable();
                all.dedup();
            }
            all
        }
        let topics = texts(&["a", "b", "x"], 5);
        let mut patterns = texts(&["a", "b", "*", ">"], 3);
        patterns.retain(|pattern| check_pattern(pattern.as_bytes()).is_ok());
        assert_eq!((topics.len(), patterns.len()), (364, 53));
        for asked in &patterns {
            let asked_for: Vec<&String> = topics.iter().filter(|topic| matches(asked, topic)).collect();
            for allowed in &patterns {
                let expected = asked_for.iter().all(|topic| matches(allowed, topic));
                assert_eq!(covers(allowed, asked), expected, "{asked:?} under {allowed:?}");
            }
        }
    }
}
