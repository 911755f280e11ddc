//! Two frames, field by field.

use std::fmt;

use crate::{dissect::Dissection, layer::Layer, value::show};

/// So many bytes are shown of what differs.
const SHOWN: usize = 16;
/// As short as a cable has frames, without FCS.
const MIN_FRAME: usize = 60;

/// Something in which two frames differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What: `ip.ttl`, `payload`, `length`.
    pub field: String,
    /// What it should be.
    pub expected: String,
    /// What it is.
    pub seen: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            field,
            expected,
            seen,
        } = self;
        write!(f, "{field}: expected {expected}, seen {seen}")
    }
}

impl Difference {
    pub(crate) fn new(
        field: impl Into<String>,
        expected: impl Into<String>,
        seen: impl Into<String>,
    ) -> Self {
        Self {
            field: field.into(),
            expected: expected.into(),
            seen: seen.into(),
        }
    }
}

/// In what two frames differ, but for the fields in `ignored` (`ip.id`). Zeros by which one is padded to 60 bytes are no
/// difference.
#[must_use]
pub fn differences(expected: &[u8], seen: &[u8], ignored: &[String]) -> Vec<Difference> {
    let (wanted, found) = (Dissection::new(expected), Dissection::new(seen));
    let names = |dissection: &Dissection<'_>| {
        let names = dissection
            .headers()
            .iter()
            .map(|header| header.layer.name());
        names.collect::<Vec<_>>().join("/")
    };
    let mut all = Vec::new();
    if names(&wanted) != names(&found) {
        all.push(Difference::new("headers", names(&wanted), names(&found)));
    }
    let mut count = [0; Layer::ALL.len()];
    for header in wanted.headers() {
        let layer = header.layer;
        let place = Layer::ALL
            .iter()
            .position(|other| *other == layer)
            .unwrap_or(0);
        let index = count[place];
        count[place] += 1;
        let Some(other) = found.header(layer, index) else {
            continue;
        };
        for field in layer.fields().iter().filter(|field| !field.part) {
            let name = format!("{}.{}", layer.name(), field.name);
            let (Some(a), Some(b)) = (
                wanted.get(layer, index, field),
                found.get(layer, index, field),
            ) else {
                continue;
            };
            if a != b && !ignored.contains(&name) {
                all.push(Difference::new(name, show(field, a), show(field, b)));
            }
        }
        let options = |frame: &[u8], at: usize, len: usize| {
            frame
                .get((at + layer.len()).min(at + len)..at + len)
                .unwrap_or_default()
                .to_vec()
        };
        let (a, b) = (
            options(expected, header.at, header.len),
            options(seen, other.at, other.len),
        );
        let name = format!("{}.options", layer.name());
        if a != b && !ignored.contains(&name) {
            all.push(Difference::new(name, hex(&a), hex(&b)));
        }
    }
    if !ignored.iter().any(|name| name == "payload") {
        all.extend(payloads(&wanted, &found));
    }
    all
}

/// In what the bytes behind the headers differ.
fn payloads(wanted: &Dissection<'_>, found: &Dissection<'_>) -> Option<Difference> {
    let (a, b) = (wanted.payload(), found.payload());
    // One of them may have been padded on its way, without a header that tells its length.
    let longest = a.len().max(b.len());
    let byte = |bytes: &[u8], at: usize| bytes.get(at).copied();
    let padding = |at: usize, frame: &Dissection<'_>| {
        frame.payload_range().start + at < MIN_FRAME
            && wanted.frame().len().max(found.frame().len()) <= MIN_FRAME
    };
    let at = (0..longest).find(|at| {
        let (a, b) = (byte(a, *at), byte(b, *at));
        a != b && !(a.unwrap_or(0) == b.unwrap_or(0) && padding(*at, wanted) && padding(*at, found))
    })?;
    let part = |bytes: &[u8]| {
        let rest = bytes.get(at..).unwrap_or_default();
        let shown = hex(&rest[..rest.len().min(SHOWN)]);
        let more = if rest.len() > SHOWN { "…" } else { "" };
        format!("{shown}{more} ({} bytes)", bytes.len())
    };
    Some(Difference::new(
        format!("payload from byte {at}"),
        part(a),
        part(b),
    ))
}

/// Bytes in hex; nothing is said as such.
pub(crate) fn hex(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "nothing".to_owned();
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;

    use super::*;

    fn frame(ttl: u8, port: u16, payload: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv4([10, 0, 0, 1], [10, 0, 0, 2], ttl)
            .udp(1, port)
            .write(&mut frame, payload)
            .unwrap();
        frame
    }

    fn told(expected: &[u8], seen: &[u8], ignored: &[&str]) -> Vec<String> {
        let ignored: Vec<String> = ignored.iter().map(|name| (*name).to_owned()).collect();
        let all = differences(expected, seen, &ignored);
        all.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn fields_that_differ_are_named_with_both_values() {
        let told = told(
            &frame(64, 7, b"hello"),
            &frame(63, 9, b"hello"),
            &["ip.sum", "udp.sum"],
        );

        assert_eq!(
            told,
            [
                "ip.ttl: expected 64, seen 63",
                "udp.dport: expected 7, seen 9"
            ]
        );
    }

    #[test]
    fn the_first_byte_of_the_payload_that_differs_is_shown() {
        let told = told(
            &frame(64, 7, b"hello"),
            &frame(64, 7, b"help!"),
            &["udp.sum"],
        );

        assert_eq!(
            told,
            ["payload from byte 3: expected 6c6f (5 bytes), seen 7021 (5 bytes)"]
        );
    }

    #[test]
    fn padding_is_no_difference() {
        let short = frame(64, 7, b"hello");
        let mut padded = short.clone();
        padded.resize(60, 0);
        let bare = [&[2; 12][..], &[0x88, 0xB5, 1]].concat();
        let mut bare_padded = bare.clone();
        bare_padded.resize(60, 0);

        assert_eq!(told(&short, &padded, &[]), Vec::<String>::new());
        assert_eq!(told(&bare, &bare_padded, &[]), Vec::<String>::new());
    }

    #[test]
    fn other_headers_are_a_difference_of_their_own() {
        let mut seen = frame(64, 7, b"hello");
        seen[23] = 6;

        assert_eq!(
            told(&frame(64, 7, b"hello"), &seen, &[])[0],
            "headers: expected eth/ip/udp, seen eth/ip"
        );
    }
}
