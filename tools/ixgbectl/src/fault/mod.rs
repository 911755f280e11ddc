//! `ixgbectl fault`.

mod arguments;

use std::{
    fmt::Write,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use control::{ActiveFault, Client};
use serde::Serialize;

pub(crate) use self::arguments::{FaultAction, FaultArguments};
use crate::output::Output;

#[derive(Serialize)]
struct Had {
    fault: &'static str,
    message: Option<String>,
}

#[derive(Serialize)]
struct Added {
    id: u64,
    fault: &'static str,
    seed: u64,
}

#[derive(Serialize)]
struct List {
    faults: Vec<ActiveFault>,
}

#[derive(Serialize)]
struct Cleared {
    cleared: u64,
}

/// Lets cable or card have a fault, or shows or ends those that there are.
pub(crate) fn run(
    client: &mut Client,
    arguments: &FaultArguments,
    output: &mut Output,
) -> anyhow::Result<()> {
    match arguments.action {
        Some(FaultAction::List) => {
            let faults = client.faults()?;
            let text = table(&faults);
            return output.print(&List { faults }, || text);
        }
        Some(FaultAction::Clear { id }) => {
            let cleared = client.clear_faults(id)?;
            return output.print(&Cleared { cleared }, || format!("cleared {cleared}"));
        }
        None => {}
    }
    if let Some(error) = arguments.plain_error() {
        let message = client.inject_error(error)?;
        let fault = error.name();
        let had = Had { fault, message };
        return output.print(&had, || match &had.message {
            Some(message) => format!("fault {fault}, message {message}"),
            None => format!("fault {fault}"),
        });
    }
    let kind = arguments.kind.context("a kind of fault is wanted")?;
    let fault = arguments.fault(kind, by_chance());
    let added = Added {
        id: client.add_fault(&fault)?,
        fault: kind.name(),
        seed: fault.trigger.seed,
    };
    output.print(&added, || {
        format!("fault {} {kind}, seed {}", added.id, added.seed)
    })
}

/// A number that nobody has chosen.
fn by_chance() -> u64 {
    let time = SystemTime::now().duration_since(UNIX_EPOCH);
    let nanos = time.map_or(0, |time| time.subsec_nanos());
    u64::from(nanos ^ std::process::id().rotate_left(16))
}

fn table(faults: &[ActiveFault]) -> String {
    if faults.is_empty() {
        return "no faults".to_owned();
    }
    let mut text = format!(
        "{:>3}  {:18}  {:5}  {:>10}  {:>10}  {}\n",
        "ID", "FAULT", "STATE", "SEEN", "FIRED", "WHAT"
    );
    for fault in faults {
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "{:>3}  {:18}  {:5}  {:>10}  {:>10}  {}",
            fault.id,
            fault.fault,
            fault.state.name(),
            fault.seen,
            fault.fired,
            words(fault)
        );
    }
    text
}

/// Target and trigger in the words of the command line.
fn words(fault: &ActiveFault) -> String {
    let mut words = Vec::new();
    let mut say = |name: &str, value: Option<String>| {
        words.extend(value.map(|value| format!("{name} {value}")));
    };
    let way = |direction| match direction {
        control::Direction::Receive => "rx".to_owned(),
        control::Direction::Transmit => "tx".to_owned(),
    };
    say("direction", fault.direction.map(way));
    say("queue", fault.queue.map(|queue| queue.to_string()));
    say("vector", fault.vector.map(|vector| vector.to_string()));
    let unsure = (fault.probability < 1.0).then_some(fault.probability);
    say("probability", unsure.map(|chance| chance.to_string()));
    say("nth", fault.nth.map(|nth| nth.to_string()));
    say("count", fault.count.map(|count| count.to_string()));
    let duration = fault.for_nanos.map(Duration::from_nanos);
    say("for", duration.map(|duration| format!("{duration:?}")));
    say("seed", Some(fault.seed.to_string()));
    words.join(", ")
}
