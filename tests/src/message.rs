//! SIP messages in words: `Message::invite().calling("+12025550100").rename("From", "f").bytes()`.
//!
//! Whatever is not set is as in an ordinary call.

/// A message under construction.
#[derive(Clone, Debug)]
pub struct Message {
    start_line: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    line_end: &'static str,
    ends: bool,
}

/// The calling number of an ordinary call.
pub const CALLER: &str = "+14155552671";
/// The called number of an ordinary call.
pub const CALLED: &str = "+12125553456";

impl Message {
    /// The INVITE of an ordinary call, without a body.
    #[must_use]
    pub fn invite() -> Self {
        Self::request("INVITE")
    }

    /// A request of an ordinary call.
    #[must_use]
    pub fn request(method: &str) -> Self {
        Self::with_start_line(format!("{method} sip:{CALLED}@sip.example.net SIP/2.0"), &format!("1 {method}"))
    }

    /// A response to an INVITE.
    #[must_use]
    pub fn response(code: u16, phrase: &str) -> Self {
        let mut message = Self::with_start_line(format!("SIP/2.0 {code} {phrase}"), "1 INVITE");
        message.headers.retain(|(name, _)| name != "Max-Forwards");
        message
    }

    fn with_start_line(start_line: String, cseq: &str) -> Self {
        let headers = [
            ("Via", "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK776asdhds".to_owned()),
            ("Max-Forwards", "70".to_owned()),
            ("From", format!("<sip:{CALLER}@carrier.example.com>;tag=1928301774")),
            ("To", format!("<sip:{CALLED}@sip.example.net>")),
            ("Call-ID", "a84b4c76e66710@192.0.2.1".to_owned()),
            ("CSeq", cseq.to_owned()),
            ("Contact", "<sip:192.0.2.1:5060>".to_owned()),
            ("User-Agent", "Example-PBX/4.2".to_owned()),
        ];
        Self {
            start_line,
            headers: headers.map(|(name, value)| (name.to_owned(), value)).to_vec(),
            body: Vec::new(),
            line_end: "\r\n",
            ends: true,
        }
    }

    /// Replaces the start line.
    #[must_use]
    pub fn start_line(mut self, line: &str) -> Self {
        line.clone_into(&mut self.start_line);
        self
    }

    /// Sets the user part of From.
    #[must_use]
    pub fn calling(self, user: &str) -> Self {
        self.set("From", &format!("<sip:{user}@carrier.example.com>;tag=1928301774"))
    }

    /// Sets the user part of the Request-URI and of To.
    #[must_use]
    pub fn called(mut self, user: &str) -> Self {
        let method = self.start_line.split(' ').next().unwrap_or_default().to_owned();
        self.start_line = format!("{method} sip:{user}@sip.example.net SIP/2.0");
        self.set("To", &format!("<sip:{user}@sip.example.net>"))
    }

    /// Sets the Request-URI; To does not change.
    #[must_use]
    pub fn request_uri(mut self, uri: &str) -> Self {
        let method = self.start_line.split(' ').next().unwrap_or_default().to_owned();
        self.start_line = format!("{method} {uri} SIP/2.0");
        self
    }

    /// Sets the value of a header that the message has.
    ///
    /// # Panics
    /// There is no such header.
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        value.clone_into(&mut self.place(name).1);
        self
    }

    /// Writes the name of a header in another way.
    ///
    /// # Panics
    /// There is no such header.
    #[must_use]
    pub fn rename(mut self, name: &str, written: &str) -> Self {
        written.clone_into(&mut self.place(name).0);
        self
    }

    /// Adds a header after the others.
    #[must_use]
    pub fn add(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds a header before the others.
    #[must_use]
    pub fn add_first(mut self, name: &str, value: &str) -> Self {
        self.headers.insert(0, (name.to_owned(), value.to_owned()));
        self
    }

    /// Adds a line, exactly as given, before the headers.
    #[must_use]
    pub fn line_first(self, line: &str) -> Self {
        self.add_first(line, NO_COLON)
    }

    /// Removes a header.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self
    }

    /// Sets the body, and Content-Length unless the message has one.
    #[must_use]
    pub fn body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.add("Content-Type", content_type)
    }

    /// Sets the line end.
    #[must_use]
    pub fn line_end(mut self, line_end: &'static str) -> Self {
        self.line_end = line_end;
        self
    }

    /// Leaves out the blank line after the headers.
    #[must_use]
    pub fn unfinished(mut self) -> Self {
        self.ends = false;
        self
    }

    /// The message as it is sent.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let end = self.line_end;
        let mut text = format!("{}{end}", self.start_line);
        for (name, value) in &self.headers {
            if value == NO_COLON {
                text.push_str(&format!("{name}{end}"));
            } else {
                text.push_str(&format!("{name}: {value}{end}"));
            }
        }
        let has_length = self.headers.iter().any(|(name, _)| matches!(name.as_str(), "Content-Length" | "l"));
        if self.ends {
            if !has_length {
                text.push_str(&format!("Content-Length: {}{end}", self.body.len()));
            }
            text.push_str(end);
        }
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }

    fn place(&mut self, name: &str) -> &mut (String, String) {
        self.headers
            .iter_mut()
            .find(|(known, _)| known == name)
            .unwrap_or_else(|| panic!("the message has no header {name}"))
    }
}

impl From<Message> for Vec<u8> {
    fn from(message: Message) -> Self {
        message.bytes()
    }
}

/// The value of a line that is written without a colon.
const NO_COLON: &str = "\0";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordinary_call_is_written_as_in_rfc_3261() {
        let text = String::from_utf8(Message::invite().bytes()).unwrap();
        assert!(text.starts_with("INVITE sip:+12125553456@sip.example.net SIP/2.0\r\nVia: SIP/2.0/UDP "), "{text}");
        assert!(text.contains("\r\nFrom: <sip:+14155552671@carrier.example.com>;tag=1928301774\r\n"), "{text}");
        assert!(text.ends_with("\r\nContent-Length: 0\r\n\r\n"), "{text}");
    }
}
