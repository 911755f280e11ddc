//! What the worker waits for: one epoll set and one timer.

use std::{
    os::fd::{AsFd, BorrowedFd},
    rc::Rc,
    time::Duration,
};

use nic_model::Time;
use nix::{
    errno::Errno,
    sys::{
        epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
        time::TimeSpec,
        timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
    },
};

/// Who has something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The worker is to end.
    Stop,
    /// The timer has run out.
    Timer,
    /// A client wants to connect.
    Listener,
    /// The client has sent something, or can take what waits for it, or is gone.
    Session,
    /// Frames have arrived.
    Wire,
    /// A control request waits.
    Control,
    /// The client has unmasked INTx by eventfd.
    IntxUnmask,
}

const SOURCES: [Source; 7] = [
    Source::Stop,
    Source::Timer,
    Source::Listener,
    Source::Session,
    Source::Wire,
    Source::Control,
    Source::IntxUnmask,
];

/// A set of [`Source`]s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ready(u8);

impl Ready {
    /// Whether `source` is in the set.
    #[must_use]
    pub const fn has(self, source: Source) -> bool {
        self.0 & (1 << source as u8) != 0
    }

    /// Whether the set is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether nothing but `source` is in the set.
    #[must_use]
    pub const fn is_only(self, source: Source) -> bool {
        self.0 & !(1 << source as u8) == 0
    }

    const fn insert(&mut self, source: Source) {
        self.0 |= 1 << source as u8;
    }
}

/// The epoll set and the timer.
#[derive(Debug)]
pub struct Events {
    epoll: Rc<Epoll>,
    timer: TimerFd,
    armed: Option<Time>,
}

impl Events {
    /// An empty set with a timer that is not armed.
    ///
    /// # Errors
    /// What the system says.
    pub fn new() -> nix::Result<Self> {
        let epoll = Rc::new(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?);
        let timer = TimerFd::new(
            ClockId::CLOCK_MONOTONIC,
            TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC,
        )?;
        epoll.add(&timer, event(Source::Timer, EpollFlags::EPOLLIN))?;
        Ok(Self {
            epoll,
            timer,
            armed: None,
        })
    }

    /// Something that can add descriptors later.
    #[must_use]
    pub fn registry(&self) -> Registry {
        Registry(Rc::clone(&self.epoll))
    }

    /// Whether anything is ready now.
    ///
    /// # Errors
    /// What the system says.
    pub fn poll(&mut self) -> nix::Result<Ready> {
        self.wait(EpollTimeout::ZERO)
    }

    /// Sleeps until something is ready or `deadline` has come.
    ///
    /// # Errors
    /// What the system says.
    pub fn sleep(&mut self, now: Time, deadline: Option<Time>) -> nix::Result<Ready> {
        self.arm(now, deadline)?;
        self.wait(EpollTimeout::NONE)
    }

    fn arm(&mut self, now: Time, deadline: Option<Time>) -> nix::Result<()> {
        if self.armed == deadline {
            return Ok(());
        }
        self.armed = deadline;
        match deadline {
            Some(deadline) => {
                // Zero would disarm the timer.
                let after = deadline.since(now).max(Duration::from_nanos(1));
                self.timer.set(
                    Expiration::OneShot(TimeSpec::from_duration(after)),
                    TimerSetTimeFlags::empty(),
                )
            }
            None => self.timer.unset(),
        }
    }

    fn wait(&mut self, timeout: EpollTimeout) -> nix::Result<Ready> {
        let mut events = [EpollEvent::empty(); SOURCES.len()];
        let count = match self.epoll.wait(&mut events, timeout) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(errno) => return Err(errno),
        };
        let mut ready = Ready::default();
        for event in events.iter().take(count) {
            let source = usize::try_from(event.data())
                .ok()
                .and_then(|i| SOURCES.get(i));
            if let Some(source) = source {
                ready.insert(*source);
            }
        }
        if ready.has(Source::Timer) {
            // Takes note of it, or it would be ready for ever.
            self.armed = None;
            self.timer.unset()?;
        }
        Ok(ready)
    }
}

fn event(source: Source, flags: EpollFlags) -> EpollEvent {
    EpollEvent::new(flags, source as u64)
}

/// Adds descriptors to the epoll set that it came from.
#[derive(Clone, Debug)]
pub struct Registry(Rc<Epoll>);

impl Registry {
    /// Watches `fd` for input until the result is dropped.
    ///
    /// # Errors
    /// What the system says.
    pub fn watch<F: AsFd>(&self, fd: F, source: Source) -> nix::Result<Watched<F>> {
        self.0.add(&fd, event(source, EpollFlags::EPOLLIN))?;
        Ok(Watched {
            fd,
            source,
            epoll: Rc::clone(&self.0),
            interest: EpollFlags::EPOLLIN,
        })
    }
}

/// A descriptor in the epoll set. Dropping it takes it out first: closing alone would not, where another process
/// holds the same open file.
#[derive(Debug)]
pub struct Watched<F: AsFd> {
    fd: F,
    source: Source,
    epoll: Rc<Epoll>,
    interest: EpollFlags,
}

impl<F: AsFd> Watched<F> {
    /// What is watched.
    pub const fn get(&self) -> &F {
        &self.fd
    }

    /// What is watched.
    pub const fn get_mut(&mut self) -> &mut F {
        &mut self.fd
    }

    /// Waits for input, for room to write, for both, or only for the end of the connection. Costs a system call
    /// only if that is a change.
    ///
    /// # Errors
    /// What the system says.
    pub fn set_interest(&mut self, input: bool, room: bool) -> nix::Result<()> {
        let mut interest = EpollFlags::empty();
        interest.set(EpollFlags::EPOLLIN, input);
        interest.set(EpollFlags::EPOLLOUT, room);
        if interest == self.interest {
            return Ok(());
        }
        self.epoll
            .modify(&self.fd, &mut event(self.source, interest))?;
        self.interest = interest;
        Ok(())
    }
}

impl<F: AsFd> AsFd for Watched<F> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl<F: AsFd> Drop for Watched<F> {
    fn drop(&mut self) {
        if let Err(errno) = self.epoll.delete(&self.fd) {
            tracing::debug!(%errno, source = ?self.source, "descriptor was not in the epoll set");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timer_is_ready_once_for_each_deadline() {
        let mut events = Events::new().unwrap();

        let first = events.sleep(Time::ZERO, Some(Time::from_nanos(1000)));
        let then = events.poll().unwrap();
        let second = events.sleep(Time::ZERO, Some(Time::from_nanos(1000)));

        assert!(first.unwrap().has(Source::Timer));
        assert!(then.is_empty());
        assert!(second.unwrap().has(Source::Timer));
    }

    #[test]
    fn a_timer_that_ran_out_while_polling_is_ready_once() {
        let mut events = Events::new().unwrap();
        let (reader, writer) = nix::unistd::pipe().unwrap();
        nix::unistd::write(&writer, b"x").unwrap();
        let wire = events.registry().watch(reader, Source::Wire).unwrap();
        // The wire is ready, so this arms the timer and returns at once.
        events.sleep(Time::ZERO, Some(Time::from_nanos(1))).unwrap();
        drop(wire);

        while !events.poll().unwrap().has(Source::Timer) && events.armed.is_some() {}

        assert!(events.poll().unwrap().is_empty());
    }
}
