//! Events of a trace in words.

use control::{Direction, EventKind, TraceEvent};

/// What an event says, without its time.
pub(crate) fn of(event: &TraceEvent) -> String {
    let mut words = vec![format!("{:<10}", event.kind.name())];
    words.push(what(event));
    if let Some(result) = &event.result {
        // What is as usual need not be said.
        if !(event.kind == EventKind::Dma && result == "done") {
            words.push(result.clone());
        }
    }
    if let (Some(queue), false) = (event.queue, event.kind == EventKind::Descriptor) {
        words.push(format!("{}queue {queue}", short(event.direction)));
    }
    if let Some(reason) = &event.reason {
        words.push(format!("({reason})"));
    }
    words.extend(details(event));
    words.join(" ")
}

fn short(direction: Option<Direction>) -> &'static str {
    match direction {
        Some(Direction::Receive) => "rx ",
        Some(Direction::Transmit) => "tx ",
        None => "",
    }
}

fn what(event: &TraceEvent) -> String {
    let length = event.length.unwrap_or(0);
    match (event.kind, event.what.as_str()) {
        (EventKind::Register, "config") => format!(
            "writes configuration {:#x} = {}",
            event.offset.unwrap_or(0),
            event.data.as_deref().unwrap_or("")
        ),
        (EventKind::Register, what @ ("read" | "write")) => {
            let name = event.register.clone();
            let name = name.unwrap_or_else(|| format!("offset {:#07x}", event.offset.unwrap_or(0)));
            let (verb, sign) = if what == "read" {
                ("reads ", "is")
            } else {
                ("writes", "=")
            };
            format!("{verb} {name} {sign} {:#x}", event.value.unwrap_or(0))
        }
        (EventKind::Dma, what) => format!(
            "{what}s {length} bytes at {} for {}",
            event.iova.as_deref().unwrap_or("?"),
            event.purpose.as_deref().unwrap_or("?")
        ),
        (EventKind::Descriptor, what) => {
            let [low, high] = event.words.clone().unwrap_or_default();
            format!(
                "{what} {}queue {} descriptor {} at {}: {low} {high}",
                short(event.direction),
                event.queue.unwrap_or(0),
                event.index.unwrap_or(0),
                event.iova.as_deref().unwrap_or("?"),
            )
        }
        (EventKind::Packet, what @ ("arrived" | "sent" | "buffered" | "received")) => {
            format!("{what} {length} bytes")
        }
        (EventKind::Interrupt, "cause") => format!(
            "cause vectors {} other {}",
            event.vectors.as_deref().unwrap_or("0x0"),
            event.causes.as_deref().unwrap_or("0x0")
        ),
        (EventKind::Interrupt, "signal") => {
            format!("signal {}", event.signal.as_deref().unwrap_or("?"))
        }
        (_, what) => what.to_owned(),
    }
}

fn details(event: &TraceEvent) -> Vec<String> {
    let mut words = Vec::new();
    let mut say = |name: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            words.push(format!("{name} {value}"));
        }
    };
    say("by", event.chooser.clone());
    say("pool", event.pool.map(|pool| pool.to_string()));
    say("class", event.class.map(|class| class.to_string()));
    if event.rss_type.as_deref() != Some("None") {
        say("hash", event.hash.clone());
        say("type", event.rss_type.clone());
    }
    say("headers", event.headers.clone());
    say("status", event.status.clone());
    say("vlan", event.vlan.map(|tag| format!("{tag:#x}")));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(json: &str) -> TraceEvent {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_register_access_names_the_register() {
        let write = r#"{"time": 1, "kind": "register", "what": "write", "register": "RDT[3]",
            "offset": 4120, "value": 255}"#;
        let unknown =
            r#"{"time": 1, "kind": "register", "what": "read", "offset": 4096, "value": 0}"#;

        assert_eq!(of(&event(write)), "register   writes RDT[3] = 0xff");
        assert_eq!(
            of(&event(unknown)),
            "register   reads  offset 0x01000 is 0x0"
        );
    }

    #[test]
    fn a_refused_access_says_so() {
        let refused = r#"{"time": 1, "kind": "dma", "what": "write", "direction": "receive", "queue": 2,
            "iova": "0x1000", "length": 60, "purpose": "packet", "result": "refused"}"#;

        assert_eq!(
            of(&event(refused)),
            "dma        writes 60 bytes at 0x1000 for packet refused rx queue 2"
        );
    }

    #[test]
    fn a_dropped_frame_says_why() {
        let dropped = r#"{"time": 1, "kind": "packet", "what": "received", "direction": "receive",
            "length": 60, "result": "dropped", "reason": "address-filter"}"#;

        assert_eq!(
            of(&event(dropped)),
            "packet     received 60 bytes dropped (address-filter)"
        );
    }
}
