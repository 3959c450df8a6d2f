//! A doctored story must be seen.
