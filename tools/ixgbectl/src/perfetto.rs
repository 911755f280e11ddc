//! Traces in the JSON format that Perfetto and Chrome read (the Trace Event Format).

use std::io::{self, Write};

use control::{EventKind, TraceEvent};
use serde_json::json;

use crate::words;

/// A file that grows event by event.
pub(crate) struct Perfetto<W> {
    to: W,
    first: bool,
}

impl<W: Write> Perfetto<W> {
    /// Begins a file: one process, and a track for each kind of event.
    pub(crate) fn new(mut to: W) -> io::Result<Self> {
        write!(to, "{{\"displayTimeUnit\":\"ns\",\"traceEvents\":[")?;
        let mut file = Self { to, first: true };
        file.add(&json!({
            "ph": "M", "pid": 1, "name": "process_name", "args": {"name": "82599"},
        }))?;
        for kind in EventKind::ALL {
            file.add(&json!({
                "ph": "M", "pid": 1, "tid": track(kind), "name": "thread_name",
                "args": {"name": kind.name()},
            }))?;
        }
        Ok(file)
    }

    /// Adds an event: a moment on its track, in microseconds.
    pub(crate) fn event(&mut self, event: &TraceEvent) -> io::Result<()> {
        let name = match (&event.register, &event.signal) {
            (Some(register), _) => format!("{} {register}", event.what),
            (_, Some(signal)) => format!("{} {signal}", event.what),
            _ => event.what.clone(),
        };
        let nanos = event.time.max(0);
        let microseconds = format!("{}.{:03}", nanos / 1000, nanos % 1000);
        let time: serde_json::Value = serde_json::from_str(&microseconds)?;
        self.add(&json!({
            "ph": "i", "s": "t", "pid": 1, "tid": track(event.kind), "cat": event.kind.name(),
            "name": name, "ts": time, "args": {"words": words::of(event), "event": event},
        }))
    }

    fn add(&mut self, value: &serde_json::Value) -> io::Result<()> {
        let comma = if std::mem::replace(&mut self.first, false) {
            "\n"
        } else {
            ",\n"
        };
        write!(self.to, "{comma}{value}")
    }

    /// Ends the file.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        writeln!(self.to, "\n]}}")?;
        self.to.flush()
    }
}

const fn track(kind: EventKind) -> u32 {
    match kind {
        EventKind::Register => 1,
        EventKind::Packet => 2,
        EventKind::Descriptor => 3,
        EventKind::Dma => 4,
        EventKind::Interrupt => 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_json_with_a_track_for_each_kind() {
        let event = r#"{"time": 1234567, "kind": "register", "what": "write", "register": "RDT[0]",
            "offset": 4120, "value": 7}"#;
        let mut bytes = Vec::new();

        let mut file = Perfetto::new(&mut bytes).unwrap();
        file.event(&serde_json::from_str(event).unwrap()).unwrap();
        file.finish().unwrap();

        let all: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        let events = all["traceEvents"].as_array().unwrap();
        assert_eq!(events.len(), 7);
        assert_eq!(events[6]["name"], "write RDT[0]");
        assert_eq!(events[6]["ts"], 1234.567);
        assert_eq!(events[6]["tid"], events[1]["tid"]);
    }
}
