//! Sampling and capturing: what the program is asked to report, what it has counted, and the captured packets.

use std::{os::fd::AsFd as _, time::Duration};

use aya::maps::{
    Map, MapData, PerfEventArray,
    perf::{PerfEvent, PerfEventArrayBuffer},
};
use filter_core::layout::{Event, Observation, Observed, STRATUM_PLACES};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use zerocopy::FromBytes as _;

use super::{Error, Instance, Pins, error::Context as _, table::Table};

/// The most bytes that are captured of a packet: what the engine inspects of a message, and room for the headers before it.
pub const CAPTURED_BYTES: u32 = 16 * 1024 + 512;

/// Pages of each CPU's buffer for captured packets: a power of two.
const PAGES: usize = 64;

/// What the program of a pin directory is asked to report, apart from events.
#[derive(Debug)]
pub struct Observer {
    observation: Table,
    observed: Table,
}

impl Observer {
    /// Opens the maps of a pin directory.
    ///
    /// # Errors
    /// There is no filter, or no permission.
    pub fn open(pins: &Pins) -> Result<Self, Error> {
        Ok(Self { observation: Table::open(&pins.map("OBSERVATION"))?, observed: Table::open(&pins.map("OBSERVED"))? })
    }

    /// Asks for something else. Takes effect with the next packet.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn ask(&self, observation: &Observation) -> Result<(), Error> {
        self.observation.set(0, observation)
    }

    /// What is asked for now.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn asked(&self) -> Result<Observation, Error> {
        self.observation.get(0)
    }

    /// What has been counted since the pins were created.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn observed(&self) -> Result<Observed, Error> {
        let mut sum = Observed::default();
        for cpu in self.observed.per_cpu::<Observed>(0)? {
            sum = total(sum, &cpu);
        }
        Ok(sum)
    }
}

/// The sum of two counts.
#[must_use]
pub fn total(one: Observed, other: &Observed) -> Observed {
    type Counts = [u64; STRATUM_PLACES];
    let sum = |one: Counts, other: Counts| std::array::from_fn(|stratum| one[stratum] + other[stratum]);
    Observed {
        sampled: sum(one.sampled, other.sampled),
        represented: sum(one.represented, other.represented),
        samples_lost: sum(one.samples_lost, other.samples_lost),
        captured: sum(one.captured, other.captured),
        captures_suppressed: sum(one.captures_suppressed, other.captures_suppressed),
        captures_lost: sum(one.captures_lost, other.captures_lost),
        entered: sum(one.entered, other.entered),
    }
}

/// The buffers that captured packets come through, one for each CPU. They exist in the kernel as long as this does.
pub struct CaptureRing {
    buffers: Vec<PerfEventArrayBuffer<MapData>>,
}

impl CaptureRing {
    /// Gives the program of a pin directory buffers to capture packets into. Only one process at a time can have them: whoever comes
    /// later takes them over.
    ///
    /// # Errors
    /// There is no filter, or no permission.
    pub fn open(pins: &Pins) -> Result<Self, Error> {
        let path = pins.map("CAPTURES");
        let doing = || format!("open the ring of captured packets {}", path.display());
        Self::of(MapData::from_pin(&path).context(doing)?)
    }

    /// The same for an instance.
    ///
    /// # Errors
    /// No permission.
    pub fn of_instance(instance: &Instance) -> Result<Self, Error> {
        Self::of(instance.map_data("CAPTURES")?)
    }

    fn of(data: MapData) -> Result<Self, Error> {
        let doing = || "open the ring of captured packets".to_owned();
        let mut array = PerfEventArray::try_from(Map::PerfEventArray(data)).context(doing)?;
        let cpus = aya::util::online_cpus()
            .map_err(|(path, error)| Error::System { doing: format!("read {path}"), cause: error.into() })?;
        let buffers =
            cpus.into_iter().map(|cpu| array.open(cpu, Some(PAGES)).context(doing)).collect::<Result<_, _>>()?;
        Ok(Self { buffers })
    }

    /// Waits until there is something to read, at most for `limit`.
    ///
    /// # Errors
    /// The buffers cannot be polled.
    pub fn wait(&self, limit: Duration) -> Result<(), Error> {
        let mut ready: Vec<_> =
            self.buffers.iter().map(|buffer| PollFd::from_borrowed_fd(buffer.as_fd(), PollFlags::IN)).collect();
        let limit = Timespec::try_from(limit).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
        match poll(&mut ready, Some(&limit)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error).context(|| "wait for captured packets".to_owned()),
        }
    }

    /// Hands over what has been captured: what is said of each packet, and its bytes.
    pub fn drain(&mut self, mut take: impl FnMut(Event, Vec<u8>)) {
        for buffer in &mut self.buffers {
            buffer.for_each(|event| {
                // What the buffer says it has lost, the program has counted.
                let PerfEvent::Sample { head, tail } = event else { return };
                let mut bytes = [head, tail].concat();
                let Ok((event, frame)) = Event::read_from_prefix(&bytes) else { return };
                // The kernel pads what it writes.
                let length = frame.len().min(event.length.min(CAPTURED_BYTES) as usize);
                let start = bytes.len() - frame.len();
                bytes.truncate(start + length);
                bytes.drain(..start);
                take(event, bytes);
            });
        }
    }
}

impl std::fmt::Debug for CaptureRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CaptureRing").field("buffers", &self.buffers.len()).finish()
    }
}
