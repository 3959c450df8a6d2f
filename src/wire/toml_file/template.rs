//! Text with `{names}` in it.

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::wire) enum Piece {
    Text(String),
    /// A name, and what follows its colon.
    Field(String, Option<String>),
}

/// Whether a field may be called so.
pub(in crate::wire) fn is_name(text: &str) -> bool {
    let first = text.chars().next();
    first.is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

/// Text with `{field}` and `{field:FORMAT}` in it.
pub(in crate::wire) fn template(text: &str) -> Result<Vec<Piece>, String> {
    let (mut pieces, mut rest) = (Vec::new(), text);
    while !rest.is_empty() {
        let at = rest.find(['{', '}']).unwrap_or(rest.len());
        if at > 0 {
            pieces.push(Piece::Text(rest[..at].to_string()));
        }
        rest = &rest[at..];
        if let Some(inner) = rest.strip_prefix('{') {
            let end = inner.find(['{', '}']).filter(|end| inner[*end..].starts_with('}'));
            let end =
                end.ok_or_else(|| format!("{:?} has a {{ without its }}: write {{field}}", cut(text)))?;
            let (name, format) = match inner[..end].split_once(':') {
                Some((name, format)) => (name.trim(), Some(format.trim().to_string())),
                None => (inner[..end].trim(), None),
            };
            if !is_name(name) {
                return Err(format!("{{{}}} names no field: write {{field}}", cut(&inner[..end])));
            }
            pieces.push(Piece::Field(name.to_string(), format));
            rest = &inner[end + 1..];
        } else if !rest.is_empty() {
            return Err(format!("{:?} has a }} without its {{: write {{field}}", cut(text)));
        }
    }
    Ok(pieces)
}

/// Text of a declaration in a message: its beginning will do.
pub(in crate::wire) fn cut(text: &str) -> &str {
    match text.char_indices().nth(60) {
        Some((at, _)) => &text[..at],
        None => text,
    }
}
