//! The figures: how each is measured on a guest that is up.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use guest_vm::{CablePeer, Program, Testpmd};

use super::sender::{self, to_f64};
use crate::bench::report::Sample;
use crate::cable::Cable;
use crate::nic::Nic;
use crate::rig::{INTERFACE, Rig};

/// Most that a queue of commands in the guest may take beyond a measurement.
const SLACK: Duration = Duration::from_secs(20);
/// Time for a load to settle before it is measured.
const SETTLE: Duration = Duration::from_millis(400);
/// Rates of small frames that are offered to the guest, per second, until it falls behind.
const OFFERED: [u32; 12] = [
    30_000, 45_000, 60_000, 80_000, 100_000, 130_000, 170_000, 220_000, 300_000, 400_000, 550_000,
    750_000,
];

/// Place of the NIC in the guest.
const ADDRESS: &str = "0000:01:00.0";
/// Huge pages for testpmd: for some 8000 packet buffers and the rings.
const HUGE_PAGES: u32 = 48;

/// What is measured, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    /// TCP from the host to the guest.
    TcpToGuest(Offloads),
    /// TCP from the guest to the host.
    TcpToHost(Offloads),
    /// One byte there and back, by TCP.
    TcpRoundTrips,
    /// The same by UDP.
    UdpRoundTrips,
    /// Small frames that reach the guest.
    FramesIn,
    /// Small frames that the guest sends.
    FramesOut,
    /// Small frames that DPDK's testpmd receives. The kernel's driver is gone from then on.
    TestpmdIn,
    /// Small frames that it sends.
    TestpmdOut,
}

/// Whether GSO, TSO and GRO are on, at both ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offloads {
    On,
    Off,
}

impl Figure {
    /// All, those with the same offloads together; those of DPDK last, since they take the NIC from the kernel.
    pub const ALL: [Self; 10] = [
        Self::TcpToGuest(Offloads::On),
        Self::TcpToHost(Offloads::On),
        Self::TcpRoundTrips,
        Self::UdpRoundTrips,
        Self::FramesIn,
        Self::FramesOut,
        Self::TcpToGuest(Offloads::Off),
        Self::TcpToHost(Offloads::Off),
        Self::TestpmdIn,
        Self::TestpmdOut,
    ];

    /// Name in tables and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::TcpToGuest(Offloads::On) => "tcp_h2g_on",
            Self::TcpToGuest(Offloads::Off) => "tcp_h2g_off",
            Self::TcpToHost(Offloads::On) => "tcp_g2h_on",
            Self::TcpToHost(Offloads::Off) => "tcp_g2h_off",
            Self::TcpRoundTrips => "tcp_rr",
            Self::UdpRoundTrips => "udp_rr",
            Self::FramesIn => "pps_rx",
            Self::FramesOut => "pps_tx",
            Self::TestpmdIn => "testpmd_rxonly",
            Self::TestpmdOut => "testpmd_txonly",
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Self::TcpToGuest(_) | Self::TcpToHost(_) => "Mbit/s",
            Self::TcpRoundTrips | Self::UdpRoundTrips => "1/s",
            Self::FramesIn | Self::FramesOut | Self::TestpmdIn | Self::TestpmdOut => "kpps",
        }
    }
}

impl Figure {
    /// Bytes a second for one of the figure's unit: of TCP's payload, or of frames.
    fn bytes_per_unit(self) -> Option<f64> {
        match self {
            Self::TcpToGuest(_) | Self::TcpToHost(_) => Some(1e6 / 8.0),
            Self::TcpRoundTrips | Self::UdpRoundTrips => None,
            Self::FramesIn | Self::FramesOut | Self::TestpmdIn | Self::TestpmdOut => {
                Some(1e3 * 60.0)
            }
        }
    }
}

/// A guest that is up, and where it is measured from.
#[derive(Debug)]
pub struct Bench<'a> {
    /// The guest and its NIC.
    pub rig: &'a mut Rig,
    /// The host at the other end.
    pub cable: &'a Cable,
    /// `ethtool`, for the tap.
    pub ethtool: &'a Program,
    /// Which NIC it is.
    pub nic: Nic,
    /// How long one measurement lasts.
    pub time: Duration,
}

/// A value, and the processor time that QEMU and the server used for it, in percent of a core.
struct Measured {
    value: f64,
    cpu: f64,
}

impl Bench<'_> {
    /// Measures one figure: the value, `cpu_` of it, and what a GB cost as `cost_` where it moves so many.
    pub fn measure(&mut self, figure: Figure) -> Result<Vec<Sample>> {
        let measured = match figure {
            Figure::TcpToGuest(offloads) => {
                self.set_offloads(offloads)?;
                self.netperf("TCP_MAERTS", "-f m --")
            }
            Figure::TcpToHost(offloads) => {
                self.set_offloads(offloads)?;
                self.netperf("TCP_STREAM", "-f m --")
            }
            Figure::TcpRoundTrips => self.netperf("TCP_RR", "-f x -- -r 1,1"),
            Figure::UdpRoundTrips => self.netperf("UDP_RR", "-f x -- -r 1,1"),
            Figure::FramesIn => self.frames_in(),
            Figure::FramesOut => self.frames_out(),
            Figure::TestpmdIn => self.testpmd("rxonly", Self::offer_to_testpmd),
            Figure::TestpmdOut => self.testpmd("txonly", Self::arriving),
        }
        .with_context(|| format!("{} of {}", figure.name(), self.nic.name()))?;
        let sample = |figure: String, unit, value| Sample {
            figure,
            subject: self.nic.name(),
            unit,
            value,
        };
        let mut samples = vec![
            sample(figure.name().to_owned(), figure.unit(), measured.value),
            sample(format!("cpu_{}", figure.name()), "% of core", measured.cpu),
        ];
        if let Some(bytes) = figure.bytes_per_unit() {
            let per_second = measured.value * bytes;
            let cost = measured.cpu / 100.0 / per_second * 1e9;
            samples.push(sample(format!("cost_{}", figure.name()), "CPU s/GB", cost));
        }
        Ok(samples)
    }

    pub fn set_offloads(&mut self, offloads: Offloads) -> Result<()> {
        let state = match offloads {
            Offloads::On => "on",
            Offloads::Off => "off",
        };
        let features = ["gso", state, "tso", state, "gro", state];
        // A device that lacks one of them says so and sets the others.
        self.rig.guest.sh(&format!(
            "ethtool -K {INTERFACE} {} 2>&1 || true",
            features.join(" ")
        ))?;
        if offloads == Offloads::Off {
            // Only vmxnet3 has it on by itself, and others refuse it.
            self.rig
                .guest
                .sh(&format!("ethtool -K {INTERFACE} lro off 2>&1 || true"))?;
        }
        let mut command = self.ethtool.command();
        command.args(["-K", CablePeer::TAP]).args(features);
        self.cable
            .spawner()
            .output(&command)
            .context("cannot set the tap's offloads")?;
        Ok(())
    }

    fn netperf(&mut self, test: &str, options: &str) -> Result<Measured> {
        let seconds = self.time.as_secs().max(1);
        let host = CablePeer::ADDRESS;
        let command =
            format!("netperf -H {host} -4 -t {test} -l {seconds} -P 0 {options} -o THROUGHPUT");
        let before = self.cpu_time()?;
        let begun = Instant::now();
        let output = self.rig.guest.run(&command, self.time + SLACK)?;
        let (took, after) = (begun.elapsed(), self.cpu_time()?);
        ensure!(
            output.status == 0,
            "netperf: {}{}",
            output.stdout,
            output.stderr
        );
        let value = output
            .stdout
            .split_whitespace()
            .next_back()
            .and_then(|word| word.parse().ok());
        let value = value.with_context(|| format!("netperf said {:?}", output.stdout))?;
        Ok(Measured {
            value,
            cpu: percent(after.saturating_sub(before), took),
        })
    }

    /// The most that arrive in the kernel, of all rates that are offered.
    fn frames_in(&mut self) -> Result<Measured> {
        let mac = self
            .rig
            .guest
            .sh(&format!("cat /sys/class/net/{INTERFACE}/address"))?;
        let mac =
            parse_mac(mac.trim()).with_context(|| format!("the guest's address is {mac:?}"))?;
        self.offer(mac, Self::guest_received)
    }

    /// The most that arrive, of all rates that are offered, as `received` counts them.
    fn offer(&mut self, mac: [u8; 6], received: fn(&mut Self) -> Result<u64>) -> Result<Measured> {
        let time = self.time / 3;
        let mut best = Measured {
            value: 0.0,
            cpu: 0.0,
        };
        for rate in OFFERED {
            let received_before = received(self)?;
            let before = self.cpu_time()?;
            let send = move || sender::send(CablePeer::TAP, mac, rate, time);
            let sent = self.cable.spawner().run(send)?;
            let after = self.cpu_time()?;
            let received = received(self)?.saturating_sub(received_before);
            let value = to_f64(received) / sent.took.as_secs_f64() / 1e3;
            if value > best.value {
                best = Measured {
                    value,
                    cpu: percent(after.saturating_sub(before), sent.took),
                };
            }
            if to_f64(received) < 0.6 * to_f64(sent.frames) {
                break;
            }
        }
        ensure!(best.value > 0.0, "no frame arrived");
        Ok(best)
    }

    fn guest_received(&mut self) -> Result<u64> {
        let count = self.rig.guest.sh(&format!(
            "cat /sys/class/net/{INTERFACE}/statistics/rx_packets"
        ))?;
        count
            .trim()
            .parse()
            .with_context(|| format!("the guest's counter is {count:?}"))
    }

    /// Lets testpmd forward in this mode while `measure` looks. Its prompt and its loop share the guest's processor; the
    /// prompt sleeps but for questions.
    fn testpmd(
        &mut self,
        mode: &str,
        measure: fn(&mut Self) -> Result<Measured>,
    ) -> Result<Measured> {
        let guest = &mut self.rig.guest;
        Testpmd::prepare(guest, HUGE_PAGES)?;
        Testpmd::bind(guest, ADDRESS, "uio_pci_generic")?;
        let arguments = format!("--total-num-mbufs=8192 --forward-mode={mode} --txpkts=60");
        let mut testpmd = Testpmd::start(guest, ADDRESS, "--lcores '(0,1)@0'", &arguments)?;
        testpmd.command("start")?;
        let measured = measure(self);
        let end = Testpmd::end(&mut self.rig.guest);
        let measured = measured?;
        end?;
        Ok(measured)
    }

    fn offer_to_testpmd(&mut self) -> Result<Measured> {
        // testpmd takes what comes, whomever it is for.
        self.offer([2, 0, 0, 0, 0, 1], Self::testpmd_received)
    }

    fn testpmd_received(&mut self) -> Result<u64> {
        let said = Testpmd::ask(&mut self.rig.guest, "show port stats 0")?;
        let mut words = said.split_whitespace();
        let count = words
            .find(|word| *word == "RX-packets:")
            .and_then(|_| words.next()?.parse().ok());
        count.with_context(|| format!("testpmd counts no packets: {said}"))
    }

    /// What arrives at the tap of what the guest's pktgen sends.
    fn frames_out(&mut self) -> Result<Measured> {
        let set = |line: &str| format!("echo '{line}' >/proc/net/pktgen/{INTERFACE}\n");
        let mut script =
            "modprobe pktgen\necho rem_device_all >/proc/net/pktgen/kpktgend_0\n".to_owned();
        script.push_str(&format!(
            "echo 'add_device {INTERFACE}' >/proc/net/pktgen/kpktgend_0\n"
        ));
        let settings = [
            "count 0",
            "pkt_size 60",
            "clone_skb 100",
            "burst 32",
            "dst 10.82.99.1",
            "dst_mac 02:00:00:00:00:99",
        ];
        script.extend(settings.map(set));
        self.rig.guest.sh(&format!("set -e\n{script}"))?;
        self.rig.guest.sh("echo start >/proc/net/pktgen/pgctrl &")?;
        let measured = self.arriving();
        self.rig.guest.sh("echo stop >/proc/net/pktgen/pgctrl")?;
        measured
    }

    /// What arrives at the tap of what the guest sends all the time.
    fn arriving(&mut self) -> Result<Measured> {
        thread::sleep(SETTLE);
        let (before, count_before, begun) =
            (self.cpu_time()?, self.tap_received()?, Instant::now());
        thread::sleep(self.time);
        let (after, count_after, took) = (self.cpu_time()?, self.tap_received()?, begun.elapsed());
        let value = to_f64(count_after.saturating_sub(count_before)) / took.as_secs_f64() / 1e3;
        ensure!(value > 0.0, "no frame left the guest");
        Ok(Measured {
            value,
            cpu: percent(after.saturating_sub(before), took),
        })
    }

    /// Frames that came out of the tap's guest.
    fn tap_received(&self) -> Result<u64> {
        let table = self
            .cable
            .spawner()
            .run(|| fs::read_to_string("/proc/thread-self/net/dev"))?;
        let line = table
            .lines()
            .find_map(|line| line.trim().strip_prefix(CablePeer::TAP)?.strip_prefix(':'));
        let packets = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
        packets.with_context(|| format!("no counter of {} in {table:?}", CablePeer::TAP))
    }

    fn cpu_time(&self) -> Result<Duration> {
        let qemu = self.rig.guest.cpu_time().context("QEMU has no CPU time")?;
        let server = self
            .rig
            .server
            .as_ref()
            .map(|server| server.cpu_time().context("the server has no CPU time"));
        Ok(qemu + server.transpose()?.unwrap_or_default())
    }
}

fn percent(used: Duration, of: Duration) -> f64 {
    used.as_secs_f64() / of.as_secs_f64() * 100.0
}

fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let bytes: Option<Vec<u8>> = text
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16).ok())
        .collect();
    bytes?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_address_is_six_pairs_of_digits() {
        assert_eq!(
            parse_mac("52:54:00:12:34:56"),
            Some([0x52, 0x54, 0, 0x12, 0x34, 0x56])
        );
        assert_eq!(parse_mac("52:54:00:12:34"), None);
    }
}
