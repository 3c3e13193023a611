//! The messages of test cases: from a file, or built from a few fields.

use std::{net::IpAddr, ops::Range, path::PathBuf};

use toml::Spanned;

use super::Mistake;

/// Defines a table of a test file that describes a message, besides keys of its own.
macro_rules! message_table {
    ($(#[$attribute:meta])* struct $name:ident { $($own:tt)* }) => {
        $(#[$attribute])*
        #[derive(Clone, Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct $name {
            $($own)*
            source: Option<Spanned<String>>,
            port: Option<u16>,
            message: Option<Spanned<PathBuf>>,
            method: Option<String>,
            calling: Option<String>,
            called: Option<String>,
            asserted: Option<String>,
            forwarded: Option<String>,
            user_agent: Option<String>,
            attestation: Option<Spanned<String>>,
            from_display: Option<String>,
            headers: Option<Vec<Spanned<String>>>,
            body: Option<String>,
        }

        impl $name {
            fn fields(&self) -> Fields {
                Fields {
                    source: self.source.clone(),
                    port: self.port,
                    message: self.message.clone(),
                    method: self.method.clone(),
                    calling: self.calling.clone(),
                    called: self.called.clone(),
                    asserted: self.asserted.clone(),
                    forwarded: self.forwarded.clone(),
                    user_agent: self.user_agent.clone(),
                    attestation: self.attestation.clone(),
                    from_display: self.from_display.clone(),
                    headers: self.headers.clone(),
                    body: self.body.clone(),
                }
            }
        }
    };
}
pub(super) use message_table;

/// What a message is made of, and where it comes from.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields {
    /// The address that it comes from; 192.0.2.1 by default.
    pub(super) source: Option<Spanned<String>>,
    /// The signalling port that it is sent to; by default the policy's first one.
    pub(super) port: Option<u16>,
    /// A file with the whole message, relative to the file of the case. The fields below must then be absent.
    pub(super) message: Option<Spanned<PathBuf>>,
    /// The method; INVITE by default.
    pub(super) method: Option<String>,
    /// From's user part, as on the wire.
    pub(super) calling: Option<String>,
    /// The Request-URI's and To's user part.
    pub(super) called: Option<String>,
    /// P-Asserted-Identity's user part.
    pub(super) asserted: Option<String>,
    /// Diversion's user part.
    pub(super) forwarded: Option<String>,
    /// User-Agent.
    pub(super) user_agent: Option<String>,
    /// The attestation claimed in an Identity header: A, B or C.
    pub(super) attestation: Option<Spanned<String>>,
    /// From's display name.
    pub(super) from_display: Option<String>,
    /// Additional header lines, each `Name: value`.
    pub(super) headers: Option<Vec<Spanned<String>>>,
    /// The message body; empty by default. Content-Length is computed from it.
    pub(super) body: Option<String>,
}

impl Fields {
    /// The address that the message comes from.
    pub(super) fn source(&self) -> Result<IpAddr, Mistake> {
        let Some(source) = &self.source else {
            // A documentation address (RFC 5737) that is in no sample list.
            return Ok(IpAddr::from([192, 0, 2, 1]));
        };
        source.get_ref().parse().map_err(|_| {
            let message = format!("`{}` is not an address", source.get_ref());
            Mistake::new(source.span(), message).help("write one address, such as \"192.0.2.1\" or \"2001:db8::1\"")
        })
    }

    /// True if a field says what is in the message.
    pub(super) fn has_content(&self) -> bool {
        let texts = [
            &self.method,
            &self.calling,
            &self.called,
            &self.asserted,
            &self.forwarded,
            &self.user_agent,
            &self.from_display,
            &self.body,
        ];
        texts.iter().any(|text| text.is_some()) || self.attestation.is_some() || self.headers.is_some()
    }

    /// These fields, and those of `other` where they are absent.
    pub(super) fn or(self, other: &Self) -> Self {
        // A file and fields exclude each other: what is given here decides.
        let is_built = self.has_content();
        let message = self.message.or_else(|| other.message.clone().filter(|_| !is_built));
        let other = if message.is_some() { Self::addresses(other) } else { other.clone() };
        Self {
            source: self.source.or(other.source),
            port: self.port.or(other.port),
            message,
            method: self.method.or(other.method),
            calling: self.calling.or(other.calling),
            called: self.called.or(other.called),
            asserted: self.asserted.or(other.asserted),
            forwarded: self.forwarded.or(other.forwarded),
            user_agent: self.user_agent.or(other.user_agent),
            attestation: self.attestation.or(other.attestation),
            from_display: self.from_display.or(other.from_display),
            headers: self.headers.or(other.headers),
            body: self.body.or(other.body),
        }
    }

    /// Only where the message comes from and goes to.
    fn addresses(of: &Self) -> Self {
        Self { source: of.source.clone(), port: of.port, ..Self::default() }
    }

    /// A complete message built from the fields. `name` is the place of mistakes that are about no single field.
    pub(super) fn build(&self, name: &Range<usize>) -> Result<Vec<u8>, Mistake> {
        let method = self.method.as_deref().unwrap_or("INVITE");
        let user = |user: &Option<String>| user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
        let called = user(&self.called);
        let mut lines = vec![
            format!("{method} sip:{called}sbc.example.com SIP/2.0"),
            "Via: SIP/2.0/UDP peer.example.net;branch=z9hG4bKcase".to_owned(),
            match &self.from_display {
                Some(name) => format!("From: \"{name}\" <sip:{}peer.example.net>;tag=case", user(&self.calling)),
                None => format!("From: <sip:{}peer.example.net>;tag=case", user(&self.calling)),
            },
            format!("To: <sip:{called}sbc.example.com>"),
            "Call-ID: case@peer.example.net".to_owned(),
            format!("CSeq: 1 {method}"),
            "Max-Forwards: 70".to_owned(),
            "Contact: <sip:peer.example.net>".to_owned(),
        ];
        if self.asserted.is_some() {
            lines.push(format!("P-Asserted-Identity: <sip:{}peer.example.net>", user(&self.asserted)));
        }
        if self.forwarded.is_some() {
            lines.push(format!("Diversion: <sip:{}peer.example.net>;reason=unconditional", user(&self.forwarded)));
        }
        if let Some(agent) = &self.user_agent {
            lines.push(format!("User-Agent: {agent}"));
        }
        if let Some(attestation) = &self.attestation {
            let span = attestation.span();
            // The payload begins with `{"attest":"A` in base64url (RFC 8588); the last character depends on the claim.
            let last = match attestation.get_ref().as_str() {
                "A" => 'B',
                "B" => 'C',
                "C" => 'D',
                other => {
                    return Err(Mistake::new(span, format!("`{other}` is not an attestation")).help("use A, B or C"));
                }
            };
            lines.push(format!(
                "Identity: eyJhbGciOiJFUzI1NiJ9.eyJhdHRlc3QiOiJ{last}IiwiZGVzdCI6e319.c2lnbmF0dXJl;info=<https://cert.example.net/c.pem>;alg=ES256;ppt=shaken"
            ));
        }
        lines.extend(self.headers.iter().flatten().map(|line| line.get_ref().clone()));
        if let Some(bad) = lines.iter().find(|line| line.contains(['\r', '\n'])) {
            let header = self.headers.iter().flatten().find(|line| line.get_ref() == bad);
            let span = header.map_or_else(|| name.clone(), Spanned::span);
            let help = "put a message with such lines into a file: `message = \"FILE\"`";
            return Err(Mistake::new(span, format!("there is a line break in {bad:?}")).help(help));
        }
        let body = self.body.as_deref().unwrap_or_default();
        lines.push(format!("Content-Length: {}", body.len()));
        let mut message = lines.join("\r\n");
        message.push_str("\r\n\r\n");
        message.push_str(body);
        Ok(message.into_bytes())
    }
}
