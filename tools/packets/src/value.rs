//! Values of fields: how they are written, shown, and go on from frame to frame.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::{
    complaint::list,
    layer::{Field, Kind, Layer},
};

/// Values that a field takes one after the other, and then from the first again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sequence {
    first: u128,
    step: u128,
    /// At least 1.
    count: u128,
}

impl Sequence {
    /// The same each time.
    #[must_use]
    pub const fn one(value: u128) -> Self {
        Self {
            first: value,
            step: 1,
            count: 1,
        }
    }

    /// From `first` to `last`, both of them included, in steps.
    fn range(first: u128, last: u128, step: u128) -> Option<Self> {
        let distance = last.checked_sub(first)?;
        Some(Self {
            first,
            step,
            count: distance.checked_div(step)?.saturating_add(1),
        })
    }

    /// A number, or several: `60-1514`, `64-1518/64`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let numbers = Field::NUMBERS;
        values(&numbers, text)
            .filter(|values| values.last().is_some_and(|last| last <= numbers.max()))
    }

    fn last(&self) -> Option<u128> {
        self.count
            .checked_sub(1)?
            .checked_mul(self.step)?
            .checked_add(self.first)
    }

    /// The value of frame `n`, from 0.
    #[must_use]
    pub const fn at(&self, n: u64) -> u128 {
        let index = n as u128 % self.count;
        self.first.wrapping_add(index.wrapping_mul(self.step))
    }

    /// Whether it ever is this value.
    #[must_use]
    pub const fn contains(&self, value: u128) -> bool {
        match value.checked_sub(self.first) {
            Some(distance) => distance % self.step == 0 && distance / self.step < self.count,
            None => false,
        }
    }

    /// After how many frames it begins again.
    #[must_use]
    pub const fn count(&self) -> u128 {
        self.count
    }
}

/// What a field is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// These values.
    Values(Sequence),
    /// Another value for each frame, by chance (which is the same in each run).
    Random,
    /// The right length or checksum, as if nothing had been said.
    Good,
    /// A wrong checksum.
    Bad,
    /// The right length and so much more.
    More(i32),
    /// What this field is in the frame that is answered.
    From(Layer, &'static Field),
    /// The address of the NIC.
    Nic,
}

/// Understands `text` as a value of `field`; the error tells what may stand there.
pub(crate) fn parse(field: &Field, text: &str) -> Result<Setting, String> {
    if let Some(reference) = text.strip_prefix('@') {
        return reference_to(field, reference);
    }
    match (field.kind, text) {
        (_, "random") => return Ok(Setting::Random),
        (Kind::Checksum | Kind::Length(_), "good") => return Ok(Setting::Good),
        (Kind::Checksum, "bad") => return Ok(Setting::Bad),
        (Kind::Mac, "nic") => return Ok(Setting::Nic),
        (Kind::Length(_), _) if text.starts_with(['+', '-']) => {
            let more = text.parse().map_err(|_| expected(field))?;
            return Ok(Setting::More(more));
        }
        _ => {}
    }
    values(field, text)
        .filter(|values| values.last().is_some_and(|last| last <= field.max()))
        .map(Setting::Values)
        .ok_or_else(|| expected(field))
}

/// `arp.spa` of the frame that is answered.
fn reference_to(field: &Field, text: &str) -> Result<Setting, String> {
    let unknown = || {
        "after @ stands a field of the frame that is answered, as in @eth.src or @ip.dst".to_owned()
    };
    let (layer, name) = text.split_once('.').ok_or_else(unknown)?;
    let layer = Layer::named(layer).ok_or_else(unknown)?;
    let source = layer.field(name).ok_or_else(|| {
        format!(
            "{} has the fields {}",
            layer.name(),
            list(layer.fields().iter().map(|field| field.name))
        )
    })?;
    if source.width > field.width {
        return Err(format!("{text} has more bits than {}", field.name));
    }
    Ok(Setting::From(layer, source))
}

fn values(field: &Field, text: &str) -> Option<Sequence> {
    // `a-b` and `a-b/step`; a name may have a dash itself.
    if let Some(value) = single(field, text) {
        return Some(Sequence::one(value));
    }
    if let Some((first, rest)) = text.split_once('-') {
        let (last, step) = rest.split_once('/').unwrap_or((rest, "1"));
        return Sequence::range(single(field, first)?, single(field, last)?, number(step)?);
    }
    let (address, prefix) = text.split_once('/')?;
    if !matches!(field.kind, Kind::Ipv4 | Kind::Ipv6) {
        return None;
    }
    let free = field.width.checked_sub(prefix.parse().ok()?)?;
    let hosts = if free == 128 {
        u128::MAX
    } else {
        (1 << free) - 1
    };
    let network = single(field, address)? & !hosts;
    Sequence::range(network, network | hosts, 1)
}

/// One value.
fn single(field: &Field, text: &str) -> Option<u128> {
    match field.kind {
        Kind::Mac => mac(text).map(mac_value),
        Kind::Ipv4 => text
            .parse::<Ipv4Addr>()
            .ok()
            .map(|address| u32::from(address).into()),
        Kind::Ipv6 => text.parse::<Ipv6Addr>().ok().map(u128::from),
        Kind::Names(names) => named(names, text).or_else(|| number(text)),
        Kind::Letters(letters) => number(text).or_else(|| {
            let bit = |c: char| {
                letters
                    .iter()
                    .find(|(letter, _)| *letter == c.to_ascii_uppercase())
            };
            text.chars()
                .filter(|c| *c != '.')
                .try_fold(0, |all, c| Some(all | bit(c)?.1))
        }),
        Kind::Bits(names) => number(text).or_else(|| {
            text.split('+')
                .try_fold(0, |all, name| Some(all | named(names, name)?))
        }),
        Kind::Number | Kind::Hex | Kind::Flag | Kind::Checksum | Kind::Length(_) => number(text),
    }
    .filter(|value| *value <= field.max())
}

fn named(names: &[(&str, u128)], text: &str) -> Option<u128> {
    let found = names
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(text));
    found.map(|(_, value)| *value)
}

/// A number, decimal or after `0x` in hex.
pub(crate) fn number(text: &str) -> Option<u128> {
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None => (text, 10),
    };
    if digits.starts_with('+') {
        return None;
    }
    u128::from_str_radix(digits, radix).ok()
}

/// A MAC address as text, or `broadcast`.
#[must_use]
pub fn mac(text: &str) -> Option<[u8; 6]> {
    if text == "broadcast" {
        return Some([0xFF; 6]);
    }
    let mut bytes = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut bytes {
        let part = parts.next().filter(|part| (1..=2).contains(&part.len()))?;
        *byte = u8::from_str_radix(part, 16)
            .ok()
            .filter(|_| !part.starts_with('+'))?;
    }
    parts.next().is_none().then_some(bytes)
}

/// A MAC address as a field's value.
pub(crate) fn mac_value(mac: [u8; 6]) -> u128 {
    mac.into_iter()
        .fold(0, |value, byte| value << 8 | u128::from(byte))
}

fn expected(field: &Field) -> String {
    let range = "; a-b and a-b/step count through values";
    match field.kind {
        Kind::Mac => format!("a MAC address, nic, broadcast or random is wanted{range}"),
        Kind::Ipv4 => {
            format!("an IPv4 address, a network (10.0.0.0/24) or random is wanted{range}")
        }
        Kind::Ipv6 => format!("an IPv6 address, a network (fd00::/64) or random is wanted{range}"),
        Kind::Names(names) => format!(
            "a number up to {} or a name is wanted: {}",
            field.max(),
            list(names.iter().map(|(name, _)| *name))
        ),
        Kind::Letters(letters) => {
            let letters: String = letters.iter().map(|(letter, _)| *letter).collect();
            format!("a number or some of the letters {letters} are wanted")
        }
        Kind::Bits(names) => format!(
            "a number or some of {} are wanted, + between them",
            list(names.iter().map(|(name, _)| *name))
        ),
        Kind::Checksum => format!(
            "good, bad, random or a number up to {} is wanted",
            field.max()
        ),
        Kind::Length(_) => format!("good, +N, -N or a number up to {} is wanted", field.max()),
        Kind::Flag => "0 or 1 is wanted".to_owned(),
        Kind::Number | Kind::Hex => {
            format!("a number up to {} or random is wanted{range}", field.max())
        }
    }
}

/// A field's value as it is written.
#[must_use]
pub fn show(field: &Field, value: u128) -> String {
    let name_of = |names: &[(&'static str, u128)]| {
        let found = names.iter().find(|(_, number)| *number == value);
        found.map(|(name, _)| (*name).to_owned())
    };
    let hex = || format!("0x{value:0width$x}", width = field.width.div_ceil(4));
    match field.kind {
        Kind::Mac => {
            let [_, _, bytes @ ..] = u64::try_from(value).unwrap_or(u64::MAX).to_be_bytes();
            bytes.map(|byte| format!("{byte:02x}")).join(":")
        }
        Kind::Ipv4 => Ipv4Addr::from(u32::try_from(value).unwrap_or(u32::MAX)).to_string(),
        Kind::Ipv6 => Ipv6Addr::from(value).to_string(),
        Kind::Names(names) if field.width == 16 && names.len() > 4 => {
            name_of(names).unwrap_or_else(hex)
        }
        Kind::Names(names) => name_of(names).unwrap_or_else(|| value.to_string()),
        Kind::Letters(letters) => {
            let set = letters.iter().filter(|(_, bit)| value & bit != 0);
            let text: String = set.map(|(letter, _)| *letter).collect();
            if text.is_empty() {
                "0".to_owned()
            } else {
                text
            }
        }
        Kind::Bits(names) => {
            let set = names.iter().filter(|(_, bit)| value & bit != 0);
            let text = set.map(|(name, _)| *name).collect::<Vec<_>>().join("+");
            if text.is_empty() {
                "0".to_owned()
            } else {
                text
            }
        }
        Kind::Hex | Kind::Checksum => hex(),
        Kind::Number | Kind::Flag | Kind::Length(_) => value.to_string(),
    }
}

/// A number by chance, the same for the same frame and field in each run (splitmix64).
pub(crate) fn random(n: u64, field: &Field) -> u128 {
    let mut state = n.wrapping_mul(0x2545_F491_4F6C_DD1D).wrapping_add(
        field
            .name
            .bytes()
            .fold(0, |sum, byte| sum * 31 + u64::from(byte)),
    );
    let mut next = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ state >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        u128::from(mixed ^ mixed >> 31)
    };
    (next() << 64 | next()) & field.max()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn field(layer: Layer, name: &str) -> &'static Field {
        layer.field(name).unwrap()
    }

    fn sequence(layer: Layer, name: &str, text: &str) -> Vec<u128> {
        match parse(field(layer, name), text) {
            Ok(Setting::Values(values)) => (0..4).map(|n| values.at(n)).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_range_is_counted_through_and_begins_again() {
        assert_eq!(
            sequence(Layer::Tcp, "dport", "1000-1002"),
            [1000, 1001, 1002, 1000]
        );
        assert_eq!(sequence(Layer::Udp, "sport", "10-30/10"), [10, 20, 30, 10]);
    }

    #[test]
    fn a_network_is_all_its_addresses() {
        let network = u128::from(u32::from(Ipv4Addr::new(10, 0, 0, 0)));

        assert_eq!(
            sequence(Layer::Ip, "src", "10.0.0.2/31"),
            [network + 2, network + 3, network + 2, network + 3]
        );
    }

    #[test]
    fn addresses_of_ethernet_are_counted_as_one_number() {
        assert_eq!(
            sequence(Layer::Eth, "dst", "02:00:00:00:00:ff-02:00:00:00:01:00"),
            [
                0x0200_0000_00FF,
                0x0200_0000_0100,
                0x0200_0000_00FF,
                0x0200_0000_0100
            ]
        );
    }

    #[test]
    fn names_with_a_dash_are_no_ranges() {
        assert_eq!(sequence(Layer::Icmp, "type", "echo-reply")[0], 0);
    }

    #[test]
    fn flags_are_letters_names_or_numbers() {
        assert_eq!(sequence(Layer::Tcp, "flags", "SA")[0], 0x12);
        assert_eq!(sequence(Layer::Tcp, "flags", "0xff")[0], 0xFF);
        assert_eq!(sequence(Layer::Ip, "flags", "df+mf")[0], 3);
    }

    #[test]
    fn a_value_that_does_not_fit_is_refused_with_what_does() {
        let error = parse(field(Layer::Vlan, "id"), "4096").unwrap_err();

        assert!(error.starts_with("a number up to 4095"), "{error}");
    }

    #[test]
    fn a_range_that_runs_backwards_or_stands_still_is_refused() {
        assert!(parse(field(Layer::Tcp, "dport"), "9-8").is_err());
        assert!(parse(field(Layer::Tcp, "dport"), "8-9/0").is_err());
    }

    #[test]
    fn a_length_can_be_said_by_how_much_it_is_wrong() {
        assert_eq!(parse(field(Layer::Ip, "len"), "-4"), Ok(Setting::More(-4)));
        assert_eq!(
            parse(field(Layer::Udp, "len"), "+10"),
            Ok(Setting::More(10))
        );
    }

    fn any_field() -> impl Strategy<Value = &'static Field> {
        let all: Vec<_> = Layer::ALL.into_iter().flat_map(Layer::fields).collect();
        prop::sample::select(all)
    }

    proptest! {
        #[test]
        fn what_is_shown_is_understood_as_the_same_value(field in any_field(), value: u128) {
            let value = value & field.max();

            let parsed = parse(field, &show(field, value));

            prop_assert_eq!(parsed, Ok(Setting::Values(Sequence::one(value))));
        }

        #[test]
        fn any_text_is_a_value_that_fits_or_none(field in any_field(), text in "[0-9a-fx:./@+-]{0,40}", n: u64) {
            if let Ok(Setting::Values(values)) = parse(field, &text) {
                prop_assert!(values.at(n) <= field.max());
                prop_assert!(values.contains(values.at(n)));
            }
        }
    }
}
