//! Trials against a guest of smoltcp's that can be given flaws: without one nothing fails, and each flaw is found by the
//! trials that are about it. Not seen failing: an incomplete or overlapping packet, the guest's own VLAN, large bursts.
#![expect(clippy::unwrap_used, reason = "a test that fails panics")]

use std::{net::Ipv4Addr, time::Duration};

use anyhow::{Result, ensure};
use control::{Fault, FaultKind, Finding, HardwareError, Link, Severity};
use driver_test::{
    Addresses, Outcome, Queues, Report, Station, TRIALS, Trial, Wish, cable::Cable, run,
};
use packets::{Dissection, Layer};
use smoltcp::{
    iface::{Config, Interface, SocketHandle, SocketSet},
    socket::tcp,
    time::Instant,
    wire::{EthernetAddress, HardwareAddress, IpAddress, IpCidr},
};
use wire::{Damage, Fcs, Short};

const GUEST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const STATION: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
const ECHO_PORT: u16 = 7;

/// What a driver may do wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    None,
    /// Its receiver is off.
    Off,
    /// It loses frames of this length.
    Loses(usize),
    /// It changes a byte of long frames that it sends.
    Changes,
    /// It hands up frames for other stations as its own.
    Promiscuous,
    /// It takes tags away without looking at them.
    TakesTags,
    /// It believes an IP checksum to be right that is not.
    TrustsIp,
    /// It believes an ICMP checksum to be right that is not.
    TrustsIcmp,
    /// It loses every fragment but the first.
    LosesFragments,
    /// It changes a byte of TCP's.
    ChangesTcp,
    /// It answers ARP for everybody.
    ProxyArp,
    /// It stops at an Ethertype that it does not know.
    DiesOfStrangers,
    /// It stops at a packet whose length says more than there is.
    DiesOfLengths,
    /// It hands up frames with a bad FCS.
    TrustsFcs,
    /// It stops at a frame longer than it expects.
    DiesOfGiants,
    /// It stops at a runt.
    DiesOfRunts,
    /// It stops after so many frames in a row.
    DiesOfFloods,
    /// It does not see that the link is back.
    DiesOfFlaps,
    /// It does not recover from an ECC error.
    DiesOfEcc,
    /// It sees nothing more after an interrupt that it did not get.
    DiesOfLostInterrupts,
    /// It trusts an interrupt to have a cause.
    DiesOfSpuriousInterrupts,
    /// It looks for a packet once.
    DiesOfLateWriteBacks,
    /// It does not look at its transmit queue.
    DiesOfHangs,
    /// It does not see that its descriptors are not read.
    DiesOfRefusals,
    /// It has no interrupts.
    Polls,
    /// It breaks a rule.
    BreaksRule,
}

struct Guest {
    flaw: Flaw,
    dead: bool,
    link: Link,
    in_a_row: usize,
    taken: u64,
    interface: Interface,
    queues: Queues,
    sockets: SocketSet<'static>,
    echo: SocketHandle,
    now: i64,
    ready: Vec<Vec<u8>>,
    faults: Vec<Fault>,
}

impl Guest {
    fn new(flaw: Flaw) -> Self {
        let mut queues = Queues {
            mtu: 1500,
            ..Queues::default()
        };
        let mac = HardwareAddress::Ethernet(EthernetAddress(MAC));
        let mut interface = Interface::new(Config::new(mac), &mut queues, Instant::ZERO);
        interface.update_ip_addrs(|list| {
            list.push(IpCidr::new(IpAddress::Ipv4(GUEST), 24)).unwrap();
        });
        let buffer = || tcp::SocketBuffer::new(vec![0; 64 << 10]);
        let mut socket = tcp::Socket::new(buffer(), buffer());
        socket.listen(ECHO_PORT).unwrap();
        let mut sockets = SocketSet::new(Vec::new());
        let echo = sockets.add(socket);
        Self {
            flaw,
            dead: false,
            link: Link::Up,
            in_a_row: 0,
            taken: 0,
            interface,
            queues,
            sockets,
            echo,
            now: 0,
            ready: Vec::new(),
            faults: Vec::new(),
        }
    }

    fn turn(&mut self) {
        self.now += 1;
        let now = Instant::from_millis(self.now);
        self.interface
            .poll(now, &mut self.queues, &mut self.sockets);
        let socket = self.sockets.get_mut::<tcp::Socket<'_>>(self.echo);
        while socket.can_recv() && socket.can_send() {
            let room = socket.send_capacity() - socket.send_queue();
            let bytes = socket.recv(|bytes| {
                let count = bytes.len().min(room);
                (count, bytes[..count].to_vec())
            });
            socket.send_slice(&bytes.unwrap()).unwrap();
        }
        self.interface
            .poll(now, &mut self.queues, &mut self.sockets);
        for mut frame in self.queues.sent.drain(..) {
            if self.flaw == Flaw::Changes && frame.len() > 1000 {
                frame[900] ^= 1;
            }
            let is_tcp = Dissection::new(&frame).header(Layer::Tcp, 0).is_some();
            if self.flaw == Flaw::ChangesTcp && is_tcp && frame.len() > 1000 {
                frame[900] ^= 1;
                repair(&mut frame, Layer::Tcp, 16);
            }
            self.ready.push(frame);
        }
    }

    /// The driver's part. Returns whether the stack gets the frame.
    fn take(&mut self, frame: &mut Vec<u8>, damage: Damage) -> bool {
        let flaw = self.flaw;
        self.in_a_row += 1;
        self.dead |= (flaw == Flaw::DiesOfGiants && frame.len() > 1518)
            || (flaw == Flaw::DiesOfRunts && frame.len() < 60 && damage.short == Short::Runt)
            || (flaw == Flaw::DiesOfFloods && self.in_a_row > 300);
        if self.dead
            || flaw == Flaw::Loses(frame.len())
            || (damage.fcs == Fcs::Bad && flaw != Flaw::TrustsFcs)
            || frame.len() > 1518
        {
            return false;
        }
        if flaw == Flaw::Promiscuous && frame[0] & 1 == 0 {
            frame[..6].copy_from_slice(&MAC);
        }
        if flaw == Flaw::TakesTags && frame[12..14] == [0x81, 0x00] {
            frame.drain(12..16);
        }
        let packet = Dissection::new(frame);
        let ip = |name| packet.value(Layer::Ip, name);
        let is_later_fragment = ip("frag") > Some(0);
        self.dead |= (flaw == Flaw::DiesOfStrangers && packet.ether_type() == 0x88B5)
            || (flaw == Flaw::DiesOfLengths && ip("len") == Some(65_535));
        if self.dead || (flaw == Flaw::LosesFragments && is_later_fragment) {
            return false;
        }
        if flaw == Flaw::ProxyArp && packet.value(Layer::Arp, "op") == Some(1) {
            let at = packet.header(Layer::Arp, 0).unwrap().at;
            let mut answer = frame.clone();
            answer[..6].copy_from_slice(&frame[6..12]);
            answer[6..12].copy_from_slice(&MAC);
            answer[at + 7] = 2;
            answer[at + 8..at + 14].copy_from_slice(&MAC);
            answer[at + 14..at + 18].copy_from_slice(&frame[at + 24..at + 28]);
            self.ready.push(answer);
            return false;
        }
        if flaw == Flaw::TrustsIp {
            repair(frame, Layer::Ip, 10);
        }
        if flaw == Flaw::TrustsIcmp {
            repair(frame, Layer::Icmp, 2);
        }
        true
    }
}

/// Makes the checksum right that lies `place` bytes behind the start of a header.
fn repair(frame: &mut [u8], layer: Layer, place: usize) {
    let packet = Dissection::new(frame);
    let field = layer.field("sum").unwrap();
    if let (Some(header), Some(sum)) = (packet.header(layer, 0), packet.right(layer, field)) {
        let sum = u16::try_from(sum).unwrap().to_be_bytes();
        frame[header.at + place..header.at + place + 2].copy_from_slice(&sum);
    }
}

impl Cable for Guest {
    fn send(&mut self, frames: &[Vec<u8>], damage: Damage) -> Result<()> {
        ensure!(self.link == Link::Up, "no link");
        for frame in frames {
            let mut frame = frame.clone();
            if self.take(&mut frame, damage) {
                self.taken += 1;
                self.queues.received.push_back(frame);
                self.turn();
            }
        }
        Ok(())
    }

    fn next(&mut self, _: Duration) -> Result<Option<Vec<u8>>> {
        self.in_a_row = 0;
        self.turn();
        Ok((!self.ready.is_empty()).then(|| self.ready.remove(0)))
    }

    fn plug(&mut self, link: Link) -> Result<()> {
        self.dead |= self.flaw == Flaw::DiesOfFlaps;
        self.link = link;
        Ok(())
    }

    fn fail(&mut self, _: HardwareError) -> Result<()> {
        self.dead |= self.flaw == Flaw::DiesOfEcc;
        Ok(())
    }

    fn add_fault(&mut self, fault: &Fault) -> Result<u64> {
        self.dead |= match fault.kind {
            FaultKind::InterruptLost => self.flaw == Flaw::DiesOfLostInterrupts,
            FaultKind::InterruptSpurious => self.flaw == Flaw::DiesOfSpuriousInterrupts,
            FaultKind::WriteBackLate => self.flaw == Flaw::DiesOfLateWriteBacks,
            FaultKind::TransmitStuck => self.flaw == Flaw::DiesOfHangs,
            FaultKind::DmaError => self.flaw == Flaw::DiesOfRefusals,
            _ => false,
        };
        self.faults.push(*fault);
        Ok(self.faults.len() as u64)
    }

    fn fired(&mut self, id: u64) -> Result<u64> {
        let fault = &self.faults[usize::try_from(id)? - 1];
        let is_interrupt = fault.kind == FaultKind::InterruptLost;
        let never = self.flaw == Flaw::Polls && is_interrupt;
        Ok(if never {
            0
        } else {
            fault.trigger.count.unwrap_or(1)
        })
    }

    fn clear_fault(&mut self, _: u64) -> Result<()> {
        Ok(())
    }

    fn register(&mut self, name: &str) -> Result<u32> {
        let up = u32::from(self.link == Link::Up);
        Ok(match name {
            "LINKS" => up << 30,
            _ => u32::from(self.flaw != Flaw::Off),
        })
    }

    fn missed(&self) -> u64 {
        0
    }

    fn received(&mut self) -> Result<u64> {
        Ok(self.taken)
    }

    fn findings(&mut self) -> Result<Option<Vec<Finding>>> {
        let finding = Finding {
            rule: "tail-past-the-ring".into(),
            severity: Severity::Error,
            section: "7.1.9".into(),
            subject: "RDT[0]".to_owned(),
            what: "too far".to_owned(),
            time_nanos: 1,
            times: 1,
            report: "RDT[0]: too far".to_owned(),
        };
        let broken = self.flaw == Flaw::BreaksRule;
        Ok(Some(if broken { vec![finding] } else { Vec::new() }))
    }
}

/// The trials of these chapters with this flaw.
fn report(flaw: Flaw, chapters: &[&str]) -> Report {
    let mut guest = Guest::new(flaw);
    let addresses = Addresses {
        guest: GUEST,
        station: STATION,
        mac: [2, 0, 0, 0, 0, 1],
    };
    let wish = Wish {
        echo_port: Some(ECHO_PORT),
        vlan: None,
        boot: Duration::from_millis(20),
        recovery: Duration::from_millis(20),
    };
    let mut station = Station::new(&mut guest, addresses, 1500, Duration::from_secs(1));
    let is_wanted = |trial: &&Trial| {
        chapters.is_empty() || trial.chapter == "reach" || chapters.contains(&trial.chapter)
    };
    let trials: Vec<&Trial> = TRIALS.iter().filter(is_wanted).collect();
    run(&trials, &mut station, &wish, &mut ())
}

/// Names of the trials that fail with this flaw.
fn failures(flaw: Flaw, chapters: &[&str]) -> Vec<&'static str> {
    let report = report(flaw, chapters);
    let skipped: Vec<_> = report
        .results
        .iter()
        .filter(|result| matches!(result.outcome, Ok(Outcome::Skipped(_))))
        .map(|result| result.name)
        .collect();
    assert!(
        skipped.is_empty() || skipped == ["the guest's VLAN is answered with its tag"],
        "{skipped:?}"
    );
    let failed = report
        .results
        .iter()
        .filter(|result| result.outcome.is_err());
    failed.map(|result| result.name).collect()
}

#[test]
fn a_guest_without_a_flaw_passes_everything() {
    assert_eq!(failures(Flaw::None, &[]), [""; 0]);
}

#[test]
fn a_driver_that_does_not_receive_is_told_first() {
    assert_eq!(
        failures(Flaw::Off, &["sizes"]),
        ["the driver receives and the link is up"]
    );
}

#[test]
fn a_length_that_is_lost_is_found() {
    assert_eq!(
        failures(Flaw::Loses(1000), &["sizes", "filters"]),
        ["echo of every size up to the MTU"]
    );
}

#[test]
fn a_changed_byte_is_found() {
    let failed = failures(Flaw::Changes, &["sizes"]);

    assert_eq!(failed[0], "echo of every size up to the MTU");
}

#[test]
fn frames_of_others_that_are_answered_are_found() {
    assert_eq!(
        failures(Flaw::Promiscuous, &["filters", "broken"]),
        ["another station's frames are not answered"]
    );
    assert_eq!(
        failures(Flaw::TakesTags, &["filters", "broken"]),
        ["a tag of a foreign VLAN is not answered"]
    );
}

#[test]
fn broken_packets_that_are_answered_are_found() {
    assert_eq!(
        failures(Flaw::TrustsIp, &["broken"]),
        ["a bad IP checksum is not answered"]
    );
    assert_eq!(
        failures(Flaw::TrustsIcmp, &["broken"]),
        ["a bad ICMP checksum is not answered"]
    );
    assert_eq!(
        failures(Flaw::TrustsFcs, &["broken"]),
        ["a bad FCS is not answered"]
    );
}

#[test]
fn fragments_that_are_lost_are_found() {
    assert_eq!(
        failures(Flaw::LosesFragments, &["fragments"]),
        ["fragments in any order are put together"]
    );
}

#[test]
fn a_byte_of_tcp_that_is_changed_is_found() {
    assert_eq!(
        failures(Flaw::ChangesTcp, &["bulk"]),
        ["TCP both ways, byte for byte"]
    );
}

#[test]
fn who_answers_for_others_is_found() {
    assert_eq!(
        failures(Flaw::ProxyArp, &["reach"]),
        ["ARP for another address is not"]
    );
}

#[test]
fn a_driver_that_stops_is_found_by_the_trial_that_stopped_it() {
    let first = |flaw, chapter| failures(flaw, &[chapter])[0];

    assert_eq!(
        first(Flaw::DiesOfGiants, "sizes"),
        "a frame beyond the MTU does no harm"
    );
    assert_eq!(
        first(Flaw::DiesOfRunts, "broken"),
        "runts and truncated headers do no harm"
    );
    assert_eq!(
        first(Flaw::DiesOfFloods, "flood"),
        "a flood of small frames and its end"
    );
    assert_eq!(
        first(Flaw::DiesOfStrangers, "filters"),
        "broadcasts and foreign groups do no harm"
    );
    assert_eq!(
        first(Flaw::DiesOfLengths, "broken"),
        "wrong lengths do no harm"
    );
    assert_eq!(first(Flaw::DiesOfFlaps, "life"), "link flaps");
    assert_eq!(first(Flaw::DiesOfEcc, "life"), "ECC errors");
}

#[test]
fn a_driver_that_stops_at_a_fault_is_found_by_the_trial_that_made_it() {
    let first = |flaw| failures(flaw, &["faults"])[0];

    assert_eq!(
        first(Flaw::DiesOfLostInterrupts),
        "lost interrupts are made up for"
    );
    assert_eq!(
        first(Flaw::DiesOfSpuriousInterrupts),
        "interrupts without a cause do no harm"
    );
    assert_eq!(
        first(Flaw::DiesOfLateWriteBacks),
        "late write-backs lose nothing"
    );
    assert_eq!(
        first(Flaw::DiesOfHangs),
        "a transmit hang is noticed and ended"
    );
    assert_eq!(
        first(Flaw::DiesOfRefusals),
        "a refused DMA read is got over"
    );
}

#[test]
fn a_fault_that_a_driver_gives_no_occasion_for_is_skipped() {
    let report = report(Flaw::Polls, &["faults"]);

    let skipped = report
        .results
        .iter()
        .filter(|result| matches!(result.outcome, Ok(Outcome::Skipped(_))));
    let names: Vec<_> = skipped.map(|result| result.name).collect();
    assert_eq!(names, ["lost interrupts are made up for"]);
    assert!(report.is_good());
}

#[test]
fn a_rule_that_is_broken_is_told() {
    assert_eq!(
        failures(Flaw::BreaksRule, &["contract"]),
        ["the driver keeps the datasheet's rules"]
    );
}
