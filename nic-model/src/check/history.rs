//! The last accesses to registers.

use std::{collections::VecDeque, fmt};

use ixgbe_spec::register::Reg;

use crate::time::Time;

/// Which way an access went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Software has read.
    Read,
    /// Software has written.
    Write,
}

/// An access of software to a register, or several that were the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// When; of several, the last one.
    pub time: Time,
    /// Which way.
    pub way: Way,
    /// Offset in BAR 0.
    pub offset: u32,
    /// What was read or written.
    pub value: u32,
    /// How often, one after another.
    pub times: u32,
    /// The number of the access, counted from the first.
    pub serial: u64,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.time.as_nanos() / 1000;
        let way = match self.way {
            Way::Read => "read ",
            Way::Write => "write",
        };
        let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
        write!(f, "{seconds}.{micros:06} s  {way} ")?;
        match Reg::decode(self.offset) {
            Some((reg, 0)) if reg.count() == 1 => write!(f, "{}", reg.row().name)?,
            Some((reg, index)) => write!(f, "{}({index})", reg.row().name)?,
            None => write!(f, "{:#07x}", self.offset)?,
        }
        write!(f, " = {:#010x}", self.value)?;
        if self.times > 1 {
            write!(f, "  ({} times)", self.times)?;
        }
        Ok(())
    }
}

/// The last accesses, oldest first; never more than a fixed number.
#[derive(Clone, Debug)]
pub(super) struct History {
    accesses: VecDeque<Access>,
    limit: usize,
}

impl History {
    /// Keeps up to `limit` accesses.
    pub(super) const fn new(limit: usize) -> Self {
        Self {
            accesses: VecDeque::new(),
            limit,
        }
    }

    pub(super) fn add(&mut self, access: Access) {
        if let Some(last) = self.accesses.back_mut()
            && (last.way, last.offset, last.value) == (access.way, access.offset, access.value)
        {
            last.time = access.time;
            last.serial = access.serial;
            last.times = last.times.saturating_add(1);
            return;
        }
        if self.accesses.len() >= self.limit {
            self.accesses.pop_front();
        }
        self.accesses.push_back(access);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Access> {
        self.accesses.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(offset: u32, value: u32) -> Access {
        Access {
            time: Time::ZERO,
            way: Way::Read,
            offset,
            value,
            times: 1,
            serial: 0,
        }
    }

    #[test]
    fn a_register_that_is_polled_takes_one_place() {
        let mut history = History::new(2);

        for access in [read(8, 1), read(0, 1), read(0, 1), read(0, 2)] {
            history.add(access);
        }

        let kept: Vec<_> = history
            .iter()
            .map(|a| (a.offset, a.value, a.times))
            .collect();
        assert_eq!(kept, [(0, 1, 2), (0, 2, 1)]);
    }

    #[test]
    fn an_access_is_told_by_the_registers_name() {
        let access = Access {
            time: Time::from_nanos(1_000_002_000),
            ..read(Reg::RDT.offset(3), 17)
        };

        assert_eq!(access.to_string(), "1.000002 s  read  RDT(3) = 0x00000011");
    }
}
