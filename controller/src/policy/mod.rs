//! A policy's way: `source` parses the files, `resolve` makes a [`model::Policy`] of them, `compile` makes an
//! [`image::Image`] of that.

pub mod compile;
pub mod image;
pub mod model;
