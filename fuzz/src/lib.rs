//! What the fuzz targets call; it lies with the tests, which run the targets' corpora too.

#[path = "../../tests/tests/oracle/mod.rs"]
mod oracle;

pub use oracle::fuzz::*;
