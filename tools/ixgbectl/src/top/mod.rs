//! `ixgbectl top`: what the NIC does now.

mod histogram;
mod keys;
mod number;
mod plain;
mod sample;
mod sampler;
mod screen;
#[cfg(test)]
mod tests;
mod view;

use std::{
    env,
    io::{self, ErrorKind, IsTerminal, Write},
    path::PathBuf,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::Serialize;

pub(crate) use self::keys::DELAYS;
use self::{keys::App, sample::Sample, sampler::Sampler};
use crate::{cli::TopArguments, output::Output};

/// A sample of the ports, for programs.
#[derive(Serialize)]
struct Samples<'a> {
    /// Milliseconds since 1970.
    time: u64,
    ports: &'a [Sample],
}

pub(crate) fn run(
    path: PathBuf,
    ports: &[u32],
    arguments: &TopArguments,
    output: &Output,
) -> anyhow::Result<()> {
    let can_draw = env::var_os("TERM").is_none_or(|term| term != "dumb");
    let on_a_screen = can_draw && io::stdout().is_terminal() && io::stdin().is_terminal();
    let batch = arguments.batch || arguments.once || !on_a_screen || output.is_json();
    if !batch {
        let first = ports.first().copied().unwrap_or(0);
        let count = u32::try_from(ports.len()).unwrap_or(u32::MAX);
        return screen::run(
            path,
            App::new(first, count, arguments.delay, arguments.iterations),
        );
    }
    let mut sampler = Sampler::new(path);
    for port in ports {
        sampler.look(*port)?;
    }
    let mut left = if arguments.once {
        Some(1)
    } else {
        arguments.iterations
    };
    while left != Some(0) {
        left = left.map(|left| left - 1);
        thread::sleep(arguments.delay);
        let mut samples = Vec::new();
        for port in ports {
            samples.extend(sampler.look(*port)?);
        }
        if print(&samples, output)? == Reader::Gone {
            return Ok(());
        }
    }
    Ok(())
}

/// Whether somebody reads what is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reader {
    There,
    Gone,
}

fn print(samples: &[Sample], output: &Output) -> anyhow::Result<Reader> {
    let mut text = if output.is_json() {
        let time = SystemTime::now().duration_since(UNIX_EPOCH);
        serde_json::to_string(&Samples {
            time: u64::try_from(time.unwrap_or(Duration::ZERO).as_millis()).unwrap_or(u64::MAX),
            ports: samples,
        })?
    } else {
        let texts: Vec<String> = samples.iter().map(plain::text).collect();
        texts.join("\n")
    };
    text.push('\n');
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Ok(()) => Ok(Reader::There),
        // Whoever read it has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(error) => Err(error.into()),
    }
}
