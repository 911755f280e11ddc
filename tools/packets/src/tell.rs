//! A frame in a line, as tcpdump tells it.

use std::fmt::Write;

use crate::{
    dissect::Dissection,
    layer::{Kind, Layer},
    value::show,
};

/// What a frame is, in a line: `10.0.0.1.40000 > 10.0.0.2.80: TCP [S] seq 0 win 65535, length 0`. Wrong checksums are told.
#[must_use]
pub fn tell(frame: &[u8]) -> String {
    let dissection = Dissection::new(frame);
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut text, &dissection);
    text
}

fn write(to: &mut String, frame: &Dissection<'_>) -> std::fmt::Result {
    let value = |layer: Layer, name: &str| {
        let field = layer.field(name);
        let value = field.and_then(|field| Some(show(field, frame.get(layer, 0, field)?)));
        value.unwrap_or_default()
    };
    if frame.header(Layer::Eth, 0).is_none() {
        return write!(to, "no Ethernet header, length {}", frame.frame().len());
    }
    let tags = frame
        .headers()
        .iter()
        .filter(|found| found.layer == Layer::Vlan);
    for index in 0..tags.count() {
        let number = |name| {
            Layer::Vlan
                .field(name)
                .and_then(|field| frame.get(Layer::Vlan, index, field))
        };
        write!(to, "vlan {}", number("id").unwrap_or(0))?;
        if number("pcp").is_some_and(|pcp| pcp != 0) {
            write!(to, " pcp {}", number("pcp").unwrap_or(0))?;
        }
        to.push_str(", ");
    }
    if frame.header(Layer::Arp, 0).is_some() {
        return arp(to, frame, &value);
    }
    let ip = match (frame.header(Layer::Ip, 0), frame.header(Layer::Ip6, 0)) {
        (Some(_), _) => Layer::Ip,
        (None, Some(_)) => Layer::Ip6,
        (None, None) => {
            return write!(
                to,
                "{} > {} ethertype {}, length {}",
                value(Layer::Eth, "src"),
                value(Layer::Eth, "dst"),
                value(Layer::Eth, "type"),
                frame.frame().len()
            );
        }
    };
    let ports = [Layer::Tcp, Layer::Udp, Layer::Sctp];
    let ports = ports
        .into_iter()
        .find(|layer| frame.header(*layer, 0).is_some());
    let port = |name| ports.map_or_else(String::new, |layer| format!(".{}", value(layer, name)));
    write!(
        to,
        "{}{} > {}{}: ",
        value(ip, "src"),
        port("sport"),
        value(ip, "dst"),
        port("dport")
    )?;
    transport(to, frame, ip, &value)?;
    fragment(to, frame)?;
    for found in frame.headers() {
        let sums = found
            .layer
            .fields()
            .iter()
            .filter(|field| field.kind == Kind::Checksum);
        for field in sums {
            let there = frame.get(found.layer, 0, field);
            // A fragment's checksum is about all of them, and UDP's may be none.
            let whole = found.layer == Layer::Ip || !(is_fragment(frame) || is_cut(frame));
            let none = found.layer == Layer::Udp && there == Some(0);
            if whole && !none && there != frame.right(found.layer, field) {
                write!(to, ", bad {} sum", found.layer.name())?;
            }
        }
    }
    write!(to, ", length {}", frame.payload().len())
}

/// Whether not all of the IP packet is there: the capture has cut it off.
fn is_cut(frame: &Dissection<'_>) -> bool {
    [(Layer::Ip, 0), (Layer::Ip6, 40)]
        .into_iter()
        .any(|(layer, before)| {
            let header = frame.header(layer, 0).zip(frame.value(layer, "len"));
            header.is_some_and(|(header, len)| {
                (header.at + before) as u128 + len > frame.frame().len() as u128
            })
        })
}

fn arp(
    to: &mut String,
    frame: &Dissection<'_>,
    value: &dyn Fn(Layer, &str) -> String,
) -> std::fmt::Result {
    match frame.value(Layer::Arp, "op") {
        Some(1) => write!(
            to,
            "ARP, request who-has {} tell {}",
            value(Layer::Arp, "tpa"),
            value(Layer::Arp, "spa")
        )?,
        Some(2) => write!(
            to,
            "ARP, reply {} is-at {}",
            value(Layer::Arp, "spa"),
            value(Layer::Arp, "sha")
        )?,
        _ => write!(to, "ARP, operation {}", value(Layer::Arp, "op"))?,
    }
    write!(to, ", length {}", frame.frame().len())
}

fn transport(
    to: &mut String,
    frame: &Dissection<'_>,
    ip: Layer,
    value: &dyn Fn(Layer, &str) -> String,
) -> std::fmt::Result {
    let has = |layer| frame.header(layer, 0).is_some();
    if has(Layer::Tcp) {
        write!(
            to,
            "TCP [{}] seq {}",
            value(Layer::Tcp, "flags"),
            value(Layer::Tcp, "seq")
        )?;
        if frame
            .value(Layer::Tcp, "flags")
            .is_some_and(|flags| flags & 0x10 != 0)
        {
            write!(to, " ack {}", value(Layer::Tcp, "ack"))?;
        }
        write!(to, " win {}", value(Layer::Tcp, "window"))
    } else if has(Layer::Udp) {
        to.write_str("UDP")
    } else if has(Layer::Sctp) {
        write!(to, "SCTP tag {}", value(Layer::Sctp, "tag"))
    } else if let Some(layer) = [Layer::Icmp, Layer::Icmp6]
        .into_iter()
        .find(|layer| has(*layer))
    {
        let name = if layer == Layer::Icmp {
            "ICMP"
        } else {
            "ICMP6"
        };
        write!(to, "{name} {}", value(layer, "type"))?;
        if value(layer, "type").starts_with("echo") {
            write!(to, " id {} seq {}", value(layer, "id"), value(layer, "seq"))
        } else {
            write!(to, " code {}", value(layer, "code"))
        }
    } else {
        let name = if ip == Layer::Ip { "IP" } else { "IP6" };
        write!(to, "{name} protocol {}", frame.protocol().unwrap_or(0))
    }
}

fn is_fragment(frame: &Dissection<'_>) -> bool {
    [Layer::Ip, Layer::Frag6].into_iter().any(|layer| {
        let set = |name| frame.value(layer, name).is_some_and(|value| value != 0);
        set("frag") || set("mf")
    })
}

fn fragment(to: &mut String, frame: &Dissection<'_>) -> std::fmt::Result {
    if !is_fragment(frame) {
        return Ok(());
    }
    let layer = if frame.header(Layer::Ip, 0).is_some() {
        Layer::Ip
    } else {
        Layer::Frag6
    };
    let value = |name| frame.value(layer, name).unwrap_or(0);
    let more = if value("mf") == 1 { "+" } else { "" };
    write!(
        to,
        ", fragment {} at {}{more}",
        value("id"),
        8 * value("frag")
    )
}

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_segment_is_told_with_ports_flags_and_a_wrong_checksum() {
        let mut frame = Vec::new();
        PacketBuilder::ethernet2([2; 6], [4; 6])
            .single_vlan(7.try_into().unwrap())
            .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
            .tcp(40_000, 80, 3, 4)
            .syn()
            .write(&mut frame, b"GET")
            .unwrap();
        let good = tell(&frame);
        *frame.last_mut().unwrap() ^= 1;

        assert_eq!(
            good,
            "vlan 7, 10.0.0.1.40000 > 10.0.0.2.80: TCP [S] seq 3 win 4, length 3"
        );
        assert_eq!(
            tell(&frame),
            "vlan 7, 10.0.0.1.40000 > 10.0.0.2.80: TCP [S] seq 3 win 4, bad tcp sum, length 3"
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_told_in_one_line(frame in prop::collection::vec(any::<u8>(), 0..100)) {
            prop_assert_eq!(tell(&frame).lines().count(), 1);
        }
    }
}
