//! The sample policy, as it is and as it was before newer scopes.

use anyhow::{Context as _, Result, anyhow, ensure};
use filter_policy::image::Image;

use crate::policies::Repository;

/// The sample policy, as the daemon starts with it.
pub(crate) fn sample() -> Result<Image> {
    let built =
        filter_policy::build(&filter_policy::files::Table(filter_policy::sample_policy::FILES), filter_policy::today());
    built.map(|built| built.image).map_err(|_| anyhow!("the sample policy does not compile"))
}

/// Scopes that were added after the sample policy was first measured.
const NEWER_SCOPES: [&str; 7] =
    ["any_identity", "calling_privacy", "dialog", "passport", "payload", "preferred_number", "to_number"];

/// The sample policy as it was before it used [`NEWER_SCOPES`]: the rule about any identity is about the calling number.
/// Compared with [`sample`], it shows what these scopes cost a policy that uses them.
pub(crate) fn without_newer_scopes() -> Result<Image> {
    let mut repository = Repository::empty();
    for (path, content) in filter_policy::sample_policy::FILES {
        // What is in tests/ is not part of the policy, and need not be text.
        if *path == "policy.toml" || path.starts_with("lists/") {
            let content = String::from_utf8(content.to_vec()).with_context(|| format!("{path} is not UTF-8"))?;
            repository = repository.with(path, content.replace("any_identity = ", "calling = "));
        }
    }
    for scope in NEWER_SCOPES {
        let used = repository.files().iter().any(|(path, text)| path == "policy.toml" && names(text, scope));
        ensure!(!used, "the sample policy uses {scope}: say in bench/src/sample_policy.rs what it was without");
    }
    repository.build()
}

/// Whether a policy has a condition on this scope.
fn names(policy: &str, scope: &str) -> bool {
    [format!(".{scope} ="), format!(" {scope} =")].iter().any(|key| policy.contains(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_policy_can_do_without_the_newer_scopes() {
        let (old, new) = (without_newer_scopes().unwrap(), sample().unwrap());
        assert_eq!(old.rule_names, new.rule_names);
        assert_ne!(old.hash, new.hash);
    }

    #[test]
    fn newer_scopes_are_scopes() {
        for scope in NEWER_SCOPES {
            assert!(filter_policy::language::scope::SCOPES.iter().any(|(name, ..)| *name == scope), "{scope}");
        }
    }
}
