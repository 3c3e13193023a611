//! What the program costs, as the kernel measures it.

use std::{os::fd::AsFd as _, time::Duration};

use super::{Error, Pins, bpf, error::Context as _, pins};

/// What the program in force has cost since it was loaded, while the kernel measured programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Packets that it was run for.
    pub runs: u64,
    /// The time that they took together.
    pub time: Duration,
}

impl Cost {
    /// Reads it; none if the kernel has not measured this program. By default it measures none.
    ///
    /// # Errors
    /// There is no program, or no permission.
    pub fn read(pins: &Pins) -> Result<Option<Self>, Error> {
        let path = pins.generation(pins::CURRENT).join(pins::PROGRAM);
        let program = bpf::get(&path).context(|| format!("open {}", path.display()))?;
        let info = bpf::program_info(program.as_fd()).context(|| format!("ask about {}", path.display()))?;
        // (`kernel.bpf_stats_enabled` does not tell: another process may have switched it on with BPF_ENABLE_STATS.)
        Ok((info.run_cnt > 0).then(|| Self { runs: info.run_cnt, time: Duration::from_nanos(info.run_time_ns) }))
    }
}
