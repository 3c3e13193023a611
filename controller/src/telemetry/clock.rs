//! The program's clock as wall-clock time.

use std::time::SystemTime;

/// Converts the program's clock to wall-clock time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// Wall-clock nanoseconds since 1970 at monotonic time 0.
    pub(super) offset: i128,
}

impl Clock {
    /// Reads both clocks. Read them again from time to time: the wall clock may be stepped.
    pub(super) fn now() -> Self {
        Self { offset: i128::from(wall_clock()) - i128::from(monotonic()) }
    }

    /// Nanoseconds since 1970.
    pub(super) fn nanoseconds(self, monotonic: u64) -> u64 {
        u64::try_from(self.offset + i128::from(monotonic)).unwrap_or(0)
    }

    pub(super) fn wall(self, monotonic: u64) -> String {
        rfc3339(self.offset + i128::from(monotonic))
    }
}

/// Nanoseconds since 1970, by the wall clock. They fit until the year 2554.
#[must_use]
pub fn wall_clock() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

/// Nanoseconds of the monotonic clock.
pub(super) fn monotonic() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    // (It begins at zero with the machine.)
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}

/// Nanoseconds since 1970 as RFC 3339 in UTC, to the millisecond.
pub(super) fn rfc3339(nanoseconds: i128) -> String {
    match jiff::Timestamp::from_nanosecond(nanoseconds) {
        Ok(time) => format!("{time:.3}"),
        Err(_) => "unknown".to_owned(),
    }
}
