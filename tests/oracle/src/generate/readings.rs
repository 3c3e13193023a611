//! Readings, addresses and numbers as proptest strategies.

use std::net::IpAddr;

use filter_core::layout::{Dialog, Payload, TEXTS, anomaly, passport, privacy};
use proptest::{
    collection::vec,
    option,
    prelude::*,
    sample::{Index, select},
};

use super::stock::{ADDRESSES, ATTESTATIONS, FORMATS, METHODS, NUMBERS, PORTS, TEXT_SCOPES, VALUES, VERSTATS};
use crate::evaluate::{Numbers, Readings};

/// A number of 1 to 18 digits that shares a prefix with one in stock. Some of the short ones are E.164.
pub fn number() -> impl Strategy<Value = String> {
    let cut = (select(&NUMBERS[..]), any::<Index>(), "[0-9]{0,11}").prop_map(|(number, length, tail)| {
        let mut digits = number[..=length.index(number.len())].to_owned() + &tail;
        digits.truncate(18);
        digits
    });
    let short =
        (cut.clone(), 1..=6usize).prop_map(|(digits, length)| format!("+{}", &digits[..length.min(digits.len())]));
    prop_oneof![4 => select(&NUMBERS[..]).prop_map(str::to_owned), 4 => cut, 1 => short]
}

/// An address from the stock, or one close to it.
pub fn address() -> impl Strategy<Value = IpAddr> {
    (select(&ADDRESSES[..]), select(vec![0u32, 0, 1, 2, 0xff, 0x1_0000])).prop_map(|(address, further)| {
        match address.parse().expect("an address") {
            IpAddr::V4(address) => IpAddr::V4(u32::from(address).wrapping_add(further).into()),
            IpAddr::V6(address) => IpAddr::V6(u128::from(address).wrapping_add(u128::from(further)).into()),
        }
    })
}

/// The readings of any packet.
pub fn readings() -> impl Strategy<Value = Readings> {
    let numbers = (
        option::weighted(0.8, number()),
        option::weighted(0.8, number()),
        option::weighted(0.3, number()),
        option::weighted(0.8, number()),
        option::weighted(0.3, number()),
        option::weighted(0.3, number()),
        option::weighted(0.8, number()),
        vec(number(), 0..4),
    )
        .prop_map(|(calling, called, forwarded, from, asserted, preferred, to, identities)| Numbers {
            calling,
            called,
            forwarded,
            from,
            asserted,
            preferred,
            to,
            identities,
        });
    // Mostly messages.
    let payload = prop_oneof![9 => Just(Payload::Sip), 1 => select(&Payload::ALL[..])];
    let packet = (address(), address(), option::weighted(0.95, select(&PORTS[..])), payload);
    let anomalies = prop_oneof![6 => Just(0), 3 => 0..1u32 << anomaly::COUNT];
    let message = (
        select(&METHODS[..]),
        vec(option::weighted(0.8, select(&VALUES[..])), TEXT_SCOPES.len()),
        numbers,
        select(&FORMATS[..]),
        select(&FORMATS[..]),
        select(&ATTESTATIONS[..]),
        select(&VERSTATS[..]),
        (0..1u32 << privacy::COUNT, select(&Dialog::ALL[..]), 0..1u32 << passport::COUNT, any::<bool>()),
    );
    (packet, anomalies, message, vec(0..20usize, 0..6)).prop_map(|(packet, anomalies, message, exceeded)| {
        let (source, destination, service, payload) = packet;
        let (method, values, numbers, calling_format, called_format, attestation, verstat, others) = message;
        let (privacy, dialog, passports, is_trusted) = others;
        let mut texts: [Option<Vec<u8>>; TEXTS] = std::array::from_fn(|_| None);
        for (scope, value) in TEXT_SCOPES.iter().zip(values) {
            texts[scope.index()] = value.map(<[u8]>::to_vec);
        }
        Readings {
            source,
            destination,
            service,
            is_message: payload == Payload::Sip,
            anomalies,
            payload,
            method,
            texts,
            numbers,
            calling_format,
            called_format,
            attestation,
            verstat,
            privacy,
            dialog,
            passports,
            is_trusted,
            exceeded,
            at: None,
        }
    })
}
