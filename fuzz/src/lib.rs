//! What the fuzz targets call. It lives with the oracle: the tests run the targets' corpora too.

pub use ringfence_oracle::fuzz::*;
