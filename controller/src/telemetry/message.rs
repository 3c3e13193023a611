//! What travels on the bus.

use std::sync::Arc;

use serde::Deserialize;

use super::{CapturedPacket, Notice, PacketEvent};

/// A message on the bus.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// A packet with its bytes. It has no JSON.
    Captured(Arc<CapturedPacket>),
    /// Something happened to the filter or its policy, or the periodic table.
    Notice(Arc<Notice>),
    /// A packet that was dropped, or would have been.
    Packet(Arc<PacketEvent>),
}

impl Message {
    /// The message as one line of JSON without its line end, safe to show on a terminal; none for a captured packet.
    #[must_use]
    pub fn json_line(&self) -> Option<String> {
        match self {
            Self::Captured(_) => None,
            Self::Notice(notice) => Some(notice.json_line()),
            Self::Packet(event) => Some(event.json_line()),
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

impl From<CapturedPacket> for Message {
    fn from(packet: CapturedPacket) -> Self {
        Self::Captured(Arc::new(packet))
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
    use crate::telemetry::Missed;

    #[test]
    fn a_line_reads_back_as_the_message_it_was_written_from() {
        for message in
            [Message::from(Notice::Missed(Missed { events: 3, ..Missed::default() })), PacketEvent::example().into()]
        {
            assert_eq!(Message::parse(&message.json_line().unwrap()).unwrap(), message);
        }
    }

    #[test]
    fn a_kind_of_a_later_version_is_an_error() {
        assert!(Message::parse(r#"{"event":"comet","tail":2}"#).is_err());
        assert!(Message::parse("not JSON").is_err());
    }
}
