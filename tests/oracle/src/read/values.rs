//! What the header fields and the body say: attestation, privacy, texts, lengths.

use filter_core::{
    layout::{Attestation, Method, Text, Transport, anomaly, passport, privacy},
    limits::INSPECTED_LENGTH,
    scratch::{Header, Kind, UriOf},
};
use filter_policy::model::Policy;

use super::{
    fields::{Fields, known, open_pairs, read_lines},
    find,
    frame::Packet,
    identities::{Uris, read_identities, read_uris},
    is_blank, is_line_end, lines,
    message::Message,
    parameters::{self, parameters},
    plan::plan_of,
    start_line::{StartLine, has_version},
    words,
};

pub(super) fn read_fields(
    policy: &Policy,
    packet: &Packet,
    message: &mut Message,
    start_line: &StartLine,
    bytes: &[u8],
) {
    let fields = read_lines(policy, bytes, start_line.version);
    message.anomalies |= fields.anomalies | open_pairs(&bytes[..fields.body.unwrap_or(bytes.len()).min(bytes.len())]);
    message.seen = fields.fields.iter().map(|field| field.0).collect();
    let mandatory = [Header::From, Header::To, Header::CallId, Header::CSeq, Header::Via];
    if fields.body.is_some() && mandatory.iter().any(|header| fields.first(*header).is_none()) {
        message.anomalies |= anomaly::MISSING_HEADER;
    }
    read_passports(packet, message, &fields, bytes);
    read_privacy(message, &fields);
    let uris = read_uris(message, bytes, start_line, &fields, plan_of(policy, packet.source));
    read_identities(policy, packet, message, &uris);
    // An empty tag makes no dialog.
    message.to_tag = parameters(&uris.to.after, "tag")
        .next()
        .is_some_and(|tag| tag.first().is_some_and(|byte| !b";,".contains(byte)));
    read_texts(policy, message, &fields, &uris);
    for of in UriOf::ALL {
        message.users[of.index()] = uris.of(of).user;
    }
    read_body(message, &fields, bytes);
    read_content_length(packet, message, &fields, bytes);
}

/// The words of Privacy (RFC 3323 section 4.2, RFC 3325 section 9.3, RFC 7044 section 10.1).
fn read_privacy(message: &mut Message, fields: &Fields<'_>) {
    for value in fields.all(Header::Privacy) {
        for word in value.split(|&byte| b";,".contains(&byte) || is_blank(byte)) {
            message.privacy |= match word.to_ascii_lowercase().as_slice() {
                b"id" => privacy::ID,
                b"header" => privacy::HEADER,
                b"session" => privacy::SESSION,
                b"user" => privacy::USER,
                b"history" => privacy::HISTORY,
                b"critical" => privacy::CRITICAL,
                _ => 0,
            };
        }
    }
}

/// The kinds of PASSporT, and the first claim of an attestation.
fn read_passports(packet: &Packet, message: &mut Message, fields: &Fields<'_>, bytes: &[u8]) {
    for value in fields.all(Header::Identity) {
        let is_cut = value.as_ptr_range().end == bytes.as_ptr_range().end;
        let claim = match attestation(value) {
            _ if is_cut && packet.fragment.is_some() => Attestation::Truncated,
            // A verifier needs the certificate (RFC 8224 section 4).
            _ if is_cut || !parameters(value, "info").next().is_some_and(names_something) => Attestation::Unknown,
            // It is no list.
            _ if parameters(value, "info").next().is_some_and(goes_on_after_comma) => Attestation::Unknown,
            claim => claim,
        };
        if !matches!(message.attestation, Attestation::A | Attestation::B | Attestation::C) {
            message.attestation = claim;
        }
        let kind = parameters(value, "ppt").next().map(|kind| parameters::value(kind).to_ascii_lowercase());
        message.passports |= match kind.as_deref() {
            Some(b"shaken") => passport::SHAKEN,
            Some(b"div") => passport::DIV,
            Some(b"rph") => passport::RPH,
            None if matches!(claim, Attestation::A | Attestation::B | Attestation::C) => passport::SHAKEN,
            _ => passport::OTHER,
        };
    }
}

fn goes_on_after_comma(info: &[u8]) -> bool {
    let address_end = info.iter().position(|&byte| byte == b'>').unwrap_or(0);
    info[address_end..].contains(&b',')
}

fn names_something(info: &[u8]) -> bool {
    match info.first() {
        None | Some(b';' | b',') => false,
        Some(b'<' | b'"') => info.get(1).is_some_and(|&byte| !is_blank(byte) && !b"<>\"".contains(&byte)),
        Some(_) => true,
    }
}

/// The attestation that an Identity claims. A SHAKEN PASSporT's payload begins with it (RFC 8225 section 9): in base64url,
/// the sixteen characters after the first full stop. Nothing else is a claim.
fn attestation(value: &[u8]) -> Attestation {
    let Some((_, token)) = words(value).into_iter().next() else { return Attestation::Unknown };
    let Some(dot) = token.iter().position(|&byte| byte == b'.') else { return Attestation::Unknown };
    let payload = &token[dot + 1..];
    let signed = &payload[..find(payload, 0, |byte| b";,".contains(&byte))];
    let signature = signed.splitn(2, |&byte| byte == b'.').nth(1).unwrap_or_default();
    // The claim's closing quote, in two characters.
    let is_closed = payload.get(16) == Some(&b'I') && payload.get(17).is_some_and(|byte| (b'g'..=b'v').contains(byte));
    if !is_closed || signature.is_empty() || !payload.starts_with(b"eyJhdHRlc3QiOiJ") {
        return Attestation::Unknown;
    }
    match payload[15] {
        b'B' => Attestation::A,
        b'C' => Attestation::B,
        b'D' => Attestation::C,
        _ => Attestation::Unknown,
    }
}

fn read_texts(policy: &Policy, message: &mut Message, fields: &Fields<'_>, uris: &Uris) {
    let kind = message.kind;
    let texts = &mut message.texts;
    let mut set = |text: Text, value: Option<&[u8]>| texts[text.index()] = value.map(<[u8]>::to_vec);
    let mut agent = fields.first(Header::UserAgent);
    if kind == Kind::Response {
        agent = agent.or(fields.first(Header::Server));
    }
    set(Text::UserAgent, agent);
    set(Text::CallId, fields.first(Header::CallId));
    set(Text::Contact, fields.first(Header::Contact));
    set(Text::Server, fields.first(Header::Server));
    set(Text::Subject, fields.first(Header::Subject));
    set(Text::Via, fields.first(Header::Via));
    for (index, name) in policy.headers.iter().enumerate() {
        let own = fields.first(Header::named(index as u32));
        message.named[index] = own.map(<[u8]>::to_vec);
        let header = known(policy, name.as_str().as_bytes()).expect("a policy's headers are known");
        set(Text::named(index), fields.first(header));
    }
    let mut part = |text: Text, value: &Vec<u8>| set(text, Some(value.as_slice()).filter(|value| !value.is_empty()));
    part(Text::ContactHost, &uris.contact.host);
    part(Text::FromDisplay, &uris.from.display);
    part(Text::FromHost, &uris.from.host);
    part(Text::FromUser, &uris.from.user);
    part(Text::RequestHost, &uris.request.host);
    part(Text::RequestUser, &uris.request.user);
    part(Text::ToUser, &uris.to.user);
}

fn read_body(message: &mut Message, fields: &Fields<'_>, bytes: &[u8]) {
    let Some(body) = fields.body.map(|body| &bytes[body..]).filter(|body| !body.is_empty()) else { return };
    if message.method == Method::Message {
        message.texts[Text::Body.index()] = Some(body[..body.len().min(512)].to_vec());
    }
    let session = lines(body).into_iter().find_map(|line| line.strip_prefix(b"s="));
    message.texts[Text::SdpSession.index()] = session.map(<[u8]>::to_vec);
}

/// Compares Content-Length with the bytes that follow the headers (RFC 3261 section 18.3).
fn read_content_length(packet: &Packet, message: &mut Message, fields: &Fields<'_>, bytes: &[u8]) {
    let value = fields.first(Header::ContentLength);
    if value.is_none() && packet.transport == Transport::Udp {
        return;
    }
    let words = words(value.unwrap_or(b"0"));
    let is_number = |word: &[u8]| word.len() <= 9 && word.iter().all(u8::is_ascii_digit);
    let mut length: Option<u32> = None;
    if let [(_, word)] = words[..]
        && is_number(word)
    {
        length = std::str::from_utf8(word).ok().and_then(|word| word.parse().ok());
    }
    // In a stream, a message without the header has no body.
    message.content_length = length.filter(|_| value.is_some());
    // The rest of a fragmented datagram is in other packets.
    let Some(body) = fields.body.filter(|_| packet.fragment.is_none()) else { return };
    let available = packet.payload.len() - body;
    let Some(claimed) = length.map(|length| length as usize) else {
        message.anomalies |= anomaly::CONTENT_LENGTH_MISMATCH;
        // It may be some number to a server.
        if has_version(&bytes[body..]) {
            message.anomalies |= anomaly::SEVERAL_MESSAGES;
        }
        return;
    };
    if claimed > available {
        // In a stream, the rest comes in the next segment.
        if packet.transport == Transport::Udp {
            message.anomalies |= anomaly::CONTENT_LENGTH_MISMATCH;
        }
        return;
    }
    if claimed == available {
        return;
    }
    // Line ends after the message are padding; a start line is a second message.
    let extra = bytes.get(body + claimed..).unwrap_or(&[]);
    let extra = &extra[find(extra, 0, |byte| !is_line_end(byte))..];
    if extra.is_empty() {
        if packet.payload.len() > INSPECTED_LENGTH {
            message.anomalies |= anomaly::CONTENT_LENGTH_MISMATCH;
        }
        return;
    }
    message.anomalies |= if has_version(extra) { anomaly::SEVERAL_MESSAGES } else { anomaly::CONTENT_LENGTH_MISMATCH };
}
