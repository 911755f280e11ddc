//! Who talks with the guest: a host at the other end of the cable.

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use packets::{Circumstances, Dissection, Layer, Mac, Payload, Recipe, Words};
use wire::Damage;

use crate::cable::Cable;

/// How long an answer that must not be may take behind one that must.
const AFTERWARDS: Duration = Duration::from_millis(50);
/// Bytes of an IPv4 and an ICMP header.
const HEADERS: usize = 28;

/// Who is who.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// The guest's address on the NIC.
    pub guest: Ipv4Addr,
    /// Ours, in the same network, and nobody's else.
    pub station: Ipv4Addr,
    /// Our MAC address.
    pub mac: Mac,
}

impl Addresses {
    /// An address beside the guest's that is neither.
    #[must_use]
    pub fn other(&self) -> Ipv4Addr {
        let near = (1..).map(|step| Ipv4Addr::from_bits(self.guest.to_bits() ^ step));
        let mut others = near.filter(|address| *address != self.station);
        others.next().unwrap_or(self.guest)
    }
}

/// A host at the other end of the cable.
#[expect(missing_debug_implementations, reason = "borrows a trait object")]
pub struct Station<'a> {
    /// The NIC that is tested.
    pub cable: &'a mut dyn Cable,
    /// Who is who.
    pub addresses: Addresses,
    /// Longest IPv4 packet that the guest takes, in bytes.
    pub mtu: usize,
    /// How long the guest may think.
    pub patience: Duration,
    /// The guest's MAC address, once it has told it.
    guest: Option<Mac>,
    /// Identifier of the next echo request.
    id: u16,
}

/// An echo request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echo {
    /// Its identifier.
    pub id: u16,
    /// Its number.
    pub seq: u16,
    /// Bytes of payload.
    pub payload: usize,
}

impl<'a> Station<'a> {
    /// A host with these addresses.
    pub fn new(
        cable: &'a mut dyn Cable,
        addresses: Addresses,
        mtu: usize,
        patience: Duration,
    ) -> Self {
        Self {
            cable,
            addresses,
            mtu,
            patience,
            guest: None,
            id: 0,
        }
    }

    /// Payload of the longest echo request that fits the MTU.
    #[must_use]
    pub const fn longest(&self) -> usize {
        self.mtu.saturating_sub(HEADERS)
    }

    /// An identifier that no echo request had.
    pub const fn fresh(&mut self) -> u16 {
        self.id = self.id.wrapping_add(1);
        self.id
    }

    /// The guest's MAC address: asked for, if it is not known.
    ///
    /// # Errors
    /// The guest does not answer ARP.
    pub fn guest(&mut self) -> Result<Mac> {
        match self.guest {
            Some(mac) => Ok(mac),
            None => self.who_has(self.addresses.guest)?.with_context(|| {
                format!(
                    "{} does not answer ARP; is the interface up, and has it this address?",
                    self.addresses.guest
                )
            }),
        }
    }

    /// Asks by ARP, in a broadcast, who has an address.
    ///
    /// # Errors
    /// The server fails, or the answer is wrong.
    pub fn who_has(&mut self, address: Ipv4Addr) -> Result<Option<Mac>> {
        let request = self.question(address)?;
        self.cable.send(&[request], Damage::default())?;
        let answer = self.wait(|packet| is_arp_reply(packet, address))?;
        let Some(answer) = answer else {
            return Ok(None);
        };
        let packet = Dissection::new(&answer);
        let told = packet.value(Layer::Arp, "sha").and_then(to_mac);
        let sender = packet.value(Layer::Eth, "src").and_then(to_mac);
        ensure!(
            told == sender && told.is_some(),
            "an ARP reply that tells of another address than its sender's: {}",
            packets::tell(&answer)
        );
        if address == self.addresses.guest {
            self.guest = told;
        }
        Ok(told)
    }

    /// A broadcast that asks by ARP who has an address.
    ///
    /// # Errors
    /// There is no such frame.
    pub fn question(&self, address: Ipv4Addr) -> Result<Vec<u8>> {
        let Addresses { station, mac, .. } = self.addresses;
        let said = [
            (Layer::Eth, format!("src={},dst=broadcast", text(mac))),
            (Layer::Arp, format!("who-has={address},tell={station}")),
        ];
        let mut frames = self.frames(&said, None)?;
        frames.pop().context("a question is a frame")
    }

    /// An echo request to the guest.
    ///
    /// # Errors
    /// The guest's MAC address is not to be had.
    pub fn echo(&mut self, echo: Echo) -> Result<Vec<u8>> {
        let mut frames = self.request(echo, "", "", |recipe| recipe)?;
        frames.pop().context("a request is a frame")
    }

    /// An echo request with something special in its IP and ICMP headers, or about the whole of it.
    ///
    /// # Errors
    /// The guest's MAC address is not to be had.
    pub fn request(
        &mut self,
        echo: Echo,
        ip: &str,
        icmp: &str,
        special: impl FnOnce(Recipe) -> Recipe,
    ) -> Result<Vec<Vec<u8>>> {
        let guest = self.guest()?;
        let Addresses {
            guest: to,
            station,
            mac,
        } = self.addresses;
        let said = [
            (Layer::Eth, format!("src={},dst={}", text(mac), text(guest))),
            (
                Layer::Ip,
                format!("src={station},dst={to},id={}{ip}", echo.seq),
            ),
            (
                Layer::Icmp,
                format!("echo,id={},seq={}{icmp}", echo.id, echo.seq),
            ),
        ];
        let recipe = recipe(&said)?.payload(Some(Payload::Bytes(content(echo))));
        Ok(special(recipe).frames(0, &Circumstances::default())?)
    }

    /// Frames of these words.
    ///
    /// # Errors
    /// There are no such frames.
    pub fn frames(
        &self,
        said: &[(Layer, String)],
        payload: Option<Vec<u8>>,
    ) -> Result<Vec<Vec<u8>>> {
        let recipe = recipe(said)?.payload(payload.map(Payload::Bytes));
        Ok(recipe.frames(0, &Circumstances::default())?)
    }

    /// Pings once.
    ///
    /// # Errors
    /// No answer, or a wrong one.
    pub fn ping(&mut self, payload: usize) -> Result<()> {
        let echo = Echo {
            id: self.fresh(),
            seq: 1,
            payload,
        };
        let request = self.echo(echo)?;
        self.cable.send(&[request], Damage::default())?;
        ensure!(
            self.answers(&[echo])? == [echo],
            "no answer to an echo request with {payload} bytes of payload in {:?}",
            self.patience
        );
        Ok(())
    }

    /// Pings until there is an answer.
    ///
    /// # Errors
    /// There is none within `limit`.
    pub fn ping_until(&mut self, limit: Duration) -> Result<Duration> {
        let begin = Instant::now();
        loop {
            let echo = Echo {
                id: self.fresh(),
                seq: 1,
                payload: 56,
            };
            let request = self.echo(echo)?;
            // There may be no link yet.
            let sent = self.cable.send(&[request], Damage::default());
            let patience = std::mem::replace(&mut self.patience, Duration::from_millis(200));
            let answered = self.answers(&[echo]);
            self.patience = patience;
            if sent.is_ok() && answered? == [echo] {
                return Ok(begin.elapsed());
            }
            ensure!(
                begin.elapsed() < limit,
                "no answer to a ping for {} s",
                limit.as_secs()
            );
        }
    }

    /// Which of these requests are answered, in the order of the answers. Each answer is looked at byte for byte.
    ///
    /// # Errors
    /// An answer is wrong, or there are two.
    pub fn answers(&mut self, requests: &[Echo]) -> Result<Vec<Echo>> {
        let mut answered = Vec::new();
        while answered.len() < requests.len() {
            let Some(frame) = self.wait(is_echo_reply)? else {
                break;
            };
            let packet = Dissection::new(&frame);
            let field = |name| packet.value(Layer::Icmp, name);
            let asked = requests.iter().find(|echo| {
                field("id") == Some(echo.id.into()) && field("seq") == Some(echo.seq.into())
            });
            // One of an earlier trial.
            let Some(echo) = asked else {
                continue;
            };
            ensure!(
                !answered.contains(echo),
                "two answers to one request: {}",
                packets::tell(&frame)
            );
            self.look_at(&packet, *echo)
                .with_context(|| packets::tell(&frame))?;
            answered.push(*echo);
        }
        Ok(answered)
    }

    fn look_at(&self, packet: &Dissection<'_>, echo: Echo) -> Result<()> {
        let Addresses {
            guest,
            station,
            mac,
        } = self.addresses;
        let expected = [
            (Layer::Eth, "dst", Some(from_mac(mac))),
            (Layer::Eth, "src", self.guest.map(from_mac)),
            (Layer::Ip, "src", Some(guest.to_bits().into())),
            (Layer::Ip, "dst", Some(station.to_bits().into())),
            // The frame is longer if it was padded.
            (
                Layer::Ip,
                "len",
                u128::try_from(HEADERS + echo.payload).ok(),
            ),
        ];
        for (layer, name, value) in expected {
            ensure!(
                packet.value(layer, name) == value,
                "the answer's {name} is wrong"
            );
        }
        for (layer, name) in [(Layer::Ip, "sum"), (Layer::Icmp, "sum")] {
            let field = layer
                .field(name)
                .with_context(|| format!("no field {name}"))?;
            ensure!(
                packet.get(layer, 0, field) == packet.right(layer, field),
                "the answer's {name} is wrong"
            );
        }
        let payload = packet.payload();
        let expected = content(echo);
        ensure!(
            payload.len() == expected.len(),
            "{} bytes of payload come back, not {}",
            payload.len(),
            expected.len()
        );
        let differs = payload.iter().zip(&expected).position(|(a, b)| a != b);
        if let Some(at) = differs {
            bail!("byte {at} of the payload comes back changed");
        }
        Ok(())
    }

    /// Fails if one of these frames is answered by what `is_answer` tells: before a good request behind them is answered,
    /// or a little later, since another queue may have had them.
    ///
    /// # Errors
    /// It is, or the guest does not answer any more.
    pub fn silence(
        &mut self,
        frames: &[Vec<u8>],
        is_answer: impl Fn(&Dissection<'_>) -> bool,
        damage: Damage,
    ) -> Result<()> {
        let guard = Echo {
            id: self.fresh(),
            seq: 1,
            payload: 56,
        };
        let request = self.echo(guard)?;
        self.cable.send(frames, damage)?;
        self.cable.send(&[request], Damage::default())?;
        let is_guards = |packet: &Dissection<'_>| answers_id(packet, guard.id);
        let mut answer = self.wait(|packet| is_answer(packet) || is_guards(packet))?;
        if answer
            .as_deref()
            .is_some_and(|frame| is_guards(&Dissection::new(frame)))
        {
            let patience = std::mem::replace(&mut self.patience, AFTERWARDS);
            let later = self.wait(&is_answer);
            self.patience = patience;
            answer = match later? {
                None => return Ok(()),
                later => later,
            };
        }
        let answer = answer.context("the guest does not answer good requests any more")?;
        bail!(
            "the guest answers what it must not have got: {}",
            packets::tell(&answer)
        )
    }

    /// The next frame of the guest that is wanted, if it comes while the guest may think. Its questions for our MAC
    /// address are answered meanwhile.
    ///
    /// # Errors
    /// The server fails.
    pub fn wait(&mut self, is_wanted: impl Fn(&Dissection<'_>) -> bool) -> Result<Option<Vec<u8>>> {
        let deadline = Instant::now() + self.patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Some(frame) = self.cable.next(left)? else {
                return Ok(None);
            };
            let packet = Dissection::new(&frame);
            if is_wanted(&packet) {
                return Ok(Some(frame));
            }
            if let Some(answer) = self.answer_arp(&packet)? {
                self.cable.send(&answer, Damage::default())?;
            }
        }
    }

    /// Lets some time pass without a word.
    ///
    /// # Errors
    /// The server fails.
    pub fn away(&mut self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if self.cable.next(left)?.is_none() {
                return Ok(());
            }
        }
    }

    /// Lets some time pass, in which questions for our MAC address are answered.
    ///
    /// # Errors
    /// The server fails.
    pub fn pause(&mut self, time: Duration) -> Result<()> {
        let patience = std::mem::replace(&mut self.patience, time);
        let passed = self.wait(|_| false);
        self.patience = patience;
        passed.map(|_| ())
    }

    /// The answer to a question for our MAC address.
    fn answer_arp(&self, packet: &Dissection<'_>) -> Result<Option<Vec<Vec<u8>>>> {
        let Addresses { station, mac, .. } = self.addresses;
        let field = |name| packet.value(Layer::Arp, name);
        let asked = field("op") == Some(1) && field("tpa") == Some(station.to_bits().into());
        let (Some(sha), Some(spa)) = (field("sha").and_then(to_mac), field("spa")) else {
            return Ok(None);
        };
        if !asked {
            return Ok(None);
        }
        let to = Ipv4Addr::from_bits(u32::try_from(spa).unwrap_or(0));
        let said = [
            (Layer::Eth, format!("src={},dst={}", text(mac), text(sha))),
            (
                Layer::Arp,
                format!(
                    "reply,sha={},spa={station},tha={},tpa={to}",
                    text(mac),
                    text(sha)
                ),
            ),
        ];
        self.frames(&said, None).map(Some)
    }
}

/// Whether a packet answers an echo request with this identifier.
#[must_use]
pub fn answers_id(packet: &Dissection<'_>, id: u16) -> bool {
    is_echo_reply(packet) && packet.value(Layer::Icmp, "id") == Some(id.into())
}

/// Whether a packet says by ARP who has this address.
#[must_use]
pub fn is_arp_reply(packet: &Dissection<'_>, address: Ipv4Addr) -> bool {
    packet.value(Layer::Arp, "op") == Some(2)
        && packet.value(Layer::Arp, "spa") == Some(address.to_bits().into())
}

/// Whether a packet answers an echo request.
#[must_use]
pub fn is_echo_reply(packet: &Dissection<'_>) -> bool {
    packet.value(Layer::Icmp, "type") == Some(0)
}

/// A MAC address as it is written.
#[must_use]
pub fn text(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

fn recipe(said: &[(Layer, String)]) -> Result<Recipe> {
    let words = said.iter().map(|(layer, text)| {
        Words::parse(*layer, text).map_err(|complaint| anyhow::anyhow!("{text}: {complaint}"))
    });
    Ok(Recipe::new(words.collect::<Result<_>>()?)?)
}

/// What an echo request carries: each byte depends on its place and on the request.
fn content(echo: Echo) -> Vec<u8> {
    (0..echo.payload)
        .map(|place| {
            let mixed = place
                .wrapping_mul(31)
                .wrapping_add(usize::from(echo.seq))
                .wrapping_add(place >> 8);
            mixed.to_le_bytes()[0]
        })
        .collect()
}

fn to_mac(value: u128) -> Option<Mac> {
    let bytes = value.to_be_bytes();
    bytes.last_chunk().copied()
}

fn from_mac(mac: Mac) -> u128 {
    mac.iter()
        .fold(0, |value, byte| value << 8 | u128::from(*byte))
}
