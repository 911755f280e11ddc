//! `ixgbectl inject --verdict`: what the NIC does with each frame.

use std::fmt::Write;

use control::{Client, EventKind, Fate, MAX_JUDGED, Outcome, TraceEvent};
use serde::Serialize;
use wire::Damage;

use crate::{output::Output, words};

/// Bytes of frames of one call.
const MAX_BYTES: usize = 128 << 10;

#[derive(Serialize)]
struct Verdicts {
    verdicts: Vec<Fate>,
}

/// Lets `frames` arrive one by one, and shows what became of each.
pub(crate) fn run(
    client: &mut Client,
    frames: &[Vec<u8>],
    damage: Damage,
    output: &mut Output,
) -> anyhow::Result<()> {
    let mut verdicts = Vec::new();
    let mut rest = frames;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fit = rest.iter().take(MAX_JUDGED).take_while(|frame| {
            bytes += frame.len();
            bytes <= MAX_BYTES
        });
        let (now, later) = rest.split_at(fit.count().max(1));
        verdicts.extend(client.judge(now, damage)?);
        rest = later;
    }
    let verdicts = Verdicts { verdicts };
    output.print(&verdicts, || {
        let texts = (1..).zip(&verdicts.verdicts).map(|(number, fate)| {
            let frame: &[u8] = frames.get(number - 1).map_or(&[], Vec::as_slice);
            format!("frame {number}, {} bytes: {}", frame.len(), text(fate))
        });
        texts.collect::<Vec<_>>().join("")
    })
}

fn text(fate: &Fate) -> String {
    let mut text = match fate.outcome {
        Outcome::Delivered => "delivered".to_owned(),
        Outcome::Buffered => "waits in the packet buffer for descriptors".to_owned(),
        Outcome::Dropped => format!("DROPPED, {}", why(fate.reason.as_deref())),
    };
    if let Some(filter) = &fate.filter {
        let _ = write!(text, "; address accepted by {filter}");
    }
    text.push('\n');
    for event in fate.events.iter().filter(|event| is_telling(event)) {
        // Writing to a string does not fail.
        let _ = writeln!(text, "  {}", words::of(event));
    }
    if fate.lost > 0 {
        let _ = writeln!(text, "  ... and {} events more", fate.lost);
        return text;
    }
    let signalled = fate
        .events
        .iter()
        .any(|event| event.what == "signal" && event.signal.as_deref() != Some("intx-release"));
    let caused = fate.events.iter().any(|event| event.what == "cause");
    if caused && !signalled {
        let _ = match fate.due {
            Some(nanos) => writeln!(
                text,
                "  no interrupt yet: masked, or moderated; the port acts next in {} us",
                nanos.div_ceil(1000)
            ),
            None => writeln!(text, "  no interrupt: the cause is masked"),
        };
    }
    text
}

/// Whether an event says more than the first line. Fetches of descriptors are the ring's affair.
fn is_telling(event: &TraceEvent) -> bool {
    match event.kind {
        EventKind::Packet => !matches!(event.what.as_str(), "arrived" | "received"),
        EventKind::Dma => !event
            .purpose
            .as_deref()
            .is_some_and(|purpose| purpose.starts_with("descriptor")),
        EventKind::Descriptor => event.what == "written-back",
        EventKind::Interrupt | EventKind::Register => true,
    }
}

/// The stage that has dropped a frame, in words.
fn why(reason: Option<&str>) -> String {
    match reason.unwrap_or("for a reason that is not told") {
        "disabled" => "receive is disabled, there is no link, or the MAC loops back (RXCTRL.RXEN, LINKS.30)",
        "mac" => "by the MAC: FCS error, too short, too long, or a pause frame (7.1.1)",
        "address-filter" => "no filter accepts its destination address (7.1.1.1)",
        "vlan-filter" => "its VLAN is not in VFTA (7.1.1.2)",
        "pool" => "no VM pool that may receive wants it (7.10.3)",
        "queue" => "at its queue: disabled, no descriptors while SRRCTL.DROP_EN is set, or longer than RLPML (QPRDC)",
        "flow-director" => "by a Flow Director filter",
        "packet-buffer" => "the packet buffer is full (MPC)",
        "dma" => "the client's memory refused the ring (GuestFaults)",
        "cable" => "the cable is out",
        other => return other.to_owned(),
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_frame_names_the_stage() {
        let fate = Fate {
            outcome: Outcome::Dropped,
            reason: Some("vlan-filter".to_owned()),
            filter: Some("rar[0]".to_owned()),
            events: Vec::new(),
            lost: 0,
            due: None,
        };

        assert_eq!(
            text(&fate),
            "DROPPED, its VLAN is not in VFTA (7.1.1.2); address accepted by rar[0]\n"
        );
    }
}
