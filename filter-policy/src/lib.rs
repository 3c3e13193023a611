//! From a policy repository to an image, and packets judged in user space.
//!
//! A policy's way: [`language`] parses `policy.toml`, [`resolve`] makes a [`model::Policy`] of it and its [`lists`],
//! [`lint`] warns about what that policy does, [`compile`] makes an [`image::Image`] of it; [`build`] goes all of it.

pub mod capture;
pub mod cases;
pub mod compile;
pub mod engine;
pub mod files;
pub mod image;
pub mod import;
pub mod language;
pub mod lint;
pub mod lists;
pub mod model;
pub mod numbering;
pub mod resolve;
pub mod sample_policy;

mod cache;

use std::{path::Path, time::Instant};

pub use self::{
    cache::BuildCache,
    resolve::{load, load_from, today},
};
use self::{
    compile::{CompileError, CompileErrorKind},
    files::Files,
    image::Image,
    language::diagnostics::{Code, Diagnostic, Diagnostics, Place},
    lists::Day,
    model::{Origin, Policy},
};

/// A policy that can be loaded into the kernel, with the warnings about it.
pub struct Built {
    /// What the files say.
    pub policy: Policy,
    /// What lies in the maps.
    pub image: Image,
    /// Warnings.
    pub diagnostics: Diagnostics,
}

/// Parses, resolves and compiles a policy repository. `today` decides what has expired.
///
/// # Errors
///
/// Everything that is wrong with it, warnings included.
pub fn build(files: &dyn Files, today: Day) -> Result<Built, Diagnostics> {
    build_cached(files, today, &mut BuildCache::default())
}

/// As [`build`], reusing what the build before left in `cache`: the outcome is the same, sooner.
///
/// # Errors
///
/// As for [`build`].
pub fn build_cached(files: &dyn Files, today: Day, cache: &mut BuildCache) -> Result<Built, Diagnostics> {
    let start = Instant::now();
    let (policy, mut diagnostics) = resolve::load_cached(files, today, &mut cache.lists)?;
    tracing::debug!(after = ?start.elapsed(), "policy read");
    let compiled = compile::compile_cached(&policy, &mut cache.compiled);
    tracing::debug!(after = ?start.elapsed(), "policy compiled");
    match compiled {
        Ok(image) => Ok(Built { policy, image, diagnostics }),
        Err(errors) => {
            for error in &errors {
                diagnostics.push(told(error, files));
            }
            diagnostics.sort(Path::new(resolve::POLICY_FILE));
            Err(diagnostics)
        }
    }
}

/// Gives a compile error the source line it is about.
fn told(error: &CompileError, files: &dyn Files) -> Diagnostic {
    let code = match &error.kind {
        CompileErrorKind::BadEntry { .. } | CompileErrorKind::BadNumberRange(_) => Code::BadNumber,
        CompileErrorKind::BadPattern { .. } => Code::BadPattern,
        CompileErrorKind::NoFormat(_) | CompileErrorKind::SeveralPositive { .. } => Code::BadValue,
        CompileErrorKind::ZeroRate(_) => Code::BadRate,
        CompileErrorKind::TooManyPorts(_) => Code::TooManyPorts,
        CompileErrorKind::TooManyRules(_) => Code::TooManyRules,
        CompileErrorKind::PatternsTooLarge { .. }
        | CompileErrorKind::TooManyClasses { .. }
        | CompileErrorKind::TooManyRows(_) => Code::TooLarge,
    };
    let diagnostic = Diagnostic::error(code, error.to_string());
    let (diagnostic, part) = match &error.kind {
        CompileErrorKind::PatternsTooLarge { pattern, .. } => {
            let help = "bounded repetitions (`{n,m}`), `.*` in the middle and wide classes cost most: write them shorter, or \
                        leave them out";
            (diagnostic.help(help), pattern.as_str())
        }
        CompileErrorKind::BadPattern { pattern, .. } => (diagnostic, pattern.as_str()),
        _ => (diagnostic, ""),
    };
    match &error.origin {
        None => diagnostic,
        Some(origin) => diagnostic.at(line_of(origin, part, files)),
    }
}

/// The part of an origin's line that reads so, or else the whole line.
fn line_of(origin: &Origin, part: &str, files: &dyn Files) -> Place {
    let content = files.read(&origin.file).unwrap_or_default();
    let index = (origin.line as usize).saturating_sub(1);
    let line = content.split(|&byte| byte == b'\n').nth(index).unwrap_or_default();
    if let Some(at) = line.windows(part.len().max(1)).position(|window| window == part.as_bytes()) {
        return Place::new(&origin.file, origin.line, line, at..at + part.len());
    }
    let start = line.len() - line.trim_ascii_start().len();
    Place::new(&origin.file, origin.line, line, start..line.trim_ascii_end().len())
}
