//! The rings that the program writes and the daemon reads: events and samples.

use std::{
    io,
    os::fd::{AsRawFd, RawFd},
};

use aya::maps::{Map, MapData, RingBuf};
use filter_core::layout::Event;
use zerocopy::FromBytes as _;

use super::{Error, Instance, Pins, error::Context as _};

/// A pinned ring of events. Only one process can read it: each event is read once.
pub struct Ring(RingBuf<MapData>);

impl Ring {
    /// Opens the ring of events of a pin directory.
    ///
    /// # Errors
    /// The ring does not exist or cannot be opened.
    pub fn open(pins: &Pins) -> Result<Self, Error> {
        Self::of(pins, "EVENTS")
    }

    /// Opens the ring of sampled packets of a pin directory.
    ///
    /// # Errors
    /// The ring does not exist or cannot be opened.
    pub fn of_samples(pins: &Pins) -> Result<Self, Error> {
        Self::of(pins, "SAMPLES")
    }

    /// Opens the ring of sampled packets of an instance.
    ///
    /// # Errors
    /// The ring cannot be opened.
    pub fn of_samples_of(instance: &Instance) -> Result<Self, Error> {
        let doing = || "open the ring of samples".to_owned();
        let map = Map::from_map_data(instance.map_data("SAMPLES")?).context(doing)?;
        Ok(Self(RingBuf::try_from(map).context(doing)?))
    }

    fn of(pins: &Pins, name: &str) -> Result<Self, Error> {
        let path = pins.map(name);
        let doing = || format!("open the ring {}", path.display());
        let map = Map::from_map_data(MapData::from_pin(&path).context(doing)?).context(doing)?;
        Ok(Self(RingBuf::try_from(map).context(doing)?))
    }

    /// Takes the next event, if there is one, with its packet's bytes: none, if the packet is too long. Skips records that are too short
    /// for this build's event.
    pub fn pop(&mut self) -> Option<(Event, Vec<u8>)> {
        loop {
            let item = self.0.next()?;
            match Event::read_from_prefix(&item) {
                Ok((event, frame)) => return Some((event, frame.to_vec())),
                Err(_) => tracing::warn!("skipped an event of {} bytes", item.len()),
            }
        }
    }

    /// Makes the ring awaitable: ready when there is something to read.
    ///
    /// # Errors
    /// The descriptor cannot be polled.
    pub fn into_async(self) -> io::Result<tokio::io::unix::AsyncFd<Self>> {
        // SAFETY: the descriptor belongs to the ring's map, which stays open and the same while the ring exists.
        unsafe { tokio::io::unix::AsyncFd::register_with_interest(self, tokio::io::Interest::READABLE) }
            .map_err(io::Error::from)
    }
}

impl AsRawFd for Ring {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
