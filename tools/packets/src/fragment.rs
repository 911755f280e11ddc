//! Cutting IP packets, well and badly.

use std::str::FromStr;

use crate::{bits, checksum, layer::Layer};

/// In which order fragments are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// From first to last.
    #[default]
    Forward,
    /// From last to first.
    Reverse,
}

/// How an IP packet is cut: `SIZE[,overlap=BYTES][,reverse][,without=NUMBER]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragments {
    /// Bytes of each fragment behind the IP headers; a multiple of 8.
    pub size: usize,
    /// So many bytes of the fragment before are in each fragment again; a multiple of 8, less than `size`.
    pub overlap: usize,
    /// In which order they are sent.
    pub order: Order,
    /// This one, from 1, is never sent.
    pub without: Option<usize>,
}

/// Fragments that are not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "fragments are SIZE[,overlap=BYTES][,reverse][,without=NUMBER]; SIZE and BYTES are multiples of 8, and BYTES is less than SIZE"
)]
pub struct FragmentsError;

impl FromStr for Fragments {
    type Err = FragmentsError;

    fn from_str(text: &str) -> Result<Self, FragmentsError> {
        let mut items = text.split(',');
        let number = |text: &str| text.parse::<usize>().map_err(|_| FragmentsError);
        let mut fragments = Self {
            size: number(items.next().unwrap_or_default())?,
            overlap: 0,
            order: Order::Forward,
            without: None,
        };
        for item in items {
            match item.split_once('=') {
                None if item == "reverse" => fragments.order = Order::Reverse,
                Some(("overlap", bytes)) => fragments.overlap = number(bytes)?,
                Some(("without", which)) => {
                    let which = Some(number(which)?).filter(|which| *which > 0);
                    fragments.without = Some(which.ok_or(FragmentsError)?);
                }
                _ => return Err(FragmentsError),
            }
        }
        let Self { size, overlap, .. } = fragments;
        let fits =
            size > 0 && size.is_multiple_of(8) && overlap.is_multiple_of(8) && overlap < size;
        fits.then_some(fragments).ok_or(FragmentsError)
    }
}

impl Fragments {
    /// Cuts `frame`, whose IP header of `layer` stands at `ip` and has `header` bytes. Frame number `n` gives an IPv6
    /// packet its identification.
    pub(crate) fn cut(
        &self,
        frame: &[u8],
        layer: Layer,
        ip: usize,
        header: usize,
        n: u64,
    ) -> Vec<Vec<u8>> {
        let (head, data) = frame.split_at(frame.len().min(ip + header));
        let mut fragments = Vec::new();
        let mut start = 0;
        while start < data.len() {
            let from = if start == 0 { 0 } else { start - self.overlap };
            let end = (from + self.size).min(data.len());
            let last = end == data.len();
            let piece = &data[from..end];
            fragments.push(match layer {
                Layer::Ip => ipv4(head, ip, header, piece, from, last),
                _ => ipv6(head, ip, piece, from, last, n),
            });
            start = end;
        }
        if let Some(index) = self.without.and_then(|which| which.checked_sub(1))
            && index < fragments.len()
        {
            fragments.remove(index);
        }
        if self.order == Order::Reverse {
            fragments.reverse();
        }
        fragments
    }
}

fn ipv4(head: &[u8], ip: usize, header: usize, piece: &[u8], from: usize, last: bool) -> Vec<u8> {
    let mut frame = [head, piece].concat();
    let bytes = &mut frame[ip..];
    bits::write(bytes, 16, 16, (header + piece.len()) as u128);
    bits::write(bytes, 50, 1, u128::from(!last));
    bits::write(bytes, 51, 13, (from / 8) as u128);
    bits::write(bytes, 80, 16, 0);
    let sum = checksum::internet(&[&bytes[..header]]);
    bits::write(bytes, 80, 16, sum.into());
    frame
}

fn ipv6(head: &[u8], ip: usize, piece: &[u8], from: usize, last: bool, n: u64) -> Vec<u8> {
    let mut fragment = [0; 8];
    fragment[0] = head.get(ip + 6).copied().unwrap_or(0);
    bits::write(&mut fragment, 16, 13, (from / 8) as u128);
    bits::write(&mut fragment, 31, 1, u128::from(!last));
    bits::write(
        &mut fragment,
        32,
        32,
        u128::from(n.wrapping_add(1) & 0xFFFF_FFFF),
    );
    let mut frame = [head, &fragment, piece].concat();
    let bytes = &mut frame[ip..];
    bits::write(bytes, 32, 16, (8 + piece.len()) as u128);
    bits::write(bytes, 48, 8, 44);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fragments_are_written_as_they_are_cut() {
        assert_eq!(
            "1480,overlap=8,reverse,without=2".parse(),
            Ok(Fragments {
                size: 1480,
                overlap: 8,
                order: Order::Reverse,
                without: Some(2)
            })
        );
        assert_eq!("100".parse::<Fragments>(), Err(FragmentsError));
        assert_eq!("8,overlap=8".parse::<Fragments>(), Err(FragmentsError));
        assert_eq!("0".parse::<Fragments>(), Err(FragmentsError));
    }
}
