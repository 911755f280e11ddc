//! What the ports count, as OpenMetrics text.

use std::{collections::BTreeMap, fmt};

use control::{Counter, Info, Link};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, NoLabelSet, text},
    metrics::MetricType,
    registry::{Registry, Unit as Named},
};

use super::families::{self, FAMILIES, Family, Kind, Labels, Unit};

/// One port at one time.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    /// Its number.
    pub port: usize,
    /// What it says; `None` if its worker does not answer, or has ended.
    pub answer: Option<(Info, Vec<Counter>)>,
}

/// All ports at one time.
#[derive(Debug)]
struct Snapshot(Vec<Sample>);

/// The text of a scrape.
pub(super) fn text(ports: Vec<Sample>) -> String {
    let mut registry = Registry::with_prefix("ixgbe");
    registry.register_collector(Box::new(Snapshot(ports)));
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = text::encode(&mut text, &registry);
    text
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.build(&mut encoder)?;
        self.gauges(&mut encoder)?;
        let mut samples: BTreeMap<usize, Vec<(Labels, u64)>> = BTreeMap::new();
        for (port, _, counters) in self.answers() {
            for counter in counters {
                let (family, mut labels) = families::place(counter);
                labels.insert(0, ("port", port.to_string()));
                let place = FAMILIES.iter().position(|other| *other == family);
                let place = place.unwrap_or(FAMILIES.len() - 1);
                samples
                    .entry(place)
                    .or_default()
                    .push((labels, counter.value));
            }
        }
        for (place, samples) in samples {
            if let Some(family) = FAMILIES.get(place) {
                write(&mut encoder, family, &samples)?;
            }
        }
        Ok(())
    }
}

impl Snapshot {
    fn answers(&self) -> impl Iterator<Item = (usize, &Info, &[Counter])> {
        self.0.iter().filter_map(|sample| {
            let (info, counters) = sample.answer.as_ref()?;
            Some((sample.port, info, counters.as_slice()))
        })
    }

    /// Who answers, and what each port is: texts, which are labels of a constant.
    fn build(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let version = vec![("version", env!("CARGO_PKG_VERSION"))];
        encoder
            .encode_descriptor("server", "The server", None, MetricType::Info)?
            .encode_info(&version)?;
        let mut ports = encoder.encode_descriptor(
            "port",
            "The port: its wire, the module in its cage, its own MAC address",
            None,
            MetricType::Info,
        )?;
        for (port, info, _) in self.answers() {
            let labels = vec![
                ("port", port.to_string()),
                ("wire", info.wire.clone()),
                ("module", info.module.name().to_owned()),
                ("address", info.address.clone().unwrap_or_default()),
            ];
            ports.encode_info(&labels)?;
        }
        Ok(())
    }

    fn gauges(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let answering = self
            .0
            .iter()
            .map(|sample| (sample.port, sample.answer.is_some()));
        let help = "Whether the port's thread answers";
        gauge(encoder, "port_up", help, answering)?;
        let carrier = self.answers().map(|(port, info, _)| (port, info.carrier));
        let help = "Whether the port sees the other end of its cable";
        gauge(encoder, "carrier_up", help, carrier)?;
        let cable = self
            .answers()
            .map(|(port, info, _)| (port, info.cable == Link::Up));
        let help = "Whether the cable is in, as ixgbectl link has it";
        gauge(encoder, "cable_plugged", help, cable)
    }
}

/// A family that says yes or no of each port.
fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    samples: impl Iterator<Item = (usize, bool)>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (port, value) in samples {
        let labels = vec![("port", port.to_string())];
        metric
            .encode_family(&labels)?
            .encode_gauge(&i64::from(value))?;
    }
    Ok(())
}

fn write(
    encoder: &mut DescriptorEncoder<'_>,
    family: &Family,
    samples: &[(Labels, u64)],
) -> fmt::Result {
    let unit = match family.unit {
        Unit::None => None,
        Unit::Bytes => Some(&Named::Bytes),
    };
    let kind = match family.kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
    };
    let mut metric = encoder.encode_descriptor(family.name, family.help, unit, kind)?;
    for (labels, value) in samples {
        let mut sample = metric.encode_family(labels)?;
        match family.kind {
            Kind::Counter => sample.encode_counter::<NoLabelSet, _, u64>(value, None)?,
            Kind::Gauge => sample.encode_gauge(&i64::try_from(*value).unwrap_or(i64::MAX))?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use control::{Group, Module};

    use super::*;

    fn info() -> Info {
        Info {
            version: "1".to_owned(),
            pid: 1,
            wire: "pcap \"a\\b\"".to_owned(),
            cable: Link::Up,
            carrier: false,
            module: Module::Sr,
            address: Some("02:00:00:00:00:01".to_owned()),
            port: 0,
            ports: 2,
        }
    }

    #[test]
    fn counters_stand_in_families_with_types_units_and_labels() {
        let counters = vec![
            Counter::new(Group::Hardware, "GPRC", 5),
            Counter::new(Group::Model, "model.rx_packets[3]", 7),
            Counter::new(Group::Model, "model.rx_bytes[3]", 700),
            Counter::new(Group::Model, "model.dma_ranges", 2),
        ];
        let ports = vec![
            Sample {
                port: 0,
                answer: Some((info(), counters)),
            },
            Sample {
                port: 1,
                answer: None,
            },
        ];

        let text = text(ports);

        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(
            text,
            format!(
                r#"# HELP ixgbe_server The server
# TYPE ixgbe_server info
ixgbe_server_info{{version="{version}"}} 1
# HELP ixgbe_port The port: its wire, the module in its cage, its own MAC address
# TYPE ixgbe_port info
ixgbe_port_info{{port="0",wire="pcap \"a\\b\"",module="sr",address="02:00:00:00:00:01"}} 1
# HELP ixgbe_port_up Whether the port's thread answers
# TYPE ixgbe_port_up gauge
ixgbe_port_up{{port="0"}} 1
ixgbe_port_up{{port="1"}} 0
# HELP ixgbe_carrier_up Whether the port sees the other end of its cable
# TYPE ixgbe_carrier_up gauge
ixgbe_carrier_up{{port="0"}} 0
# HELP ixgbe_cable_plugged Whether the cable is in, as ixgbectl link has it
# TYPE ixgbe_cable_plugged gauge
ixgbe_cable_plugged{{port="0"}} 1
# HELP ixgbe_rx_packets Packets written to the ring of a receive queue
# TYPE ixgbe_rx_packets counter
ixgbe_rx_packets_total{{port="0",queue="3"}} 7
# HELP ixgbe_rx_bytes Bytes of these packets, as QBRC counts them
# TYPE ixgbe_rx_bytes counter
# UNIT ixgbe_rx_bytes bytes
ixgbe_rx_bytes_total{{port="0",queue="3"}} 700
# HELP ixgbe_mac_rx_packets Good packets that passed the filters (GPRC)
# TYPE ixgbe_mac_rx_packets counter
ixgbe_mac_rx_packets_total{{port="0"}} 5
# HELP ixgbe_dma_ranges Ranges of client memory mapped now
# TYPE ixgbe_dma_ranges gauge
ixgbe_dma_ranges{{port="0"}} 2
# EOF
"#
            )
        );
    }
}
