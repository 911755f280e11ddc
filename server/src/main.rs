//! `vfio-user-ixgbe`: an Intel 82599 10 GbE NIC, served over vfio-user.

use std::{
    io::{IsTerminal, stderr},
    process::ExitCode,
};

use anyhow::Context;
use clap::Parser;
use tracing_subscriber::EnvFilter;
use vfio_user_ixgbe::{
    activation::PassedSockets,
    cli::{self, Arguments},
    config::Config,
    ports,
    readiness::Supervisor,
    signals,
};

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) if !error.use_stderr() => error.exit(),
        Err(error) => {
            eprintln!("vfio-user-ixgbe: {}", cli::one_line(&error));
            return ExitCode::from(2);
        }
    };
    match serve(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!(
                "vfio-user-ixgbe: {}",
                format!("{error:#}").replace('\n', " ")
            );
            ExitCode::FAILURE
        }
    }
}

fn serve(arguments: Arguments) -> anyhow::Result<()> {
    let passed = PassedSockets::from_environment()?;
    let config = Config::load_with(arguments, passed.paths())?;
    let filter = EnvFilter::try_new(&config.log).with_context(|| {
        format!(
            "'{}' is no log filter; give one as info,vfio_user=debug",
            config.log
        )
    })?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(stderr().is_terminal())
        .with_writer(stderr)
        .init();
    let signals = signals::termination().context("cannot take over SIGTERM and SIGINT")?;
    ports::serve(&config, passed, &Supervisor::connect(), &signals)
}
