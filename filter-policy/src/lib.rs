//! From a policy repository to an image of the kernel's maps, and packets judged in user space.
//!
//! [`build`] takes a policy all the way: [`language`] parses `policy.toml`, [`resolve`] reads its [`lists`] and makes a
//! [`model::Policy`], [`lint`] adds warnings, and [`compile`] makes the [`image::Image`].

#![warn(clippy::wildcard_enum_match_arm, unreachable_pub)]

pub mod bounds;
pub mod capture;
pub mod cases;
pub mod compile;
pub mod difference;
pub mod engine;
pub mod facts;
pub mod files;
pub mod image;
pub mod import;
pub mod language;
pub mod lint;
pub mod lists;
pub mod model;
pub mod numbering;
pub mod sample_policy;
#[doc(hidden)]
pub mod testing;
pub mod timetable;

mod cache;
mod foreign;
mod locate;
mod resolve;

use std::{path::Path, time::Instant};

pub use self::cache::BuildCache;
use self::{
    bounds::{Bounds, POLICY_BYTES},
    cache::ListCache,
    compile::{CompileError, CompileErrorKind},
    files::{Directory, Files},
    image::Image,
    language::{
        diagnostics::{Code, Diagnostic, Diagnostics, SourceFile},
        source,
    },
    lists::Day,
    model::{Origin, Policy},
};

/// The most errors of the compiler that are shown with their lines.
const LISTED_PLACES: usize = 100;

/// The policy file of a repository.
pub const POLICY_FILE: &str = "policy.toml";

/// A policy that can be loaded into the kernel, with the warnings about it.
pub struct Built {
    /// What the files say.
    pub policy: Policy,
    /// What goes into the maps.
    pub image: Image,
    /// Warnings.
    pub diagnostics: Diagnostics,
}

/// Parses, resolves, lints and compiles a policy repository. `today` decides what has expired.
///
/// # Errors
///
/// Everything that is wrong with it, warnings included.
pub fn build(files: &dyn Files, today: Day) -> Result<Built, Diagnostics> {
    build_cached(files, today, &Bounds::default(), &mut BuildCache::default())
}

/// As [`build`], within `bounds`, and reusing what the last build left in `cache`. The result is the same, only sooner.
///
/// # Errors
///
/// As for [`build`]. Of one that was cancelled, the result says nothing.
pub fn build_cached(
    files: &dyn Files,
    today: Day,
    bounds: &Bounds,
    cache: &mut BuildCache,
) -> Result<Built, Diagnostics> {
    let start = Instant::now();
    let (policy, mut diagnostics) = load_cached(files, today, bounds, &mut cache.lists)?;
    tracing::debug!(after = ?start.elapsed(), "policy read");
    if bounds.cancel.is_cancelled() {
        return Err(diagnostics);
    }
    let compiled = compile::compile_cached(&policy, &bounds.cancel, &mut cache.compiled);
    tracing::debug!(after = ?start.elapsed(), "policy compiled");
    match compiled {
        Ok(image) => Ok(Built { policy, image, diagnostics }),
        Err(errors) => {
            // Each reads a file again, to show its line.
            let mut places = LISTED_PLACES;
            for error in &errors {
                let origin = error.origin.as_ref().filter(|_| places > 0);
                places -= usize::from(origin.is_some());
                diagnostics.push(compile_diagnostic(error, origin, files));
            }
            diagnostics.sort(Path::new(POLICY_FILE));
            Err(diagnostics)
        }
    }
}

/// Parses, resolves and lints the policy repository in a directory, without compiling it.
///
/// # Errors
///
/// Everything that is wrong with it, warnings included. A directory that cannot be opened is one diagnostic without a place.
pub fn load(directory: &Path) -> Result<(Policy, Diagnostics), Diagnostics> {
    match Directory::new(directory) {
        Ok(files) => load_from(&files, today()),
        Err(error) => {
            let message = format!("cannot open the policy directory {}: {error}", directory.display());
            Err(only(Diagnostic::error(Code::MissingFile, message)))
        }
    }
}

/// Parses, resolves and lints a policy repository from anywhere. `today` decides what has expired.
///
/// # Errors
///
/// Everything that is wrong with it, warnings included.
pub fn load_from(files: &dyn Files, today: Day) -> Result<(Policy, Diagnostics), Diagnostics> {
    load_cached(files, today, &Bounds::default(), &mut ListCache::default())
}

/// Today's date in UTC.
#[must_use]
pub fn today() -> Day {
    let date = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    (date.year().unsigned_abs(), date.month().unsigned_abs(), date.day().unsigned_abs())
}

/// As [`load_from`], within `bounds`; lists in `cache` are not read again.
fn load_cached(
    files: &dyn Files,
    today: Day,
    bounds: &Bounds,
    cache: &mut ListCache,
) -> Result<(Policy, Diagnostics), Diagnostics> {
    let file = read_policy_file(files)?;
    let mut diagnostics = Diagnostics::default();
    let mut source = source::parse(&file, &mut diagnostics);
    let resolved = resolve::resolve(&file, &mut source, files, today, bounds, cache, &mut diagnostics);
    let is_usable = !diagnostics.has_errors();
    if is_usable {
        lint::lint(&resolved, &source, &file, today, &mut diagnostics);
    }
    diagnostics.sort(Path::new(POLICY_FILE));
    if !is_usable {
        return Err(diagnostics);
    }
    cache.keep_sizes(resolved.sizes);
    Ok((resolved.policy, diagnostics))
}

fn read_policy_file(files: &dyn Files) -> Result<SourceFile, Diagnostics> {
    let path = Path::new(POLICY_FILE);
    let content = files.read(path, POLICY_BYTES).map_err(|error| {
        let message = format!("cannot read {POLICY_FILE}: {}", resolve::reason(&error));
        let help =
            resolve::readable(&error).unwrap_or("a policy repository is a directory that contains `policy.toml`");
        only(Diagnostic::error(Code::MissingFile, message).help(help))
    })?;
    SourceFile::decode(path, &content, "policy").map_err(only)
}

fn only(diagnostic: Diagnostic) -> Diagnostics {
    let mut diagnostics = Diagnostics::default();
    diagnostics.push(diagnostic);
    diagnostics
}

/// A compile error, with the source line it is about.
fn compile_diagnostic(error: &CompileError, origin: Option<&Origin>, files: &dyn Files) -> Diagnostic {
    let mut help = None;
    let mut part = "";
    let code = match &error.kind {
        CompileErrorKind::BadEntry { .. } | CompileErrorKind::BadNumberRange(_) => Code::BadNumber,
        CompileErrorKind::BadPattern { pattern, .. } => {
            part = pattern;
            Code::BadPattern
        }
        CompileErrorKind::NoFormat(_) | CompileErrorKind::SeveralPositive { .. } => Code::BadValue,
        CompileErrorKind::TooManyBanPrefixes(_) => {
            help = Some(
                "use the lengths of other rules: a ban of more addresses serves as well, if no peer is among them",
            );
            Code::TooManyBanPrefixes
        }
        CompileErrorKind::PatternsTooLarge { pattern, .. } => {
            part = pattern;
            help = Some(
                "bounded repetitions (`{n,m}`), `.*` in the middle and large character classes cost most: shorten them, or \
                 remove them",
            );
            Code::TooLarge
        }
        CompileErrorKind::TooManyClasses { .. }
        | CompileErrorKind::TooManyRows(_)
        | CompileErrorKind::TooManyUpstreams { .. } => Code::TooLarge,
        CompileErrorKind::TooManyHeaders(_) => Code::TooManyHeaders,
        CompileErrorKind::TooManyPlans(_) => Code::TooManyPlans,
        CompileErrorKind::TooManyPorts(_) => Code::TooManyPorts,
        CompileErrorKind::TooManyRules(_) => Code::TooManyRules,
        CompileErrorKind::ZeroRate(_) => Code::BadRate,
    };
    let diagnostic = Diagnostic::error(code, error.to_string()).maybe_help(help.map(str::to_owned));
    match origin {
        None => diagnostic,
        Some(origin) => diagnostic.at(locate::place_of(origin, part, files)),
    }
}
