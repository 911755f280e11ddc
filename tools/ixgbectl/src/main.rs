//! `ixgbectl`: what a person does to a running vfio-user-ixgbe.

mod capture;
mod check;
mod cli;
mod copies;
mod craft;
mod ending;
mod expect;
mod fault;
mod filters;
mod find;
mod info;
mod inject;
mod irq;
mod leds;
mod link;
mod mem;
mod module;
mod nvm;
mod output;
mod pace;
mod perfetto;
mod ports;
mod progress;
mod record;
mod regs;
mod replay;
mod rings;
mod shell;
mod state;
mod stats;
mod top;
mod trace;
mod values;
mod verdict;
mod words;
mod wrong;

use std::process::ExitCode;

use clap::Parser;
use control::Client;
use packets::Filter;

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

/// What was read before a server is asked.
enum Prepared {
    Frames(inject::Prepared),
    Expectation(expect::Prepared),
    Filter(Filter),
    Nothing,
}

fn run(arguments: Arguments, mut output: Output) -> anyhow::Result<()> {
    // What is wrong with the user's own words and files is told before a server is asked.
    let prepared = match &arguments.command {
        Command::Inject(arguments) => Prepared::Frames(inject::prepare(arguments)?),
        Command::Expect(arguments) => Prepared::Expectation(expect::prepare(arguments)?),
        Command::Capture(arguments) => Prepared::Filter(capture::filter(&arguments.filter)?),
        Command::Completions { shell } => return shell::completions(*shell),
        Command::Man { directory } => return shell::man(directory, &mut output),
        Command::Replay(replay) => return replay::run(replay, arguments.port, &mut output),
        _ => Prepared::Nothing,
    };
    let path = find::control_socket(arguments.control)?;
    let mut client = Client::connect(&path)?;
    let port = arguments.port;
    client.select(port);
    let connect = |port: Option<u32>| {
        let mut client = Client::connect(&path)?;
        // Port 0 has no number for servers of one port.
        client.select(port.filter(|port| *port != 0));
        Ok(client)
    };
    match arguments.command {
        Command::Inject(arguments) => {
            let Prepared::Frames(prepared) = prepared else {
                anyhow::bail!("the frames were not read");
            };
            let capture = || connect(port);
            inject::run(&mut client, &prepared, &arguments, capture, &mut output)
        }
        Command::Expect(arguments) => {
            let Prepared::Expectation(prepared) = prepared else {
                anyhow::bail!("what is expected was not read");
            };
            expect::run(client, &path, prepared, &arguments, &mut output)
        }
        Command::Capture(arguments) => {
            let Prepared::Filter(filter) = prepared else {
                anyhow::bail!("the filter was not read");
            };
            let ports = ports::meant(port, &mut client)?;
            let connect = |port| connect(Some(port));
            capture::run(&ports, connect, &filter, &arguments, &mut output)
        }
        Command::Stats(stats) => {
            let ports = ports::meant(arguments.port, &mut client)?;
            match stats.copies {
                Some(action) => copies::run(&mut client, &ports, action, &mut output),
                None => stats::run(&mut client, &ports, &stats, &mut output),
            }
        }
        Command::Top(top) => {
            let ports = ports::meant(arguments.port, &mut client)?;
            drop(client);
            top::run(path, &ports, &top, &output)
        }
        Command::Record(arguments) => record::run(client, &arguments, &mut output),
        Command::Trace(arguments) => trace::run(client, &arguments, &mut output),
        Command::Regs(arguments) => regs::run(&mut client, &arguments, &mut output),
        Command::Rings(arguments) => rings::run(&mut client, &arguments, &mut output),
        Command::Filters => filters::run(&mut client, &mut output),
        Command::Irq => irq::run(&mut client, &mut output),
        Command::Nvm(arguments) => nvm::run(&mut client, &arguments, &mut output),
        Command::Mem(arguments) => mem::run(&mut client, &arguments, &mut output),
        Command::Link(arguments) => link::run(&mut client, arguments.state, &mut output),
        Command::Module(arguments) => module::run(&mut client, arguments.kind, &mut output),
        Command::Fault(arguments) => fault::run(&mut client, &arguments, &mut output),
        Command::Save(arguments) => state::save(&mut client, &arguments, &mut output),
        Command::Load(arguments) => state::load(&mut client, &arguments, &mut output),
        Command::Leds => leds::run(&mut client, &mut output),
        Command::Completions { .. } | Command::Man { .. } | Command::Replay(_) => Ok(()),
        Command::Check => {
            let ports = ports::meant(arguments.port, &mut client)?;
            check::run(&mut client, &ports, &mut output)
        }
        Command::Info => {
            let ports = ports::meant(arguments.port, &mut client)?;
            info::run(&mut client, &path, &ports, &mut output)
        }
    }
}
