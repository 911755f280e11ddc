//! `ixgbectl rings`.

mod descriptor;

use std::fmt::Write;

use control::{Client, Direction};
use ixgbe_spec::{
    descriptor::SIZE,
    register::{
        Reg,
        bits::{rxdctl, srrctl},
    },
};
use serde::Serialize;

use crate::{cli::RingsArguments, output::Output, values::Values};

/// Queues in each direction.
const QUEUES: usize = 128;
/// TXDCTL.ENABLE (8.2.3.9.10).
const TXDCTL_ENABLE: u32 = 1 << 25;

/// The registers of rings.
const REGISTERS: [Reg; 14] = [
    Reg::RDBAL,
    Reg::RDBAH,
    Reg::RDLEN,
    Reg::RDH,
    Reg::RDT,
    Reg::SRRCTL,
    Reg::RXDCTL,
    Reg::TDBAL,
    Reg::TDBAH,
    Reg::TDLEN,
    Reg::TDH,
    Reg::TDT,
    Reg::TXDCTL,
    Reg::TDWBAL,
];

/// A ring.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Ring {
    direction: Direction,
    queue: usize,
    enabled: bool,
    base: String,
    descriptors: u32,
    head: u32,
    tail: u32,
    /// Descriptors from the head to the tail: the card's.
    owned: u32,
    /// Bytes of a packet buffer, of a receive ring.
    #[serde(skip_serializing_if = "Option::is_none")]
    buffer: Option<u32>,
    /// SRRCTL.DESCTYPE.
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    contents: Option<Vec<Entry>>,
}

/// A descriptor of a ring.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    index: u32,
    iova: String,
    /// Whose it is.
    owner: &'static str,
    words: [String; 2],
    decoded: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    buffer: Option<String>,
}

#[derive(Serialize)]
struct Rings<'a> {
    rings: &'a [Ring],
}

pub(crate) fn run(
    client: &mut Client,
    arguments: &RingsArguments,
    output: &mut Output,
) -> anyhow::Result<()> {
    let values = Values::ask(client, &REGISTERS)?;
    let mut rings: Vec<Ring> = [Direction::Receive, Direction::Transmit]
        .into_iter()
        .filter(|direction| {
            let wanted = arguments.direction.map(Direction::from);
            wanted.is_none_or(|wanted| wanted == *direction)
        })
        .flat_map(|direction| (0..QUEUES).map(move |queue| (direction, queue)))
        .map(|(direction, queue)| ring(direction, queue, &values))
        .filter(|ring| match arguments.queue {
            Some(queue) => ring.queue == usize::from(queue),
            None => ring.enabled || arguments.all,
        })
        .collect();
    if arguments.queue.is_some() {
        for ring in &mut rings {
            ring.contents = Some(contents(client, ring, arguments)?);
        }
    }
    output.print(&Rings { rings: &rings }, || table(&rings))
}

fn ring(direction: Direction, queue: usize, values: &Values) -> Ring {
    let get = |reg| values.get(reg, queue);
    let (base, len, head, tail, control, enable) = match direction {
        Direction::Receive => (
            values.get64(Reg::RDBAL, Reg::RDBAH, queue),
            get(Reg::RDLEN),
            get(Reg::RDH),
            get(Reg::RDT),
            get(Reg::RXDCTL),
            rxdctl::ENABLE,
        ),
        Direction::Transmit => (
            values.get64(Reg::TDBAL, Reg::TDBAH, queue),
            get(Reg::TDLEN),
            get(Reg::TDH),
            get(Reg::TDT),
            get(Reg::TXDCTL),
            TXDCTL_ENABLE,
        ),
    };
    let descriptors = len / 16;
    let owned = if head >= descriptors || tail >= descriptors {
        0
    } else {
        (tail + descriptors - head) % descriptors
    };
    let receives = direction == Direction::Receive;
    let control_of_buffers = get(Reg::SRRCTL);
    Ring {
        direction,
        queue,
        enabled: control & enable != 0,
        base: format!("{base:#x}"),
        descriptors,
        head,
        tail,
        owned,
        buffer: receives.then_some((control_of_buffers & srrctl::BSIZEPACKET) * 1024),
        format: receives.then_some(control_of_buffers >> srrctl::DESCTYPE_SHIFT & 7),
        contents: None,
    }
}

/// The descriptors around the head: so many that are the driver's, and so many that are the card's.
fn contents(
    client: &mut Client,
    ring: &Ring,
    arguments: &RingsArguments,
) -> anyhow::Result<Vec<Entry>> {
    let around = arguments.count.min(ring.descriptors);
    let base = u64::from_str_radix(ring.base.trim_start_matches("0x"), 16)?;
    let mut entries = Vec::new();
    if ring.descriptors == 0 {
        return Ok(entries);
    }
    let before = around.min(ring.descriptors - ring.owned.min(ring.descriptors));
    let after = around.min(ring.owned);
    let head = ring.head % ring.descriptors;
    let first = (head + ring.descriptors - before % ring.descriptors) % ring.descriptors;
    for nth in 0..(before + after).min(ring.descriptors) {
        let index = (first + nth) % ring.descriptors;
        let iova = base.wrapping_add(u64::from(index) * SIZE as u64);
        let bytes = client.read_memory(iova, 16)?;
        let word = |at: usize| {
            let bytes = bytes
                .get(at..at + 8)
                .and_then(|bytes| bytes.try_into().ok());
            bytes.map_or(0, u64::from_le_bytes)
        };
        let (low, high) = (word(0), word(8));
        let theirs = nth >= before;
        let decoded = match (ring.direction, theirs) {
            (Direction::Receive, true) => descriptor::receive_posted(low, high, ring.format),
            (Direction::Receive, false) => descriptor::receive_done(low, high, ring.format),
            (Direction::Transmit, _) => descriptor::transmit(low, high),
        };
        let buffer = match (arguments.bytes, decoded.buffer) {
            (Some(bytes), Some(at)) => Some(match client.read_memory(at, bytes) {
                Ok(data) => hex(&data),
                Err(error) => error.to_string(),
            }),
            _ => None,
        };
        entries.push(Entry {
            index,
            iova: format!("{iova:#x}"),
            owner: if theirs { "card" } else { "driver" },
            words: [format!("{low:#018x}"), format!("{high:#018x}")],
            decoded: decoded.words,
            buffer,
        });
    }
    Ok(entries)
}

fn hex(data: &[u8]) -> String {
    data.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn table(rings: &[Ring]) -> String {
    if rings.is_empty() {
        return "no ring is enabled".to_owned();
    }
    let mut text =
        "direction  queue  enabled                base  descriptors   head   tail  owned  buffer\n"
            .to_owned();
    for ring in rings {
        let direction = match ring.direction {
            Direction::Receive => "receive",
            Direction::Transmit => "transmit",
        };
        let enabled = if ring.enabled { "yes" } else { "no" };
        let buffer = ring
            .buffer
            .map_or_else(String::new, |bytes| bytes.to_string());
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "{direction:<9}  {:>5}  {enabled:<7}  {:>18}  {:>11}  {:>5}  {:>5}  {:>5}  {buffer:>6}",
            ring.queue, ring.base, ring.descriptors, ring.head, ring.tail, ring.owned,
        );
        for entry in ring.contents.iter().flatten() {
            let mark = if entry.index == ring.head { ">" } else { " " };
            let [low, high] = &entry.words;
            let _ = writeln!(
                text,
                "{mark} {:>5} {:<6} {low} {high}  {}",
                entry.index, entry.owner, entry.decoded
            );
            if let Some(buffer) = &entry.buffer {
                let _ = writeln!(text, "               {buffer}");
            }
        }
    }
    text
}
