//! What ends a command that goes on until then.

use std::{
    os::fd::AsFd,
    time::{Duration, Instant},
};

use anyhow::Context;
use control::Stream;
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{SigSet, Signal},
        signalfd::{SfdFlags, SignalFd},
    },
};
use serde::de::DeserializeOwned;

/// SIGINT and SIGTERM as a descriptor.
pub(crate) fn signals() -> nix::Result<SignalFd> {
    taken_over(&[Signal::SIGINT, Signal::SIGTERM])
}

/// These signals as a descriptor; they do nothing else any more.
pub(crate) fn taken_over(signals: &[Signal]) -> nix::Result<SignalFd> {
    let mask: SigSet = signals.iter().copied().collect();
    mask.thread_block()?;
    SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}

/// Waits until there is a reply, or it is time to end. Whether it is: by a signal, or since `end` has come.
pub(crate) fn is_due<R: DeserializeOwned>(
    stream: &Stream<R>,
    signals: &SignalFd,
    end: Option<Instant>,
) -> anyhow::Result<bool> {
    loop {
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Ok(true);
        }
        let timeout = if stream.has_buffered() {
            PollTimeout::ZERO
        } else {
            // Rounded up, so that it does not turn in place.
            let left = left.map(|left| left.saturating_add(Duration::from_millis(1)));
            left.map_or(PollTimeout::NONE, |left| {
                PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
            })
        };
        let mut fds = [
            PollFd::new(stream.poll_fd(), PollFlags::POLLIN),
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, timeout) {
            Ok(0) if !stream.has_buffered() => {}
            Ok(_) => return Ok(fds[1].any().unwrap_or(false)),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno).context("cannot wait for the server"),
        }
    }
}
