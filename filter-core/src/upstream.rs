//! Whose a packet is: what the policy says of the upstream that its source belongs to.

use crate::{
    evaluate::narrow,
    host::Host,
    layout::{Dimension, address_flag},
    limits::RULE_WORDS,
    scratch::{NumberOf, Scratch},
};

/// The number of the packet's upstream, from 1; 0 for none.
#[inline(always)]
fn number<'m, H: Host<'m>>(host: H, s: &Scratch) -> u32 {
    address_flag::upstream(host.address_class(s.packet.source_class).unwrap_or(0))
}

/// Narrows the candidates by whether the calling number is one of those that the upstream may use, see
/// [`CallerAllowed`](crate::layout::CallerAllowed).
#[inline(always)]
pub fn narrow_by_caller<'m, H: Host<'m>>(host: H, s: &mut Scratch) {
    let config = host.config();
    // From 0. Without an upstream, it is above all that have a list.
    let upstream = number(host, s).wrapping_sub(1);
    let class = s.message.number(NumberOf::Calling).class;
    let word = host.masked::<{ RULE_WORDS as u32 - 1 }>(upstream >> 6);
    let allowed = host.row(config.callers_row.wrapping_add(class)).map_or(0, |row| row[word] >> (upstream & 63) & 1);
    // Computed, not chosen: the verifier would follow each of the three values.
    let has_list = (upstream < config.callers) as u32;
    narrow(host, &mut s.walk, Dimension::CallerAllowed, has_list * (1 + allowed as u32));
}

/// What limits know the packet's upstream by; 0 if it has none.
#[inline(always)]
pub fn key<'m, H: Host<'m>>(host: H, s: &Scratch) -> u64 {
    let first = host.config().upstream_row;
    let upstream = number(host, s);
    if first == 0 || upstream == 0 {
        return 0;
    }
    host.row(first.wrapping_add(upstream - 1)).map_or(0, |row| row[0])
}
