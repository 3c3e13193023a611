//! What travels on the bus.

use std::sync::Arc;

use filter_policy::language::printable;
use serde::Deserialize;

use super::{Notice, PacketEvent};

/// A message on the bus. It is one line of JSON.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// Something happened to the filter or its policy, or the periodic table.
    Notice(Arc<Notice>),
    /// A packet that was dropped, or would have been.
    Packet(Arc<PacketEvent>),
}

impl Message {
    /// The message as one line of JSON without its line end, safe to show on a terminal.
    #[must_use]
    pub fn json_line(&self) -> String {
        match self {
            Self::Notice(notice) => printable::json_line(notice.as_ref()),
            Self::Packet(event) => printable::json_line(event.as_ref()),
        }
    }

    /// Reads what [`Message::json_line`] writes.
    ///
    /// # Errors
    /// The line is not JSON, or a kind of message that this version does not know.
    pub fn parse(line: &str) -> serde_json::Result<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "kebab-case")]
        enum Kind {
            Packet,
            #[serde(other)]
            Notice,
        }
        #[derive(Deserialize)]
        struct Head {
            event: Kind,
        }
        Ok(match serde_json::from_str::<Head>(line)?.event {
            Kind::Notice => serde_json::from_str::<Notice>(line)?.into(),
            Kind::Packet => serde_json::from_str::<PacketEvent>(line)?.into(),
        })
    }
}

impl From<Notice> for Message {
    fn from(notice: Notice) -> Self {
        Self::Notice(Arc::new(notice))
    }
}

impl From<PacketEvent> for Message {
    fn from(event: PacketEvent) -> Self {
        Self::Packet(Arc::new(event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_reads_back_as_the_message_it_was_written_from() {
        for message in [Message::from(Notice::Missed { events: 3 }), PacketEvent::example().into()] {
            assert_eq!(Message::parse(&message.json_line()).unwrap(), message);
        }
    }

    #[test]
    fn a_kind_of_a_later_version_is_an_error() {
        assert!(Message::parse(r#"{"event":"comet","tail":2}"#).is_err());
        assert!(Message::parse("not JSON").is_err());
    }
}
