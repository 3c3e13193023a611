//! The image that `inspect` reads messages with.

use filter_core::layout::{Port, Transport, need};

use crate::policy::image::Image;

/// A copy of a policy's image that reads everything there is to read, on any of the given ports, and decides nothing: what
/// the policy knows of numbers and of believed sources is kept, its rules are not.
#[must_use]
pub fn inspection(image: &Image, ports: &[(u16, Transport)]) -> Image {
    let mut image = image.clone();
    let keep = image.config.needs & need::ASSERTED_IDENTITY;
    image.config.needs = need::INSPECT | need::TCP | keep;
    image.config.texts = 0;
    image.config.rules = 0;
    image.config.words = 1;
    image.config.default_drop = 0;
    for (slot, (port, transport)) in image.config.ports.iter_mut().zip(ports) {
        *slot = Port { port: *port, transport: *transport as u8, reserved: 0 };
    }
    image
}
