//! The ring of events that the program writes and the daemon reads.

use std::{
    io,
    os::fd::{AsRawFd, RawFd},
};

use aya::maps::{Map, MapData, RingBuf};
use filter_core::layout::Event;
use zerocopy::FromBytes as _;

use super::{Error, Pins, error::Context as _};

/// The pinned event ring. One process reads it: what one has read no other sees.
pub struct Ring(RingBuf<MapData>);

impl Ring {
    /// Opens the ring of a pin directory.
    ///
    /// # Errors
    /// There is none, or it may not be opened.
    pub fn open(pins: &Pins) -> Result<Self, Error> {
        let path = pins.map("EVENTS");
        let doing = || format!("open the event ring {}", path.display());
        let map = Map::from_map_data(MapData::from_pin(&path).context(doing)?).context(doing)?;
        Ok(Self(RingBuf::try_from(map).context(doing)?))
    }

    /// Takes the next event, if there is one. Records of another size than this build's are skipped.
    pub fn pop(&mut self) -> Option<Event> {
        loop {
            let item = self.0.next()?;
            match Event::read_from_prefix(&item) {
                Ok((event, _)) => return Some(event),
                Err(_) => tracing::warn!("skipped an event of {} bytes", item.len()),
            }
        }
    }

    /// Waits until there is something to read.
    ///
    /// # Errors
    /// The descriptor cannot be polled.
    pub fn into_async(self) -> io::Result<tokio::io::unix::AsyncFd<Self>> {
        // SAFETY: the descriptor is the ring's own map, which it holds open and never changes for as long as it lives.
        unsafe { tokio::io::unix::AsyncFd::register_with_interest(self, tokio::io::Interest::READABLE) }
            .map_err(io::Error::from)
    }
}

impl AsRawFd for Ring {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
