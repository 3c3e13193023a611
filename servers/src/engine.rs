//! The engine as one of the parsers: in user space, reading everything, as `ringfence inspect` does.

use anyhow::{Result, anyhow};
use filter_core::{layout::Transport, scratch::UriOf};
use filter_policy::{
    engine::{Endpoints, Engine, datagram, frame, inspection},
    files::Table,
    image::Image,
};

use crate::{
    message::Delivery,
    reading::{FIELDS, Field, Kind, Reading},
};

/// What the engine reads with the sample policy's numbering.
pub struct EngineReader {
    image: Image,
}

impl EngineReader {
    /// Compiles the sample policy.
    ///
    /// # Errors
    /// It has errors.
    pub fn new() -> Result<Self> {
        let files = Table(filter_policy::sample_policy::FILES);
        let built = filter_policy::build(&files, filter_policy::today())
            .map_err(|diagnostics| anyhow!("{}", diagnostics.render(false, None)))?;
        Ok(Self { image: inspection(built.image, &[(5060, Transport::Udp), (5060, Transport::Tcp)]) })
    }

    /// Reads a message that comes in a UDP datagram.
    #[must_use]
    pub fn read(&self, message: &[u8]) -> Reading {
        self.read_delivered(message, Delivery::Datagram)
    }

    /// Reads a message; of one in two segments, what is read of the first.
    pub(crate) fn read_delivered(&self, message: &[u8], delivery: Delivery) -> Reading {
        let mut engine = Engine::new(&self.image);
        let endpoints = Endpoints::default();
        let packet = match delivery {
            Delivery::Datagram => datagram(&endpoints, message),
            Delivery::Segment => segment(&endpoints, message),
            Delivery::Segments(thousandths) => {
                segment(&endpoints, &message[..(message.len() * thousandths / 1000).max(1)])
            }
        };
        engine.decide(&packet);
        let read = engine.reading();
        let json = read.to_json();
        let text = |name: &str| json.get(name).and_then(|value| value.as_str());
        let mut reading = Reading {
            kind: match read.kind() {
                "request" => Kind::Request,
                "response" => Kind::Response,
                _ => Kind::Nothing,
            },
            payload: read.kind().to_owned(),
            anomalies: read.anomalies().into_iter().map(str::to_owned).collect(),
            method_class: Some(read.method_class().to_owned()),
            ..Reading::default()
        };
        for field in FIELDS {
            reading.values[field as usize] =
                text(field.name()).map(|value| value.as_bytes().to_vec()).into_iter().collect();
        }
        // Of lists, what is printed is the first value; what rules see is the first with a number.
        for (field, counting) in
            [(Field::AssertedUser, UriOf::AssertedNumber), (Field::DiversionUser, UriOf::DiversionNumber)]
        {
            let values = &mut reading.values[field as usize];
            values.extend(read.user(counting).map(String::into_bytes));
            values.dedup();
        }
        reading
    }
}

/// A TCP segment (PSH and ACK) in an Ethernet frame.
fn segment(endpoints: &Endpoints, payload: &[u8]) -> Vec<u8> {
    // Longer than any real segment, as a network card that merges segments hands them over.
    let payload = &payload[..payload.len().min(65_000)];
    let mut tcp = Vec::with_capacity(20 + payload.len());
    tcp.extend_from_slice(&endpoints.source.port().to_be_bytes());
    tcp.extend_from_slice(&endpoints.destination.port().to_be_bytes());
    tcp.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x18, 0xff, 0xff, 0, 0, 0, 0]);
    tcp.extend_from_slice(payload);
    frame(endpoints, 6, &tcp)
}
