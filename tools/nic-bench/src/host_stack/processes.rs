//! Processor time of processes.

use std::{fs, process};

use anyhow::{Context, Result};

use crate::to_f64;

/// Clock ticks of a second, as the kernel tells them to programs on x86-64.
const TICKS: f64 = 100.0;

/// What some processes, and this one, had used when this was made.
#[derive(Debug)]
pub struct Processes(Vec<(u32, u64)>);

impl Processes {
    /// Looks at the processes with these ids, and at this one.
    pub fn new(ids: &[u32]) -> Result<Self> {
        let ids = ids.iter().copied().chain([process::id()]);
        ids.map(|id| Ok((id, ticks(id)?)))
            .collect::<Result<_>>()
            .map(Self)
    }

    /// Seconds that each has used since, with all its threads, in user space and in the kernel.
    pub fn used(&self) -> Result<Vec<f64>> {
        let used =
            |&(id, before): &(u32, u64)| Ok(to_f64(ticks(id)?.saturating_sub(before)) / TICKS);
        self.0.iter().map(used).collect()
    }
}

fn ticks(id: u32) -> Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat"))
        .with_context(|| format!("there is no process {id}"))?;
    // Field 2 is the name in brackets and may hold blanks; utime and stime are fields 14 and 15.
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let times = fields.split_whitespace().skip(11).take(2);
    times.map(|time| Ok(time.parse::<u64>()?)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_works_uses_processor_time() {
        let processes = Processes::new(&[]).unwrap();

        while processes.used().unwrap() == [0.0] {}

        assert!(processes.used().unwrap()[0] > 0.0);
    }
}
