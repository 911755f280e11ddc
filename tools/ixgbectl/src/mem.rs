//! `ixgbectl mem`.

use std::fmt::Write;

use control::{Client, MAX_READ, Mapping, MemoryAccess, MemoryBacking};
use serde::Serialize;

use crate::{cli::MemArguments, output::Output};

#[derive(Serialize)]
struct Read {
    iova: String,
    data: String,
}

pub(crate) fn run(
    client: &mut Client,
    arguments: &MemArguments,
    output: &mut Output,
) -> anyhow::Result<()> {
    let Some(iova) = arguments.iova else {
        let mappings = client.memory()?;
        return output.print(&mappings, || {
            let mut text = table(&mappings.mappings);
            let hidden = mappings
                .total
                .saturating_sub(mappings.mappings.len() as u64);
            if hidden > 0 {
                // Writing to a string does not fail.
                let _ = writeln!(text, "and {hidden} more");
            }
            text
        });
    };
    let data = client.read_memory(iova, arguments.length.min(MAX_READ))?;
    let read = Read {
        iova: format!("{iova:#x}"),
        data: data.iter().map(|byte| format!("{byte:02x}")).collect(),
    };
    output.print(&read, || dump(iova, &data))
}

fn table(mappings: &[Mapping]) -> String {
    if mappings.is_empty() {
        return "no client has mapped memory\n".to_owned();
    }
    let mut text =
        "              first                last              size  access  backing\n".to_owned();
    for mapping in mappings {
        let Mapping {
            iova,
            last,
            access,
            backing,
        } = mapping;
        let access = match access {
            MemoryAccess::None => "-",
            MemoryAccess::Read => "r",
            MemoryAccess::Write => "w",
            MemoryAccess::Both => "rw",
        };
        let backing = match backing {
            MemoryBacking::File => "file",
            MemoryBacking::Messages => "messages",
        };
        let size = u128::from(last.saturating_sub(*iova)) + 1;
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "{iova:>#19x} {last:>#19x} {size:>17}  {access:<6}  {backing}"
        );
    }
    text
}

/// Bytes as `hexdump -C` shows them.
pub(crate) fn dump(start: u64, data: &[u8]) -> String {
    let mut text = String::new();
    for (line, bytes) in (0_u64..).zip(data.chunks(16)) {
        let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let letters: String = bytes
            .iter()
            .map(|byte| match byte {
                0x20..=0x7E => char::from(*byte),
                _ => '.',
            })
            .collect();
        let at = start.wrapping_add(16 * line);
        // Writing to a string does not fail.
        let _ = writeln!(text, "{at:#012x}  {:<47}  |{letters}|", digits.join(" "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_in_digits_and_letters() {
        assert_eq!(
            dump(0x1000, b"hello\n"),
            "0x0000001000  68 65 6c 6c 6f 0a                                |hello.|\n"
        );
    }

    #[test]
    fn a_range_that_ends_with_the_address_space_has_a_size() {
        let all = Mapping {
            iova: 0,
            last: u64::MAX,
            access: MemoryAccess::Both,
            backing: MemoryBacking::File,
        };

        assert!(table(&[all]).contains("18446744073709551616  rw      file"));
    }
}
