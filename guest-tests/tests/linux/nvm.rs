//! The NVM under Linux: `ethtool -e` reads it, `ethtool -E` writes it and makes the checksum right again.

use anyhow::{Context, Result, ensure};
use guest_tests::linux_world::INTERFACE;

use super::machine::{self, Machine, Test};

/// The tests.
pub const TESTS: &[Test] = tests![
    the_nvm_has_its_size_and_the_board_number,
    a_byte_that_is_written_is_read_back_and_the_checksum_follows,
    a_kilobyte_is_written_page_by_page,
];

/// What the driver wants to be told before it writes: device and vendor.
const MAGIC: &str = "0x10fb8086";

/// Bytes of the NVM from `offset` on.
fn read(machine: &mut Machine, offset: u32, len: u32) -> Result<Vec<u8>> {
    let text = machine.sh(&format!(
        "ethtool -e {INTERFACE} raw on offset {offset} length {len} | od -An -v -tx1"
    ))?;
    let bytes = text.split_whitespace();
    bytes
        .map(|byte| u8::from_str_radix(byte, 16).with_context(|| format!("{byte} in {text}")))
        .collect()
}

fn write(machine: &mut Machine, offset: u32, value: u8) -> Result<()> {
    machine.sh(&format!(
        "ethtool -E {INTERFACE} magic {MAGIC} offset {offset} value {value}"
    ))?;
    Ok(())
}

fn the_nvm_has_its_size_and_the_board_number(machine: &mut Machine) -> Result<()> {
    let text = machine.sh(&format!("ethtool -e {INTERFACE} raw on | wc -c"))?;
    ensure!(text.trim() == "16384", "{} bytes", text.trim());
    // Words 0x15 and 0x16: a string, and where it is; each word of it has its first character in the high byte.
    let pointer = read(machine, 0x2A, 4)?;
    ensure!(pointer[..2] == [0xFA, 0xFA], "{pointer:02x?}");
    let place = 2 * u32::from(u16::from_le_bytes([pointer[2], pointer[3]]));
    let board = read(machine, place + 2, 10)?;
    let board: Vec<u8> = board.chunks(2).flat_map(|two| [two[1], two[0]]).collect();
    ensure!(board == b"E68793-006", "{board:02x?}");
    Ok(())
}

fn a_byte_that_is_written_is_read_back_and_the_checksum_follows(
    machine: &mut Machine,
) -> Result<()> {
    // A reserved word that the checksum covers, and the checksum.
    const WORD: u32 = 2 * 0x20;
    const CHECKSUM: u32 = 2 * 0x3F;
    let before = (read(machine, WORD, 2)?, read(machine, CHECKSUM, 2)?);
    write(machine, WORD, 0x5A)?;
    let word = read(machine, WORD, 2)?;
    ensure!(word == [0x5A, before.0[1]], "{word:02x?}");
    let checksum = read(machine, CHECKSUM, 2)?;
    let number = |bytes: &[u8]| u16::from_le_bytes([bytes[0], bytes[1]]);
    let sum = |word: &[u8], checksum: &[u8]| number(word).wrapping_add(number(checksum));
    ensure!(
        sum(&word, &checksum) == sum(&before.0, &before.1) && checksum != before.1,
        "{before:02x?} before, {word:02x?} and {checksum:02x?} after"
    );
    // The driver refuses a card whose checksum is wrong.
    machine.sh("rmmod ixgbe")?;
    machine::load(machine.world()?)?;
    write(machine, WORD, before.0[0])?;
    ensure!(read(machine, CHECKSUM, 2)? == before.1);
    Ok(())
}

fn a_kilobyte_is_written_page_by_page(machine: &mut Machine) -> Result<()> {
    const PLACE: u32 = 0x3000;
    let before = read(machine, PLACE, 1024)?;
    machine.sh(&format!(
        "dd if=/dev/urandom of=/tmp/nvm bs=1024 count=1 2>/dev/null
         ethtool -E {INTERFACE} magic {MAGIC} offset {PLACE} length 1024 </tmp/nvm
         ethtool -e {INTERFACE} raw on offset {PLACE} length 1024 >/tmp/back; cmp /tmp/nvm /tmp/back"
    ))?;
    let around = [
        read(machine, PLACE - 64, 64)?,
        read(machine, PLACE + 1024, 64)?,
    ];
    ensure!(
        around.iter().flatten().all(|byte| *byte == 0xFF),
        "{around:02x?}"
    );
    machine.sh(&format!(
        "yes '' | tr '\\n' '\\377' | head -c 1024 >/tmp/nvm
         ethtool -E {INTERFACE} magic {MAGIC} offset {PLACE} length 1024 </tmp/nvm"
    ))?;
    ensure!(read(machine, PLACE, 1024)? == before);
    machine::load(machine.world()?)
}
