//! Frames described header by header, for `inject` and `expect`.

use std::io::Read;

use anyhow::Context;
use clap::{ArgGroup, Args};
use packets::{Layer, Payload, Recipe, Sequence, Words};

use crate::wrong::{self, Wrong};

/// Bytes of the longest payload: those of an IP packet.
const LONGEST_PAYLOAD: u64 = 65_535;

/// Headers, in the words of people who work with packets. Fields stand behind a header's flag with commas between them.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Frames, header by header")]
#[group(skip)]
#[command(group = ArgGroup::new("headers").multiple(true))]
pub(crate) struct CraftArguments {
    /// Ethernet: dst, src, type. dst is the NIC's own address unless it is said.
    #[arg(long, value_name = "FIELDS", group = "headers", num_args = 0..=1, default_missing_value = "")]
    pub(crate) eth: Option<String>,

    /// A VLAN tag: its number, pcp, dei, tpid. Repeated for QinQ, the outer one first.
    #[arg(long, value_name = "ID[,FIELDS]", group = "headers")]
    pub(crate) vlan: Vec<String>,

    /// ARP: request or reply, spa, sha, tpa, tha (or who-has=ADDRESS,tell=ADDRESS), hrd, pro, hln, pln, op.
    #[arg(long, value_name = "FIELDS", group = "headers", num_args = 0..=1, default_missing_value = "")]
    pub(crate) arp: Option<String>,

    /// IPv4: src, dst, ttl, tos or dscp and ecn, id, df, mf, frag (in units of 8 bytes), proto, options (hex); version,
    /// ihl, len and sum are right unless said.
    #[arg(long, value_name = "FIELDS", group = "headers", num_args = 0..=1, default_missing_value = "")]
    pub(crate) ip: Option<String>,

    /// IPv6: src, dst, hop, tc or dscp and ecn, flow, next; version and len are right unless said.
    #[arg(long, value_name = "FIELDS", group = "headers", num_args = 0..=1, default_missing_value = "")]
    pub(crate) ip6: Option<String>,

    /// IPv6's fragment header: frag (in units of 8 bytes), mf, id, next.
    #[arg(long, value_name = "FIELDS", group = "headers", num_args = 0..=1, default_missing_value = "")]
    pub(crate) frag6: Option<String>,

    /// TCP: sport, dport, flags (letters of FSRPAUEC), seq, ack, window, urg, options (hex); off and sum are right unless said.
    #[arg(long, value_name = "FIELDS", group = "headers", num_args = 0..=1, default_missing_value = "")]
    pub(crate) tcp: Option<String>,

    /// UDP: sport, dport; len and sum are right unless said (sum=0 is none).
    #[arg(long, value_name = "FIELDS", group = "headers", num_args = 0..=1, default_missing_value = "")]
    pub(crate) udp: Option<String>,

    /// ICMP, over --ip6 ICMPv6: echo, echo-reply or another type, code, id, seq; sum is right unless said.
    #[arg(long, value_name = "FIELDS", group = "headers", num_args = 0..=1, default_missing_value = "")]
    pub(crate) icmp: Option<String>,

    /// SCTP: sport, dport, tag; sum is right unless said. Its chunks are the payload.
    #[arg(long, value_name = "FIELDS", group = "headers", num_args = 0..=1, default_missing_value = "")]
    pub(crate) sctp: Option<String>,

    /// What follows the headers: text:TEXT, hex:DIGITS, @FILE, counting, zeros, random, or same (that of the frame that is
    /// answered).
    #[arg(long, value_name = "PAYLOAD")]
    pub(crate) payload: Option<String>,

    /// Bytes of a frame without FCS; the payload fills it, counting unless it is said. 60-1514 counts, too.
    #[arg(long, value_name = "BYTES")]
    pub(crate) len: Option<String>,
}

impl CraftArguments {
    /// The recipe; one of which nothing is said if there is no flag of it.
    pub(crate) fn recipe(&self) -> anyhow::Result<Recipe> {
        let Self {
            eth,
            vlan,
            arp,
            ip,
            ip6,
            frag6,
            tcp,
            udp,
            icmp,
            sctp,
            payload,
            len,
        } = self;
        let icmp_layer = if ip6.is_some() {
            Layer::Icmp6
        } else {
            Layer::Icmp
        };
        let said = [
            (Layer::Eth, eth),
            (Layer::Arp, arp),
            (Layer::Ip, ip),
            (Layer::Ip6, ip6),
            (Layer::Frag6, frag6),
            (Layer::Tcp, tcp),
            (Layer::Udp, udp),
            (icmp_layer, icmp),
            (Layer::Sctp, sctp),
        ];
        let said = said
            .into_iter()
            .filter_map(|(layer, text)| Some((layer, text.as_ref()?)));
        let tags = vlan.iter().map(|text| (Layer::Vlan, text));
        let words = said
            .chain(tags)
            .map(|(layer, text)| {
                let flag = match layer {
                    Layer::Icmp6 => "--icmp".to_owned(),
                    layer => format!("--{}", layer.name()),
                };
                Words::parse(layer, text).map_err(|complaint| wrong::at(&flag, complaint))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let recipe = Recipe::new(words).map_err(|error| Wrong(error.to_string()))?;
        let len = match len {
            None => None,
            Some(text) => Some(Sequence::parse(text).ok_or_else(|| {
                Wrong(format!(
                    "--len {text}: a number of bytes is wanted, or several as in 60-1514"
                ))
            })?),
        };
        Ok(recipe
            .payload(payload.as_deref().map(read_payload).transpose()?)
            .len(len))
    }
}

/// A payload, which may stand in a file.
fn read_payload(text: &str) -> anyhow::Result<Payload> {
    if let Some(path) = text.strip_prefix('@') {
        let failed = || format!("cannot read {path}");
        let mut bytes = Vec::new();
        // A device may have no end.
        std::fs::File::open(path)
            .and_then(|file| file.take(LONGEST_PAYLOAD + 1).read_to_end(&mut bytes))
            .with_context(failed)?;
        if bytes.len() as u64 > LONGEST_PAYLOAD {
            let text =
                format!("{path} has more than {LONGEST_PAYLOAD} bytes, which no packet holds");
            return Err(Wrong(text).into());
        }
        return Ok(Payload::Bytes(bytes));
    }
    text.parse()
        .map_err(|error| Wrong(format!("--payload {text}: {error}")).into())
}
