//! Messages as JSON, one object per line.

use std::io::Write;

use super::Output;
use crate::telemetry::{Interest, Message};

/// Writes each notice as one line of JSON.
#[derive(Debug)]
pub(super) struct JsonLines<W> {
    name: &'static str,
    to: W,
}

impl<W: Write> JsonLines<W> {
    pub(super) fn new(name: &'static str, to: W) -> Self {
        Self { name, to }
    }
}

impl<W: Write + Send> Output for JsonLines<W> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn interest(&self) -> Interest {
        Interest::NOTICES
    }

    fn write(&mut self, message: &Message) {
        let Some(line) = message.json_line().map(|line| line + "\n") else { return };
        // A reader that goes away ends nothing: the filter matters more.
        let _ = self.to.write_all(line.as_bytes()).and_then(|()| self.to.flush());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{Missed, Notice};

    #[test]
    fn each_notice_is_one_line() {
        let mut output = JsonLines::new("test", Vec::new());
        output.write(&Notice::Missed(Missed { events: 1, ..Missed::default() }).into());
        output.write(&Notice::Error { message: "a\nb".to_owned() }.into());
        let text = String::from_utf8(output.to).unwrap();
        assert_eq!(
            text,
            "{\"event\":\"missed\",\"events\":1,\"total\":0,\"behind\":0,\"after\":null}\n{\"event\":\"error\",\"message\":\"a\\nb\"}\n"
        );
    }
}
