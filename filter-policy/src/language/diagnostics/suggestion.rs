//! What was probably meant by an unknown name.

/// The known name that is closest to an unknown one, if any is close.
pub(crate) fn closest<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let unknown = unknown.to_ascii_lowercase().replace('-', "_");
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&unknown, &name.to_ascii_lowercase().replace('-', "_")), name))
        .filter(|(distance, name)| *distance <= (name.len().min(unknown.len()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// "did you mean `x`?", or otherwise all known names if they are few enough to read.
#[must_use]
pub fn suggest<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> Option<String> {
    const MAX_NAMES: usize = 24;
    if let Some(name) = closest(unknown, known.clone()) {
        return Some(format!("did you mean `{name}`?"));
    }
    let names: Vec<String> = known.into_iter().map(|name| format!("`{name}`")).collect();
    (!names.is_empty() && names.len() <= MAX_NAMES).then(|| format!("use one of {}", names.join(", ")))
}
