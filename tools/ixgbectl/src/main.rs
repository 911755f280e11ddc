//! `ixgbectl`: what a person does to a running vfio-user-ixgbe.

mod capture;
mod cli;
mod craft;
mod fault;
mod find;
mod info;
mod inject;
mod leds;
mod link;
mod module;
mod output;
mod pace;
mod ports;
mod progress;
mod stats;
mod wrong;

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use control::Client;

use crate::{
    cli::{Arguments, Command},
    output::{Format, Output},
    wrong::Wrong,
};

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) if !error.use_stderr() => error.exit(),
        Err(error) => {
            eprintln!("ixgbectl: {}", cli::one_line(&error));
            return ExitCode::from(2);
        }
    };
    let format = if arguments.json {
        Format::Json
    } else {
        Format::Human
    };
    match run(arguments, Output::new(format)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<Wrong>() => {
            output::wrong(format, &error);
            ExitCode::from(2)
        }
        Err(error) => {
            output::error(format, &error);
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments, mut output: Output) -> anyhow::Result<()> {
    // What is wrong with the user's own files is told before a server is asked.
    let prepared = match &arguments.command {
        Command::Inject(arguments) => Some(inject::prepare(arguments)?),
        _ => None,
    };
    let path = find::control_socket(arguments.control)?;
    let mut client = Client::connect(&path)?;
    let port = arguments.port;
    client.select(port);
    match arguments.command {
        Command::Inject(arguments) => {
            let prepared = prepared.context("the frames were read before")?;
            let capture = || {
                let mut client = Client::connect(&path)?;
                client.select(port);
                Ok(client)
            };
            inject::run(&mut client, &prepared, &arguments, capture, &mut output)
        }
        Command::Capture(arguments) => capture::run(client, &arguments, &mut output),
        Command::Stats(stats) => {
            let ports = ports::meant(arguments.port, &mut client)?;
            stats::run(&mut client, &ports, &stats, &mut output)
        }
        Command::Link(arguments) => link::run(&mut client, arguments.state, &mut output),
        Command::Module(arguments) => module::run(&mut client, arguments.kind, &mut output),
        Command::Fault(arguments) => fault::run(&mut client, arguments.kind, &mut output),
        Command::Leds => leds::run(&mut client, &mut output),
        Command::Info => {
            let ports = ports::meant(arguments.port, &mut client)?;
            info::run(&mut client, &path, &ports, &mut output)
        }
    }
}
