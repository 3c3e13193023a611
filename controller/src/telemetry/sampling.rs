//! What the program is asked to sample and to capture, as traffic and listeners change.

use filter_core::layout::{Observation, Observed, STRATA, capture};

use crate::kernel::{self, CAPTURED_BYTES, Observer, Pins};

/// How many samples a second are wanted at most, of each stratum, unless the configuration says otherwise.
pub const DEFAULT_SAMPLES: u32 = 200;

/// How often [`Sampling::adjust`] is called in a second.
const ADJUSTMENTS: u32 = 10;

/// For how many adjustments the rate must have been low before more is sampled: it follows a flood at once, and its end slowly.
const PATIENCE: u32 = 2 * ADJUSTMENTS;

/// The most packets that a CPU captures in about a second.
const CAPTURES: u32 = 2_000;

/// Asks the program for samples and captured packets.
#[derive(Debug)]
pub struct Sampling {
    observer: Observer,
    /// Samples a second of each stratum; 0 for none.
    wanted: u32,
    asked: Observation,
    sampled: [u64; STRATA],
    /// For how many adjustments each rate has been low.
    low_for: [u32; STRATA],
}

impl Sampling {
    /// Begins to sample, at most about `wanted` packets of each stratum a second.
    ///
    /// # Errors
    /// There is no filter, or no permission.
    pub fn begin(pins: &Pins, wanted: u32) -> Result<Self, kernel::Error> {
        let observer = Observer::open(pins)?;
        let sampled = observer.observed()?.sampled;
        // Whatever another process has left there, this is another epoch.
        let epoch = observer.asked()?.epoch;
        let mut sampling = Self { observer, wanted, asked: Observation::default(), sampled, low_for: [0; STRATA] };
        sampling.asked.epoch = epoch;
        let asked = Observation {
            every: [u32::from(wanted != 0); STRATA],
            bytes: CAPTURED_BYTES,
            epoch: epoch.wrapping_add(1),
            ..Observation::default()
        };
        sampling.ask(asked)?;
        Ok(sampling)
    }

    /// Asks for captured packets: bits of [`capture`].
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn capture(&mut self, kinds: u32) -> Result<(), kernel::Error> {
        self.ask(Observation { capture: kinds, captures: CAPTURES, ..self.asked })
    }

    /// Samples fewer packets if there were too many since the last call, and more if there have been few for a while.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn adjust(&mut self) -> Result<(), kernel::Error> {
        if self.wanted == 0 {
            return Ok(());
        }
        let sampled = self.observer.observed()?.sampled;
        let before = std::mem::replace(&mut self.sampled, sampled);
        let mut every = self.asked.every;
        for stratum in 0..STRATA {
            let since = sampled[stratum].wrapping_sub(before[stratum]);
            (every[stratum], self.low_for[stratum]) = next(every[stratum], self.low_for[stratum], since, self.wanted);
        }
        let epoch = self.asked.epoch.wrapping_add(u32::from(every != self.asked.every));
        self.ask(Observation { every, epoch, ..self.asked })
    }

    /// What the program has counted.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn observed(&self) -> Result<Observed, kernel::Error> {
        self.observer.observed()
    }

    fn ask(&mut self, observation: Observation) -> Result<(), kernel::Error> {
        if observation != self.asked {
            self.observer.ask(&observation)?;
            self.asked = observation;
        }
        Ok(())
    }
}

impl Drop for Sampling {
    fn drop(&mut self) {
        // Nobody reads the rings any more. If the filter is gone, so is the map.
        let _ = self.observer.ask(&Observation { epoch: self.asked.epoch.wrapping_add(1), ..Observation::default() });
    }
}

/// The next rate, one packet in so many, after `since` samples in the time between two adjustments.
fn next(every: u32, low_for: u32, since: u64, wanted: u32) -> (u32, u32) {
    let packets = since.saturating_mul(u64::from(every)).saturating_mul(u64::from(ADJUSTMENTS));
    let right = u32::try_from(packets.div_ceil(u64::from(wanted.max(1)))).unwrap_or(u32::MAX).clamp(1, 1 << 24);
    if right > every {
        return (right, 0);
    }
    // Some room, or the rate would change all the time.
    if right <= every / 2 {
        return if low_for + 1 < PATIENCE { (every, low_for + 1) } else { (right, 0) };
    }
    (every, 0)
}

/// The kinds of packets that are captured for those who listen to what is dropped, and for those who listen to what passes as well.
#[must_use]
pub fn captured_kinds(dropped: bool, passed: bool) -> u32 {
    let dropped = if dropped || passed { capture::DROPPED | capture::WOULD } else { 0 };
    dropped | if passed { capture::PASSED } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_followed_at_once_and_its_end_slowly() {
        // 20,000 packets in a tenth of a second, all of them sampled.
        let (every, low_for) = next(1, 0, 20_000, 1_000);
        assert_eq!((every, low_for), (200, 0));
        // The right rate stays.
        assert_eq!(next(200, 0, 100, 1_000), (200, 0));
        let (mut every, mut low_for) = (200, 0);
        let mut steps = 0;
        while every == 200 {
            (every, low_for) = next(every, low_for, 0, 1_000);
            steps += 1;
        }
        assert_eq!((every, steps), (1, PATIENCE));
    }

    #[test]
    fn a_little_traffic_is_sampled_whole() {
        assert_eq!(next(1, 0, 100, 1_000), (1, 0));
        assert_eq!(next(1, 0, 101, 1_000), (2, 0));
    }

    #[test]
    fn nothing_overflows() {
        let (every, _) = next(u32::MAX, 0, u64::MAX, 1);
        assert_eq!(every, u32::MAX, "it is higher than any other already");
        assert_eq!(next(1, 0, u64::MAX, 1).0, 1 << 24);
    }
}
