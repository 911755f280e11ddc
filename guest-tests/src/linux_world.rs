//! The world of a Linux kernel's own driver, in a virtual machine.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use guest_vm::Guest;
use wire::file::{self, PcapNg};

use crate::{
    cable::{Cable, Plug},
    evidence,
    frames::{Mac, label_of, padded},
    kernel_log,
    server::{ControlCable, Server},
    tally::Tally,
    world::{Counter, Rss, Setup, Spread, World},
};

/// The NIC in the guest.
pub const INTERFACE: &str = "eth0";
/// How long what is asked of the guest may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// A guest with our NIC, its server, and the far end of the cable.
#[derive(Debug)]
pub struct LinuxWorld {
    // Dropped first: QEMU goes before the server that its device talks to.
    guest: Guest,
    cable: ControlCable,
    server: Server,
    /// What `ethtool -S` said when the NIC was set up.
    base: BTreeMap<String, u64>,
    /// What all have counted when they began to be compared.
    tally: Option<Tally>,
    /// Multicast addresses that were added.
    multicast: Vec<Mac>,
}

impl LinuxWorld {
    /// The world of a guest whose NIC has a driver.
    ///
    /// # Errors
    /// The server has no control socket.
    pub fn new(guest: Guest, server: Server) -> Result<Self> {
        Ok(Self {
            guest,
            cable: server.cable()?,
            server,
            base: BTreeMap::new(),
            tally: None,
            multicast: Vec::new(),
        })
    }

    /// The guest.
    pub fn guest(&mut self) -> &mut Guest {
        &mut self.guest
    }

    /// The cable's far end.
    pub fn cable(&mut self) -> &mut ControlCable {
        &mut self.cable
    }

    /// Takes hold of the cable's far end anew: what nobody has read of what passed is forgotten, and how much of that was
    /// lost.
    ///
    /// # Errors
    /// The server does not answer.
    pub fn renew_cable(&mut self) -> Result<()> {
        self.cable = self.server.cable()?;
        Ok(())
    }

    /// Both the guest and the cable's far end, for two threads.
    pub fn guest_and_cable(&mut self) -> (&mut Guest, &mut ControlCable) {
        (&mut self.guest, &mut self.cable)
    }

    /// Both the guest and the server.
    pub fn guest_and_server(&mut self) -> (&mut Guest, &mut Server) {
        (&mut self.guest, &mut self.server)
    }

    /// The server.
    pub fn server(&mut self) -> &mut Server {
        &mut self.server
    }

    /// Takes the world apart.
    #[must_use]
    pub fn into_parts(self) -> (Guest, Server) {
        (self.guest, self.server)
    }

    /// What `ethtool -S` says.
    ///
    /// # Errors
    /// The guest fails.
    pub fn statistics(&mut self) -> Result<BTreeMap<String, u64>> {
        let text = self.guest.sh(&format!("ethtool -S {INTERFACE}"))?;
        let lines = text.lines().filter_map(|line| line.trim().split_once(": "));
        Ok(lines
            .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
            .collect())
    }

    /// How much the counter of this name has grown since the NIC was set up.
    ///
    /// # Errors
    /// There is no such counter, or the guest fails.
    pub fn grown(&mut self, name: &str) -> Result<u64> {
        let now = self.statistics()?;
        let now = now
            .get(name)
            .with_context(|| format!("no counter {name}"))?;
        Ok(now - self.base.get(name).copied().unwrap_or(0))
    }

    /// Begins to compare what driver, card and cable count: see [`LinuxWorld::end_of_tally`].
    ///
    /// # Errors
    /// The guest or the server fails.
    pub fn begin_tally(&mut self) -> Result<()> {
        kernel_log::mark_count(&mut self.guest)?;
        self.tally = Some(self.tally()?);
        Ok(())
    }

    /// Where driver, card and cable disagree on what has passed since [`LinuxWorld::begin_tally`], which
    /// [`World::set_up`] does as well. A driver that has reset the card since then has lost what it had not read: no
    /// comparison is made, and none if there was nothing to begin with.
    ///
    /// # Errors
    /// The guest or the server fails.
    pub fn end_of_tally(&mut self) -> Result<Vec<String>> {
        const TRIES: usize = 60;
        let Some(before) = self.tally.take() else {
            return Ok(Vec::new());
        };
        let mut disagreements = Vec::new();
        for _ in 0..TRIES {
            if kernel_log::was_reset(&mut self.guest, INTERFACE)? {
                return Ok(Vec::new());
            }
            disagreements = self.tally()?.disagreements(&before);
            if disagreements.is_empty() {
                break;
            }
            // Something may be under way.
            self.guest.sh("usleep 50000")?;
        }
        Ok(disagreements)
    }

    /// What all have counted at one moment.
    fn tally(&mut self) -> Result<Tally> {
        const TRIES: usize = 60;
        let mut tally = None;
        for _ in 0..TRIES {
            // Nothing has passed meanwhile if the card has counted the same before and after.
            let before = self.cable.control().stats()?;
            let driver = self.statistics()?;
            let after = self.cable.control().stats()?;
            let now = Tally::new(&driver, &after)?;
            let still = Tally::new(&driver, &before)? == now;
            tally = Some(now);
            if still {
                break;
            }
        }
        tally.context("never tried")
    }

    /// Runs a test on a machine of its own; then looks at what the kernel has said since the last mark, and whether the
    /// server is still there. The error has what both said last.
    ///
    /// # Errors
    /// The test fails, the kernel has warned, or the server is gone.
    pub fn watch(&mut self, run: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let outcome = run(self).and_then(|()| {
            self.server.nic().check()?;
            kernel_log::no_warnings(&mut self.guest)
        });
        evidence::with(outcome, &mut self.guest, self.server.nic().log())
    }

    /// Runs a shell command that has to end with status 0 within [`PATIENCE`].
    fn sh(&mut self, command: &str) -> Result<String> {
        let output = self.guest.run(command, PATIENCE)?;
        if output.status != 0 {
            bail!(
                "`{command}` in the guest: status {}: {}{}",
                output.status,
                output.stdout,
                output.stderr
            );
        }
        Ok(output.stdout)
    }
}

fn colons(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

impl World for LinuxWorld {
    fn set_up(&mut self, setup: &Setup) -> Result<()> {
        let mut script = format!("set -e; ip link set {INTERFACE} down\n");
        script.push_str("echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6\n");
        let _ = writeln!(script, "ip address flush dev {INTERFACE}");
        let _ = writeln!(
            script,
            "for v in /sys/class/net/{INTERFACE}.*; do [ ! -e $v ] || ip link del ${{v##*/}}; done"
        );
        for mac in self.multicast.drain(..) {
            let mac = colons(mac);
            let _ = writeln!(script, "ip maddress del {mac} dev {INTERFACE}");
        }
        let on = |wanted: bool| if wanted { "on" } else { "off" };
        let queues = match setup.spread {
            Spread::None => 1,
            Spread::Rss => 2,
        };
        let _ = writeln!(
            script,
            "[ \"$(ethtool -l {INTERFACE} | awk '/^Combined/ {{ n = $2 }} END {{ print n }}')\" = {queues} ] || \
             ethtool -L {INTERFACE} combined {queues}"
        );
        let _ = writeln!(
            script,
            "ethtool -K {INTERFACE} rx-vlan-filter {} rx-vlan-offload on gro off",
            on(setup.vlans.is_some())
        );
        // Packets that the kernel passes on in batches reach tcpdump in another order than they came in.
        script.push_str("echo 1 >/proc/sys/net/core/gro_normal_batch\n");
        // And a fair queue sends them in another order.
        let _ = writeln!(
            script,
            "tc qdisc replace dev {INTERFACE} root pfifo limit 10000"
        );
        let _ = writeln!(
            script,
            "ip link set {INTERFACE} mtu {} promisc {}",
            setup.mtu,
            on(setup.promiscuous)
        );
        let _ = writeln!(script, "ip link set {INTERFACE} up");
        for mac in &setup.multicast {
            let mac = colons(*mac);
            let _ = writeln!(script, "ip maddress add {mac} dev {INTERFACE}");
        }
        self.multicast.clone_from(&setup.multicast);
        script.push_str("modprobe 8021q\n");
        for vlan in setup.vlans.iter().flatten() {
            let _ = writeln!(
                script,
                "ip link add link {INTERFACE} name {INTERFACE}.{vlan} type vlan id {vlan}"
            );
        }
        let _ = writeln!(
            script,
            "until [ \"$(cat /sys/class/net/{INTERFACE}/carrier)\" = 1 ]; do usleep 10000; done"
        );
        self.sh(&script)?;
        self.begin_tally()?;
        self.base = self.statistics()?;
        // What an earlier test has left on its way.
        self.cable.take(Duration::ZERO)?;
        Ok(())
    }

    fn mac(&mut self) -> Result<Mac> {
        let text = self.sh(&format!("cat /sys/class/net/{INTERFACE}/address"))?;
        let bytes: Result<Vec<u8>, _> = text
            .trim()
            .split(':')
            .map(|byte| u8::from_str_radix(byte, 16))
            .collect();
        Mac::try_from(bytes?).map_err(|bytes| anyhow::anyhow!("address {bytes:02x?}"))
    }

    fn link_is_up(&mut self) -> Result<bool> {
        Ok(self
            .sh(&format!("cat /sys/class/net/{INTERFACE}/carrier"))?
            .trim()
            == "1")
    }

    fn plug(&mut self, plug: Plug) -> Result<()> {
        self.cable.plug(plug)?;
        let wanted = match plug {
            Plug::In => 1,
            Plug::Out => 0,
        };
        self.sh(&format!(
            "until [ \"$(cat /sys/class/net/{INTERFACE}/carrier)\" = {wanted} ]; do usleep 10000; done"
        ))?;
        Ok(())
    }

    fn arrive(&mut self, frames: &[Vec<u8>]) -> Result<Vec<Vec<u8>>> {
        let last = frames.last().context("no frame")?;
        let label = label_of(last).context("the last frame has no number")?;
        self.sh(&format!(
            "rm -f /tmp/in.pcap /tmp/tcpdump.err
             tcpdump -Z root -i {INTERFACE} -p -Q in -n -U -s 0 -B 16384 -w /tmp/in.pcap 2>/tmp/tcpdump.err &
             echo $! >/tmp/tcpdump.pid
             until grep -q 'listening on' /tmp/tcpdump.err; do usleep 10000; done"
        ))?;
        self.cable.put(frames)?;
        let text = self.sh(&format!(
            "until strings -n 14 /tmp/in.pcap | grep -qF '{label}'; do usleep 10000; done
             kill $(cat /tmp/tcpdump.pid)
             while [ -e /proc/$(cat /tmp/tcpdump.pid) ]; do usleep 5000; done
             base64 /tmp/in.pcap"
        ));
        let text = text.with_context(|| format!("{label} does not come"))?;
        Ok(file::parse(&base64(&text)?)?.frames)
    }

    fn send(&mut self, frames: &[Vec<u8>]) -> Result<Vec<Vec<u8>>> {
        let last = padded(frames.last().context("no frame")?);
        let mut capture = PcapNg::new(Vec::new(), INTERFACE)?;
        for frame in frames {
            capture.frame(
                wire::Direction::Transmit,
                Duration::ZERO,
                frame,
                frame.len(),
            )?;
        }
        let capture = capture.finish(Duration::ZERO, 0)?;
        self.guest.write_file("/tmp/out.pcapng", &capture)?;
        // On one processor, hence by one queue, hence in order.
        self.sh(&format!(
            "taskset 1 tcpreplay --quiet --topspeed --intf1={INTERFACE} /tmp/out.pcapng 2>&1"
        ))?;
        let begun = Instant::now();
        let mut sent = Vec::new();
        while sent.last() != Some(&last) {
            sent.extend(self.cable.take(Duration::from_millis(100))?);
            ensure!(
                begun.elapsed() < PATIENCE,
                "{} frames on the cable, and no more come",
                sent.len()
            );
        }
        Ok(sent)
    }

    fn counter(&mut self, counter: Counter) -> Result<u64> {
        self.grown(match counter {
            Counter::ReceivedFrames => "rx_pkts_nic",
            Counter::ReceivedBytes => "rx_bytes_nic",
            Counter::ReceivedBroadcasts => "broadcast",
            Counter::ReceivedMulticasts => "multicast",
            Counter::TooLong => "rx_long_length_errors",
            Counter::BadChecksums => "rx_csum_offload_errors",
            Counter::SentFrames => "tx_pkts_nic",
            Counter::SentBytes => "tx_bytes_nic",
        })
    }

    fn rss(&mut self) -> Result<Rss> {
        let text = self.sh(&format!("ethtool -x {INTERFACE}"))?;
        parse_rss(&text).with_context(|| format!("`ethtool -x` says\n{text}"))
    }

    fn received_by_queue(&mut self) -> Result<Vec<u64>> {
        let queues = self.rss()?.table.into_iter().max().unwrap_or(0) + 1;
        let now = self.statistics()?;
        let of = |counters: &BTreeMap<String, u64>, queue| {
            let name = format!("rx_queue_{queue}_packets");
            counters.get(&name).copied().unwrap_or(0)
        };
        Ok((0..queues)
            .map(|queue| of(&now, queue) - of(&self.base, queue))
            .collect())
    }
}

/// Reads rows such as `    8:      0     1     0     1`, and the key behind `RSS hash key:`.
fn parse_rss(text: &str) -> Option<Rss> {
    let (rows, after) = text.split_once("RSS hash key:")?;
    let table = rows
        .lines()
        .filter_map(|line| line.trim().split_once(':'))
        .filter(|(row, _)| row.parse::<u16>().is_ok())
        .flat_map(|(_, entries)| entries.split_whitespace())
        .map(str::parse)
        .collect::<Result<Vec<usize>, _>>()
        .ok()?;
    let key = after
        .split_whitespace()
        .next()?
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16))
        .collect::<Result<Vec<u8>, _>>()
        .ok()?;
    let key = key.try_into().ok()?;
    (table.len() == 128).then_some(Rss { key, table })
}

/// Decodes base64 (RFC 4648) in lines.
fn base64(text: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut bits = 0_u32;
    let mut count = 0;
    for digit in text.bytes().filter(|byte| !byte.is_ascii_whitespace()) {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => break,
            other => bail!("no base64: {:?}", char::from(other)),
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count).to_le_bytes()[0]);
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_every_length_is_decoded() {
        let decoded = ["", "Zg==", "Zm8=", "Zm9v", "Zm9v\nYmE=", "/+8="];
        let decoded = decoded.map(|text| base64(text).unwrap());

        let expected: [&[u8]; 6] = [b"", b"f", b"fo", b"foo", b"fooba", &[0xFF, 0xEF]];
        assert_eq!(decoded.each_ref().map(Vec::as_slice), expected);
        assert!(base64("a-b").is_err());
    }

    #[test]
    fn key_and_table_are_read_from_what_ethtool_prints() {
        let rows: String = (0..16)
            .map(|row| {
                format!(
                    "  {:3}:      0     1     0     1     0     1     0     1\n",
                    row * 8
                )
            })
            .collect();
        let key = ["68"; 40].join(":");
        let text = format!(
            "RX flow hash indirection table for eth0 with 2 RX ring(s):\n{rows}RSS hash key:\n{key}\n\
             RSS hash function:\n    toeplitz: on\n"
        );

        let rss = parse_rss(&text).unwrap();

        assert_eq!(rss.key, [0x68; 40]);
        assert_eq!(rss.table[..3], [0, 1, 0]);
        assert_eq!(rss.table.len(), 128);
    }
}
