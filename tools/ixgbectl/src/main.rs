//! `ixgbectl`: what a person does to a running vfio-user-ixgbe.

mod capture;
mod cli;
mod fault;
mod find;
mod info;
mod inject;
mod leds;
mod link;
mod module;
mod output;
mod ports;
mod stats;

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use control::Client;

use crate::{
    cli::{Arguments, Command},
    output::{Format, Output},
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
        Err(error) => {
            output::error(format, &error);
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments, mut output: Output) -> anyhow::Result<()> {
    // What is wrong with the user's own files is told before a server is asked.
    let prepared = match &arguments.command {
        Command::Inject(arguments) => Some(inject::read(arguments)?),
        _ => None,
    };
    let path = find::control_socket(arguments.control)?;
    let mut client = Client::connect(&path)?;
    client.select(arguments.port);
    match arguments.command {
        Command::Inject(arguments) => {
            let frames = prepared.context("the frames were read before")?;
            inject::run(&mut client, &frames, &arguments, &mut output)
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
