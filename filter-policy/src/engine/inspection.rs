//! The image that `inspect` reads messages with.

use filter_core::{
    layout::{Transport, need},
    limits::RULE_WORDS,
};

use crate::image::Image;

/// A copy of a policy's image that reads everything there is to read, on any of the given ports, and decides nothing: what
/// the policy knows of numbers and of believed sources is kept, its rules are not.
#[must_use]
pub fn inspection(image: &Image, ports: &[(u16, Transport)]) -> Image {
    let mut image = image.clone();
    let keep = image.config.needs & need::ASSERTED_IDENTITY;
    image.config.needs = need::INSPECT | need::TCP | keep;
    image.config.texts = 0;
    image.rows.fill([0; RULE_WORDS]);
    image.config.words = 1;
    image.config.default_drop = 0;
    image.config.set_ports(ports);
    image
}
