//! `vhost-user-ixgbe`: a virtio-net guest's buffers on the rings of an 82599.

use std::{
    io::{IsTerminal, stderr},
    os::fd::AsFd,
    process::ExitCode,
};

use anyhow::Context;
use clap::Parser;
use nic_driver::over_socket::{Lending, OverSocket};
use nix::sys::{
    signal::{SigSet, Signal},
    signalfd::{SfdFlags, SignalFd},
};
use tracing_subscriber::EnvFilter;
use vfio_user::{Listener, client};
use vhost_user_ixgbe::{
    cli::Arguments,
    worker::{Options, Worker},
};

fn main() -> ExitCode {
    match serve(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let text = format!("{error:#}").replace('\n', " ");
            eprintln!("vhost-user-ixgbe: {text}");
            ExitCode::FAILURE
        }
    }
}

fn serve(arguments: &Arguments) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&arguments.log)
        .with_context(|| format!("'{}' is no log filter", arguments.log))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(stderr().is_terminal())
        .with_writer(stderr)
        .init();
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGINT);
    signals.thread_block()?;
    let signals = SignalFd::with_flags(&signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
    let listener = Listener::bind(&arguments.socket)?;
    let options = Options {
        settings: arguments.settings(),
        polling: arguments.poll_us,
    };
    let connect = || {
        OverSocket::connect(
            &arguments.nic,
            client::Options::default(),
            Lending::Descriptor,
        )
    };
    let mut worker = Worker::new(options, &listener, signals.as_fd(), connect)?;
    tracing::info!(socket = %arguments.socket.display(), "ready for a front-end");
    let outcome = worker.run();
    let sleeps = worker.sleeps();
    let stack = worker.stack();
    let counters = stack.counters();
    tracing::info!(
        rx_zero_copy = counters.rx_zero_copy,
        rx_split = counters.rx_split,
        rx_copied = counters.rx_copied,
        rx_bytes_copied = counters.rx_bytes_copied,
        rx_header_bytes_copied = counters.rx_header_bytes_copied,
        rx_seam_bytes_copied = counters.rx_seam_bytes_copied,
        rx_large = counters.rx_large,
        rx_no_room = counters.rx_no_room,
        rx_bad_chains = counters.rx_bad_chains,
        tx_zero_copy = counters.tx_zero_copy,
        tx_bytes_copied = counters.tx_bytes_copied,
        tx_bad_chains = counters.tx_bad_chains,
        broken_rings = counters.broken_rings,
        sleeps,
        guest_interrupts = stack.guest_interrupts(),
        "what was done"
    );
    Ok(outcome?)
}
