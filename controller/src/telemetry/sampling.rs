//! What the program is asked to sample and to capture, as traffic and listeners change.

use std::time::{Duration, Instant};

use filter_core::{
    layout::{Observation, Observed, STRATA, STRATUM_PLACES, capture},
    limits::MAX_EVERY,
};

use crate::kernel::{self, CAPTURED_BYTES, Observer, Pins};

/// How many samples a second are wanted at most, of each stratum, unless the configuration says otherwise.
pub const DEFAULT_SAMPLES: u32 = 200;

/// For how long the rate must have been low before more is sampled: it follows a flood at once, and its end slowly.
const PATIENCE: Duration = Duration::from_secs(2);

/// The shortest time that a rate is judged by.
const LEAST: Duration = Duration::from_millis(50);

/// The most packets of each stratum that a CPU captures in about a second.
const CAPTURES: u32 = 2_000;

/// Asks the program for samples and captured packets.
#[derive(Debug)]
pub struct Sampling {
    observer: Observer,
    /// Samples a second of each stratum; 0 for none.
    wanted: u32,
    asked: Observation,
    /// The packets that all samples stood for at the last look.
    represented: [u64; STRATUM_PLACES],
    /// The samples that had been lost by then.
    lost: u64,
    /// When that was.
    looked: Instant,
    /// For how long each rate has been low.
    low_for: [Duration; STRATA],
}

impl Sampling {
    /// Begins to sample, at most about `wanted` packets of each stratum a second.
    ///
    /// # Errors
    /// There is no filter, or no permission.
    pub fn begin(pins: &Pins, wanted: u32) -> Result<Self, kernel::Error> {
        let observer = Observer::open(pins)?;
        let observed = observer.observed()?;
        let (represented, lost) = (observed.represented, observed.samples_lost.iter().sum());
        // Whatever another process has left there, this is another epoch.
        let epoch = observer.asked()?.epoch;
        let asked = Observation::default();
        let low_for = [Duration::ZERO; STRATA];
        let mut sampling = Self { observer, wanted, asked, represented, lost, looked: Instant::now(), low_for };
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

    /// Samples fewer packets if there were too many since the last call, and more if there have been few for a while. To be called about ten
    /// times a second. Returns how many samples were lost since the last call.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn adjust(&mut self) -> Result<u64, kernel::Error> {
        if self.wanted == 0 {
            return Ok(0);
        }
        let time = self.looked.elapsed();
        if time < LEAST {
            return Ok(0);
        }
        self.looked = Instant::now();
        let observed = self.observer.observed()?;
        let all_lost: u64 = observed.samples_lost.iter().sum();
        let lost = all_lost.saturating_sub(std::mem::replace(&mut self.lost, all_lost));
        let represented = observed.represented;
        let before = std::mem::replace(&mut self.represented, represented);
        let mut every = self.asked.every;
        for stratum in 0..STRATA {
            let packets = represented[stratum].wrapping_sub(before[stratum]) as f64 / time.as_secs_f64();
            let low_for = self.low_for[stratum] + time;
            (every[stratum], self.low_for[stratum]) = next(every[stratum], low_for, packets, self.wanted);
        }
        let epoch = self.asked.epoch.wrapping_add(u32::from(every != self.asked.every));
        self.ask(Observation { every, epoch, ..self.asked })?;
        Ok(lost)
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

/// The next rate, one packet in so many, where so many packets came in a second; and for how long it has been low, `low_for` if it is.
fn next(every: u32, low_for: Duration, packets: f64, wanted: u32) -> (u32, Duration) {
    // (Casts of floats saturate.)
    let right = ((packets / f64::from(wanted.max(1))).ceil() as u32).clamp(1, MAX_EVERY);
    if right > every {
        return (right, Duration::ZERO);
    }
    // Some room, or the rate would change all the time.
    if right <= every / 2 {
        return if low_for < PATIENCE { (every, low_for) } else { (right, Duration::ZERO) };
    }
    (every, Duration::ZERO)
}

/// The kinds of packets that are captured: for whoever answers what is dropped, for those who listen to what is dropped or would have been,
/// and for those who listen to what passes as well.
#[must_use]
pub fn captured_kinds(answered: bool, dropped: bool, passed: bool) -> u32 {
    let mut kinds = 0;
    if answered {
        kinds |= capture::DROPPED;
    }
    if dropped || passed {
        kinds |= capture::DROPPED | capture::WOULD;
    }
    if passed {
        kinds |= capture::PASSED;
    }
    kinds
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENTH: Duration = Duration::from_millis(100);

    #[test]
    fn a_flood_is_followed_at_once_and_its_end_slowly() {
        let (every, low_for) = next(1, TENTH, 200_000.0, 1_000);
        assert_eq!((every, low_for), (200, Duration::ZERO));
        // The right rate stays.
        assert_eq!(next(200, TENTH, 199_500.0, 1_000), (200, Duration::ZERO));
        let (mut every, mut low_for) = (200, Duration::ZERO);
        let mut steps = 0;
        while every == 200 {
            (every, low_for) = next(every, low_for + TENTH, 0.0, 1_000);
            steps += 1;
        }
        assert_eq!((every, steps), (1, 20));
    }

    #[test]
    fn a_little_traffic_is_sampled_whole() {
        assert_eq!(next(1, TENTH, 1_000.0, 1_000).0, 1);
        assert_eq!(next(1, TENTH, 1_001.0, 1_000).0, 2);
    }

    #[test]
    fn nothing_overflows() {
        let (every, _) = next(u32::MAX, TENTH, f64::MAX, 1);
        assert_eq!(every, u32::MAX, "it is higher than any other already");
        assert_eq!(next(1, TENTH, f64::MAX, 1).0, MAX_EVERY);
        assert_eq!(next(1, TENTH, f64::NAN, 0).0, 1);
    }
}
