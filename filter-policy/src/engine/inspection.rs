//! The image with which `inspect` reads messages.

use filter_core::{
    layout::{Transport, need},
    limits::RULE_WORDS,
};

use crate::image::Image;

/// A policy's image that reads everything there is to read, on any of the given ports, and decides nothing. It keeps
/// the policy's facts about numbers, numbering plans and believed sources, but not its rules.
#[must_use]
pub fn inspection(mut image: Image, ports: &[(u16, Transport)]) -> Image {
    let keep = image.config.needs & (need::CALLED_FROM_TO | need::PLANS | need::STRIP);
    // Which sources are believed is in the tables of addresses, even if no rule asks who calls.
    image.config.needs = need::INSPECT | need::TCP | need::ASSERTED_IDENTITY | keep;
    image.config.texts = 0;
    image.rows.fill([0; RULE_WORDS]);
    image.config.words = 1;
    image.config.default_drop = 0;
    image.config.report = 0;
    image.config.set_ports(ports);
    image
}
