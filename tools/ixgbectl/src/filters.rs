//! `ixgbectl filters`: who may come in, and to which queue (7.1.1, 7.1.2).
//!
//! Shown is what the registers say. The entries of the Flow Director's table are in the packet buffer on the card, and in
//! no register; their number is.

use control::Client;
use ixgbe_spec::register::{
    Reg,
    bits::{
        etqf, etqs, fctrl, fdirctrl, ftqf, l34t_imir, mcstctrl, mrqc, rah, rxctrl, synqf, vlnctrl,
    },
};
use serde::Serialize;

use crate::{output::Output, values::Values};

/// The registers of filters.
const REGISTERS: [Reg; 20] = [
    Reg::RXCTRL,
    Reg::FCTRL,
    Reg::VLNCTRL,
    Reg::MCSTCTRL,
    Reg::RAL,
    Reg::RAH,
    Reg::MTA,
    Reg::PFUTA,
    Reg::VFTA,
    Reg::ETQF,
    Reg::ETQS,
    Reg::SYNQF,
    Reg::FTQF,
    Reg::SAQF,
    Reg::DAQF,
    Reg::SDPQF,
    Reg::L34T_IMIR,
    Reg::MRQC,
    Reg::RETA,
    Reg::FDIRCTRL,
];

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Filters {
    /// RXCTRL.RXEN.
    receive: bool,
    unicast_promiscuous: bool,
    multicast_promiscuous: bool,
    broadcast: bool,
    /// FCTRL.SBP.
    bad_packets: bool,
    addresses: Vec<Address>,
    /// Bits of MTA, if MCSTCTRL.MFE lets them count.
    multicast_hashes: u32,
    unicast_hashes: u32,
    /// VLNCTRL.VFE.
    vlan_filter: bool,
    vlans: Vec<usize>,
    ethertypes: Vec<Ethertype>,
    #[serde(skip_serializing_if = "Option::is_none")]
    syn_queue: Option<u32>,
    five_tuples: Vec<FiveTuple>,
    /// MRQC.MRQE.
    multiple_queues: u32,
    rss: Vec<&'static str>,
    /// Queues in the redirection table.
    rss_queues: Vec<u32>,
    flow_director: &'static str,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Address {
    index: usize,
    address: String,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Ethertype {
    index: usize,
    ethertype: String,
    /// ETQS, if it names a queue.
    queue: Option<u32>,
    fcoe: bool,
    timestamped: bool,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct FiveTuple {
    index: usize,
    /// What is compared: `protocol`, `source`, ... with their values.
    matches: Vec<String>,
    priority: u32,
    queue: u32,
}

pub(crate) fn run(client: &mut Client, output: &mut Output) -> anyhow::Result<()> {
    let values = Values::ask(client, &REGISTERS)?;
    let filters = filters(&values);
    output.print(&filters, || text(&filters))
}

fn filters(values: &Values) -> Filters {
    let one = |reg| values.get(reg, 0);
    let control = one(Reg::FCTRL);
    let ones = |reg: Reg| {
        (0..reg.count())
            .map(|n| values.get(reg, n).count_ones())
            .sum()
    };
    let mut rss_queues: Vec<u32> = (0..Reg::RETA.count())
        .flat_map(|n| values.get(Reg::RETA, n).to_le_bytes())
        .map(u32::from)
        .collect();
    rss_queues.sort_unstable();
    rss_queues.dedup();
    let multiple = one(Reg::MRQC);
    let rss: Vec<&str> = [
        (mrqc::TCP_IPV4, "tcp-ipv4"),
        (mrqc::IPV4, "ipv4"),
        (mrqc::UDP_IPV4, "udp-ipv4"),
        (mrqc::TCP_IPV6, "tcp-ipv6"),
        (mrqc::IPV6, "ipv6"),
        (mrqc::UDP_IPV6, "udp-ipv6"),
    ]
    .into_iter()
    .filter(|(bit, _)| multiple & bit != 0)
    .map(|(_, name)| name)
    .collect();
    let syn = one(Reg::SYNQF);
    let director = one(Reg::FDIRCTRL);
    Filters {
        receive: one(Reg::RXCTRL) & rxctrl::RXEN != 0,
        unicast_promiscuous: control & fctrl::UPE != 0,
        multicast_promiscuous: control & fctrl::MPE != 0,
        broadcast: control & fctrl::BAM != 0,
        bad_packets: control & fctrl::SBP != 0,
        addresses: (0..Reg::RAH.count())
            .filter(|n| values.get(Reg::RAH, *n) & rah::AV != 0)
            .map(|index| Address {
                index,
                address: address(values.get(Reg::RAL, index), values.get(Reg::RAH, index)),
            })
            .collect(),
        multicast_hashes: if one(Reg::MCSTCTRL) & mcstctrl::MFE == 0 {
            0
        } else {
            ones(Reg::MTA)
        },
        unicast_hashes: ones(Reg::PFUTA),
        vlan_filter: one(Reg::VLNCTRL) & vlnctrl::VFE != 0,
        vlans: (0..4096)
            .filter(|vlan| values.get(Reg::VFTA, vlan / 32) >> (vlan % 32) & 1 == 1)
            .collect(),
        ethertypes: (0..Reg::ETQF.count())
            .filter_map(|index| ethertype(index, values))
            .collect(),
        syn_queue: (syn & synqf::ENABLE != 0).then_some(syn >> synqf::QUEUE_SHIFT & 0x7F),
        five_tuples: (0..Reg::FTQF.count())
            .filter_map(|index| five_tuple(index, values))
            .collect(),
        multiple_queues: multiple & mrqc::MRQE,
        rss_queues: if rss.is_empty() {
            Vec::new()
        } else {
            rss_queues
        },
        rss,
        flow_director: match (
            director & fdirctrl::PBALLOC,
            director & fdirctrl::PERFECT_MATCH,
        ) {
            (0, _) => "off",
            (_, 0) => "hash",
            (_, _) => "perfect match",
        },
    }
}

fn address(low: u32, high: u32) -> String {
    let [a, b, c, d] = low.to_le_bytes();
    let [e, f, ..] = high.to_le_bytes();
    let digits = [a, b, c, d, e, f].map(|byte| format!("{byte:02x}"));
    digits.join(":")
}

fn ethertype(index: usize, values: &Values) -> Option<Ethertype> {
    let filter = values.get(Reg::ETQF, index);
    let queue = values.get(Reg::ETQS, index);
    (filter & etqf::FILTER_EN != 0).then(|| Ethertype {
        index,
        ethertype: format!("{:#06x}", filter & etqf::ETYPE),
        queue: (queue & etqs::QUEUE_EN != 0).then_some(queue >> etqs::QUEUE_SHIFT & 0x7F),
        fcoe: filter & etqf::FCOE != 0,
        timestamped: filter & etqf::IEEE_1588 != 0,
    })
}

fn five_tuple(index: usize, values: &Values) -> Option<FiveTuple> {
    let filter = values.get(Reg::FTQF, index);
    if filter & ftqf::ENABLE == 0 {
        return None;
    }
    // A set bit of the mask leaves its field out (8.2.3.7.19).
    let masked = |bit: u32| filter >> (ftqf::MASK_SHIFT + bit) & 1 == 1;
    let ip = |reg| {
        let [a, b, c, d] = values.get(reg, index).to_le_bytes();
        format!("{a}.{b}.{c}.{d}")
    };
    let ports = values.get(Reg::SDPQF, index).to_le_bytes();
    let protocol = ["tcp", "udp", "sctp", "other"];
    let named = [
        format!("source {}", ip(Reg::SAQF)),
        format!("destination {}", ip(Reg::DAQF)),
        format!("source port {}", u16::from_be_bytes([ports[0], ports[1]])),
        format!(
            "destination port {}",
            u16::from_be_bytes([ports[2], ports[3]])
        ),
        format!(
            "protocol {}",
            protocol
                .get((filter & ftqf::PROTOCOL) as usize)
                .copied()
                .unwrap_or("other")
        ),
    ];
    let matches = (0..).zip(named).filter(|(bit, _)| !masked(*bit));
    Some(FiveTuple {
        index,
        matches: matches.map(|(_, text)| text).collect(),
        priority: filter >> ftqf::PRIORITY_SHIFT & 7,
        queue: values.get(Reg::L34T_IMIR, index) >> l34t_imir::QUEUE_SHIFT & 0x7F,
    })
}

fn text(filters: &Filters) -> String {
    let on = |set: bool| if set { "on" } else { "off" };
    let mut lines = vec![
        format!("receive              {}", on(filters.receive)),
        format!("unicast promiscuous  {}", on(filters.unicast_promiscuous)),
        format!("multicast promisc.   {}", on(filters.multicast_promiscuous)),
        format!("broadcast            {}", on(filters.broadcast)),
        format!("bad packets          {}", on(filters.bad_packets)),
        format!("multicast hash bits  {}", filters.multicast_hashes),
        format!("unicast hash bits    {}", filters.unicast_hashes),
    ];
    let addresses = filters.addresses.iter();
    lines.extend(addresses.map(|entry| format!("address {:<12} {}", entry.index, entry.address)));
    let vlans: Vec<String> = filters.vlans.iter().map(ToString::to_string).collect();
    lines.push(if filters.vlan_filter {
        format!("VLAN filter          {}", vlans.join(" "))
    } else {
        "VLAN filter          off".to_owned()
    });
    lines.extend(filters.ethertypes.iter().map(|filter| {
        let queue = filter
            .queue
            .map_or_else(|| "no queue".to_owned(), |queue| format!("queue {queue}"));
        let fcoe = if filter.fcoe { ", FCoE" } else { "" };
        let stamped = if filter.timestamped {
            ", time stamp"
        } else {
            ""
        };
        format!(
            "ethertype {:<10} {} to {queue}{fcoe}{stamped}",
            filter.index, filter.ethertype
        )
    }));
    if let Some(queue) = filters.syn_queue {
        lines.push(format!("TCP SYN              to queue {queue}"));
    }
    lines.extend(filters.five_tuples.iter().map(|filter| {
        format!(
            "5-tuple {:<12} {} to queue {}, priority {}",
            filter.index,
            filter.matches.join(", "),
            filter.queue,
            filter.priority
        )
    }));
    lines.push(format!("flow director        {}", filters.flow_director));
    let queues: Vec<String> = filters.rss_queues.iter().map(ToString::to_string).collect();
    lines.push(format!("MRQC.MRQE            {}", filters.multiple_queues));
    if !filters.rss.is_empty() {
        lines.push(format!(
            "RSS                  {} to queues {}",
            filters.rss.join(" "),
            queues.join(" ")
        ));
    }
    lines.join("\n")
}
