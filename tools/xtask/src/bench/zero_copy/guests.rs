//! A Linux guest over each way to the cable: netperf's streams, and what each process takes for them.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use guest_vm::{CablePeer, Kernel, Lab, Program, Qemu, Userland};

use super::account::Account;
use super::machine::{HOST, Machine};
use crate::bench::guest::figures::{Bench, Offloads};
use crate::bench::report::Sample;
use crate::binaries::Binaries;
use crate::cable::Cable;
use crate::rig::Rig;

/// Most that a command in the guest may take beyond a measurement.
const SLACK: Duration = Duration::from_secs(30);
/// How long the account of copies is kept; the NIC is slower meanwhile.
const ACCOUNT: Duration = Duration::from_secs(1);

/// A stream of netperf's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    kind: Kind,
    gso: Offloads,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// TCP from the host to the guest.
    TcpToGuest,
    /// TCP from the guest to the host.
    TcpToHost,
    /// UDP from the guest to the host, as it arrives there.
    UdpToHost,
}

impl Stream {
    /// All, those with the same offloads together.
    pub const ALL: [Self; 6] = [
        Self::new(Kind::TcpToGuest, Offloads::Off),
        Self::new(Kind::TcpToHost, Offloads::Off),
        Self::new(Kind::UdpToHost, Offloads::Off),
        Self::new(Kind::TcpToGuest, Offloads::On),
        Self::new(Kind::TcpToHost, Offloads::On),
        Self::new(Kind::UdpToHost, Offloads::On),
    ];

    const fn new(kind: Kind, gso: Offloads) -> Self {
        Self { kind, gso }
    }

    /// Name in tables and files, without what is said of packet split.
    pub fn name(self) -> &'static str {
        match (self.kind, self.gso) {
            (Kind::TcpToGuest, Offloads::Off) => "tcp_rx_gso_off",
            (Kind::TcpToHost, Offloads::Off) => "tcp_tx_gso_off",
            (Kind::UdpToHost, Offloads::Off) => "udp_tx_gso_off",
            (Kind::TcpToGuest, Offloads::On) => "tcp_rx_gso_on",
            (Kind::TcpToHost, Offloads::On) => "tcp_tx_gso_on",
            (Kind::UdpToHost, Offloads::On) => "udp_tx_gso_on",
        }
    }

    /// netperf's name for it, seen from the guest, and its options.
    fn netperf(self) -> (&'static str, &'static str) {
        match self.kind {
            Kind::TcpToGuest => ("TCP_MAERTS", "-- -o THROUGHPUT"),
            Kind::TcpToHost => ("TCP_STREAM", "-- -o THROUGHPUT"),
            Kind::UdpToHost => ("UDP_STREAM", "-- -m 1472 -R 1 -o REMOTE_RECV_THROUGHPUT"),
        }
    }

    /// Bytes of payload in a packet on the cable.
    fn payload(self) -> f64 {
        match self.kind {
            Kind::TcpToGuest | Kind::TcpToHost => 1448.0,
            Kind::UdpToHost => 1472.0,
        }
    }
}

/// All that guests are measured with.
#[derive(Debug)]
pub struct Guests<'a> {
    binaries: &'a Binaries,
    lab: Lab,
    userland: Userland,
    ethtool: Program,
    time: Duration,
}

impl<'a> Guests<'a> {
    /// Finds or fetches what is needed.
    pub fn open(
        kernel: Kernel,
        qemu: Option<Qemu>,
        binaries: &'a Binaries,
        time: Duration,
    ) -> Result<Self> {
        let lab = Lab::open_with(kernel, qemu)?;
        let userland = Userland::prepare(&lab.cache)?;
        let ethtool = userland.program("ethtool")?;
        Ok(Self {
            binaries,
            lab,
            userland,
            ethtool,
            time,
        })
    }

    /// In what the guests run.
    pub fn describe(&self) -> String {
        format!(
            "QEMU {}, {}; Linux {} with one processor; streams of {:.1} s",
            self.lab.qemu.version(),
            self.lab.accel,
            self.lab.image.release,
            self.time.as_secs_f32()
        )
    }

    /// Boots a guest and measures these streams, one after the other. Samples are of `subject`; `name` makes a figure's
    /// name of a stream's.
    pub fn measure(
        &self,
        machine: Machine,
        subject: &'static str,
        streams: &[Stream],
        name: impl Fn(Stream) -> String,
    ) -> Result<Vec<Sample>> {
        let peer = CablePeer::start(&self.userland, &self.lab.cache.log_folder("bench-cable")?)?;
        let cable = Cable::Tap(peer);
        let options = machine.rig(self.binaries, "bench-zero-copy-guest");
        let mut rig = Rig::boot(&self.lab, &cable, &options)?;
        rig.bring_up(machine.nic())?;
        rig.get_address()?;
        let mut samples = Vec::new();
        for &stream in streams {
            let figure = name(stream);
            Bench {
                rig: &mut rig,
                cable: &cable,
                ethtool: &self.ethtool,
                nic: machine.nic(),
                time: self.time,
            }
            .set_offloads(stream.gso)?;
            let measured = self
                .stream(&mut rig, stream, subject, &figure)
                .with_context(|| format!("{figure} of {subject}"))?;
            for sample in &measured {
                eprintln!(
                    "{:<12} {:<36} {:>9.3} {}",
                    sample.subject, sample.figure, sample.value, sample.unit
                );
            }
            samples.extend(measured);
        }
        Ok(samples)
    }

    fn stream(
        &self,
        rig: &mut Rig,
        stream: Stream,
        subject: &'static str,
        figure: &str,
    ) -> Result<Vec<Sample>> {
        let sample = |name: String, unit, value: f64| Sample {
            figure: name,
            subject,
            unit,
            value,
        };
        let before = cpu_times(rig)?;
        let begun = Instant::now();
        let rate = netperf(rig, stream, self.time)?;
        let (took, after) = (begun.elapsed().as_secs_f64(), cpu_times(rig)?);
        // A packet of the cable; larger ones that pass whole count as what they will be cut into.
        let packets = rate * 1e6 / 8.0 / stream.payload();
        let mut samples = vec![sample(figure.to_owned(), "Mbit/s", rate)];
        let mut all = 0.0;
        for ((process, before), (_, after)) in before.iter().zip(&after) {
            let used = (after - before) / took;
            all += used;
            let name = format!("cpu_{process}_{figure}");
            samples.push(sample(name, "% of core", used * 100.0));
            if *process == "stack" {
                let name = format!("us_stack_{figure}");
                samples.push(sample(name, "CPU us/packet", used / packets * 1e6));
            }
        }
        samples.push(sample(
            format!("us_{figure}"),
            "CPU us/packet",
            all / packets * 1e6,
        ));
        if let Some(server) = &rig.server {
            let account = Account::begin(&self.binaries.ixgbectl, server)?;
            netperf(rig, stream, ACCOUNT)?;
            let copies = account.end()?;
            let mut push = |name: &str, unit, value: f64| {
                if value.is_finite() {
                    samples.push(sample(format!("{name}_{figure}"), unit, value));
                }
            };
            push("copies_nic", "copies/byte", copies.copies_per_byte());
            push("irq_nic", "1/packet", copies.interrupts_per_frame());
            push("doorbells", "1/packet", copies.doorbells_per_frame());
        }
        Ok(samples)
    }
}

/// Processor time in seconds of each process that is there, QEMU first.
fn cpu_times(rig: &Rig) -> Result<Vec<(&'static str, f64)>> {
    let mut times = vec![("qemu", rig.guest.cpu_time()?.as_secs_f64())];
    if let Some(server) = &rig.server {
        times.push(("server", server.cpu_time()?.as_secs_f64()));
    }
    if let Some(stack) = &rig.stack {
        times.push(("stack", stack.cpu_time()?.as_secs_f64()));
    }
    Ok(times)
}

/// Mbit/s of payload.
fn netperf(rig: &mut Rig, stream: Stream, time: Duration) -> Result<f64> {
    let seconds = time.as_secs().max(1);
    let (test, options) = stream.netperf();
    let command = format!("netperf -H {HOST} -4 -t {test} -l {seconds} -P 0 -f m {options}");
    let output = rig.guest.run(&command, time + SLACK)?;
    ensure!(
        output.status == 0,
        "netperf: {}{}",
        output.stdout,
        output.stderr
    );
    let value = output.stdout.split_whitespace().next_back();
    value
        .and_then(|word| word.parse().ok())
        .with_context(|| format!("netperf said {:?}", output.stdout))
}
