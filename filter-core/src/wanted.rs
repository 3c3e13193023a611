//! The parts of a message that a policy needs. They follow from the configuration, which is constant to the verifier: what a
//! policy does not need is not in its program.

use crate::{
    layout::{Config, need},
    scratch::UriOf,
    text::Text,
};

/// True if the policy needs messages read. Otherwise addresses and ports decide about every packet.
#[inline(always)]
pub const fn messages(config: &Config) -> bool {
    config.needs & (need::MESSAGE | need::ANOMALY | need::INSPECT) != 0
}

/// URIs that the first reading takes in if the called number is needed.
pub const FIRST_URIS: u32 = UriOf::Request.bit();

/// True if there is a first reading. An inspection reads everything of every message.
#[inline(always)]
pub const fn reads_first(needs: u32) -> bool {
    needs & need::FIRST_READING != 0 && needs & need::INSPECT == 0
}

/// True if the first reading has taken in the called number.
#[inline(always)]
pub const fn called_is_read(needs: u32) -> bool {
    reads_first(needs) && needs & need::CALLED != 0
}

/// The texts whose patterns run after the first reading, as bits of [`Text`].
#[inline(always)]
pub const fn later_texts(needs: u32) -> u32 {
    !if reads_first(needs) { Text::FIRST } else { 0 }
}

/// True if the policy asks for anomalies, so that what is wrong with a message must be found even where it hides nothing.
#[inline(always)]
pub const fn anomalies(needs: u32) -> bool {
    needs & (need::ANOMALY | need::INSPECT) != 0
}

/// True if the policy needs something out of the body.
#[inline(always)]
pub const fn body(config: &Config) -> bool {
    config.texts & Text::IN_BODY != 0 || config.needs & need::INSPECT != 0
}

/// The URIs that the policy needs, as bits of [`UriOf`].
#[inline(always)]
pub fn uris(config: &Config) -> u32 {
    const TEXTS: [u32; UriOf::COUNT] = Text::OF_URIS;
    let mut wanted = 0;
    for (of, _, needs) in UriOf::SINGLE {
        if config.needs & (needs | need::INSPECT) != 0 || config.texts & TEXTS[of.index()] != 0 {
            wanted |= of.bit();
        }
    }
    wanted
}
