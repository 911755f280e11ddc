//! A sample as plain text, as `top -b` prints it: no escapes, nothing cut.

use control::Link;

use super::{
    number::{short, with_unit},
    sample::Sample,
    view::{QUEUES, flow, latency, named, queue},
};

/// Letters for what a total is made of: a line has 80.
const ROOM: usize = 80 - 22;

/// The state of the port and its rates, in six lines.
pub(crate) fn state(sample: &Sample) -> [String; 6] {
    let link = match (sample.cable, sample.carrier) {
        (Link::Down, _) => "cable pulled",
        (Link::Up, true) => "carrier",
        (Link::Up, false) => "no carrier",
    };
    let address = sample.address.as_deref().unwrap_or("-");
    let total = |name: &str, several: &super::sample::Several| {
        let sum = with_unit(several.per_second, "/s");
        let line = format!("{name:<11} {sum:<9} {}", named(several, ROOM));
        line.trim_end().to_owned()
    };
    let dma = &sample.dma;
    [
        format!(
            "Link        {link}, module {}, {address}, wire {}",
            sample.module, sample.wire
        ),
        format!("Receive    {}", flow(sample.receive)),
        format!("Transmit   {}", flow(sample.transmit)),
        total("Drops", &sample.drops),
        total("Interrupts", &sample.interrupts),
        format!(
            "DMA         read {}, written {}, {} accesses/s, {} refused/s",
            with_unit(dma.read_bytes_per_second, "B/s"),
            with_unit(dma.written_bytes_per_second, "B/s"),
            short(dma.accesses_per_second),
            short(dma.refused_per_second),
        ),
    ]
}

/// The whole sample.
pub(crate) fn text(sample: &Sample) -> String {
    let mut lines = vec![format!(
        "vfio-user-ixgbe {}, process {}   port {} of {}   {:.1} s",
        sample.version, sample.pid, sample.port, sample.ports, sample.seconds
    )];
    lines.extend(state(sample));
    lines.push(latency(sample));
    lines.push(String::new());
    lines.push(QUEUES.to_owned());
    lines.extend(sample.queues.iter().map(queue));
    lines.push(String::new());
    let height = u16::try_from(control::LATENCY_BOUNDS.len() + 2).unwrap_or(u16::MAX);
    let histogram = super::histogram::lines(&sample.to_memory, &sample.to_interrupt, height);
    lines.extend(histogram.iter().map(|line| line.trim_end().to_owned()));
    lines.push(String::new());
    lines.join("\n")
}
