//! The arithmetic of a limit: the generic cell rate algorithm (ITU-T I.371) in one number.

use crate::limits::TIME_FRACTION;

/// By how far a clock may step back, in nanoseconds, without the cells starting over. The processors' clocks differ by a tick.
const STEP: u64 = 1_000_000_000;

/// A time or a duration in the unit of cells: 1/64 ns, in which rates that do not divide a second are exact to a millionth of a percent
/// or so.
#[inline(always)]
#[must_use]
pub const fn scaled(nanoseconds: u64) -> u64 {
    nanoseconds << TIME_FRACTION
}

/// The time between two things at a rate of `count` in `period` nanoseconds; none of a rate of zero. Rounded up: never does more get through
/// than the rate.
#[must_use]
pub const fn interval(count: u32, period: u64) -> Option<u64> {
    let period = scaled(period);
    if count == 0 || period == 0 { None } else { Some(period.div_ceil(count as u64)) }
}

/// How much earlier than at the rate a thing may come, so that `burst` of them may come at once.
#[must_use]
pub const fn tolerance(interval: u64, burst: u32) -> u64 {
    interval.saturating_mul(burst.saturating_sub(1) as u64)
}

/// Counts something that comes now. The result is what the cell then holds; none if it is over the limit, which changes nothing.
///
/// A cell holds its theoretical arrival time: when the next thing would come if all came at the rate. Each thing that is within the
/// limit moves it on by `interval`. It is within the limit if it comes at most `tolerance` earlier than that. With a tolerance of
/// `(burst - 1) * interval`, at most `burst` things come at once, and at most `burst + t / interval` in any time `t`.
///
/// All are in the unit of [`scaled`].
#[inline(always)]
#[must_use]
pub const fn count(cell: u64, now: u64, interval: u64, tolerance: u64) -> Option<u64> {
    let ahead = cell.wrapping_sub(now);
    // No cell gets further ahead than this, so the clock has been set back, or the limit has become stricter.
    let is_foreign = cell > now && ahead > tolerance.saturating_add(interval).saturating_add(scaled(STEP));
    if cell <= now || is_foreign {
        return Some(now.saturating_add(interval));
    }
    if ahead > tolerance { None } else { Some(cell.saturating_add(interval)) }
}

/// A limit as a byte, from what a cell is ahead of the time at most: its logarithm, and the two bits after the first.
#[must_use]
pub const fn size_code(interval: u64, tolerance: u64) -> u8 {
    let size = tolerance.saturating_add(interval) | SMALLEST;
    let exponent = 63 - size.leading_zeros();
    (exponent * 4 + (size >> (exponent - 2)) as u32 % 4) as u8
}

/// The smallest limit that has a byte of its own.
const SMALLEST: u64 = 1 << 10;

/// How much of its limit a cell has used up, in 1/256 of it, up to 320. Comparable between limits: its error is a quarter at most.
#[inline(always)]
#[must_use]
pub const fn used(cell: u64, now: u64, size_code: u8) -> u64 {
    let exponent = (size_code >> 2) as u32 & 63;
    let exponent = if exponent < 10 { 10 } else { exponent };
    let size = (4 + (size_code & 3) as u64) << (exponent - 2);
    let ahead = cell.wrapping_sub(now);
    // In the past, or of another clock.
    if cell <= now || ahead > size.saturating_mul(2).saturating_add(scaled(STEP)) {
        0
    } else {
        1 + ahead / (size >> 8 | 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// Five a second, and this many at once.
    const fn five(burst: u64) -> (u64, u64) {
        let interval = scaled(SECOND / 5);
        (interval, (burst - 1) * interval)
    }

    /// How many of `count` that come at once are within the limit.
    fn at_once(cell: &mut u64, now: u64, (interval, tolerance): (u64, u64), count: usize) -> usize {
        (0..count).filter(|_| count_into(cell, now, interval, tolerance)).count()
    }

    fn count_into(cell: &mut u64, now: u64, interval: u64, tolerance: u64) -> bool {
        let counted = super::count(*cell, scaled(now), interval, tolerance);
        *cell = counted.unwrap_or(*cell);
        counted.is_some()
    }

    #[test]
    fn a_burst_is_what_may_come_at_once() {
        let (mut cell, now) = (0, 1_000 * SECOND);
        assert_eq!(at_once(&mut cell, now, five(20), 100), 20);
        // A second later five more are within the limit, whatever was over it in between.
        assert_eq!(at_once(&mut cell, now + SECOND, five(20), 100), 5);
        // After a long silence the burst is there again, and no more.
        assert_eq!(at_once(&mut cell, now + 3_600 * SECOND, five(20), 100), 20);
        assert_eq!(at_once(&mut 0, now, five(1), 100), 1);
    }

    #[test]
    fn a_clock_that_steps_neither_opens_a_limit_for_long_nor_closes_it() {
        let (mut cell, now) = (0, 1_000 * SECOND);
        assert_eq!(at_once(&mut cell, now, five(5), 100), 5);
        // Another processor's clock, a tick behind.
        assert_eq!(at_once(&mut cell, now - 4_000_000, five(5), 100), 0);
        // Set back by minutes: it starts over, once.
        assert_eq!(at_once(&mut cell, now - 600 * SECOND, five(5), 100), 5);
        assert_eq!(at_once(&mut cell, now - 600 * SECOND, five(5), 100), 0);
        // Set forward by years, and to its very end.
        assert_eq!(at_once(&mut cell, now * 1_000_000, five(5), 100), 5);
        let end = u64::MAX >> TIME_FRACTION;
        assert!(at_once(&mut cell, end, five(5), 100) >= 5);
        assert_eq!(at_once(&mut cell, now, five(5), 100), 5);
    }

    #[test]
    fn a_stricter_limit_counts_from_when_it_is_in_force() {
        let (mut cell, now) = (0, 1_000 * SECOND);
        assert_eq!(at_once(&mut cell, now, five(1_000), 1_000), 1_000);
        assert_eq!(at_once(&mut cell, now, five(2), 100), 2);
    }

    #[test]
    fn what_is_used_of_limits_is_comparable() {
        let now = scaled(1_000 * SECOND);
        for burst in [1, 2, 3, 5, 7, 1_000, 1_000_000] {
            for interval in [scaled(1_000), scaled(SECOND / 3), scaled(86_400 * SECOND) / burst] {
                let tolerance = (burst - 1) * interval;
                let code = size_code(interval, tolerance);
                let full = used(now + tolerance + interval, now, code);
                assert!((250..=325).contains(&full), "{burst} {interval}: {full}");
                let half = used(now + (tolerance + interval) / 2, now, code);
                assert!(half < full && half >= 125, "{burst} {interval}: {half}");
                assert_eq!(used(now, now, code), 0);
                assert_eq!(used(0, now, code), 0);
                assert_eq!(used(u64::MAX, now, code), 0);
            }
        }
    }
}
