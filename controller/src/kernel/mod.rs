//! The kernel's side: the XDP program, its maps, its link.

mod object;

pub use object::OBJECT;
