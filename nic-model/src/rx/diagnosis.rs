//! A look into the receive packet buffers (8.2.3.26).
//!
//! Public manuals have no more of these registers than their names and places. Here they count lines of 16 bytes, which is
//! what the four elements of RXBUFDATA hold. Of each packet buffer RXRDPTR is the line where the frame begins that is next,
//! RXWRPTR the line where the next frame to wait will begin, and RXUSED the number of lines between them. RXBUFCTRL chooses
//! a line (14:0) of a packet buffer (18:16), whose bytes RXBUFDATA shows. A frame begins with a line of its own. A line
//! where no frame waits reads 0; frames that find their descriptors at once leave no trace.

use ixgbe_spec::register::{Reg, bits::rxbufctrl};

use super::{Receive, buffer::PacketBuffer, capacity};
use crate::regs::RegisterFile;

impl Receive {
    /// Software reads a register of diagnosis.
    pub(crate) fn diagnose(&self, reg: Reg, index: usize, regs: &mut RegisterFile) -> u32 {
        let class = match reg {
            Reg::RXRDPTR | Reg::RXWRPTR | Reg::RXUSED => index,
            Reg::RXBUFDATA => {
                let chosen = regs.get(Reg::RXBUFCTRL, 0) >> rxbufctrl::BUFFER_SHIFT;
                (chosen & rxbufctrl::BUFFER_MASK) as usize
            }
            _ => return regs.read(reg, index),
        };
        let Some(buffer) = self.buffers.get(class) else {
            return 0;
        };
        let lines = PacketBuffer::lines_of(capacity(class, regs)).max(1);
        let first = buffer.first_line() % lines;
        let value = match reg {
            Reg::RXRDPTR => first,
            Reg::RXWRPTR => (first + buffer.used_lines()) % lines,
            Reg::RXUSED => buffer.used_lines(),
            _ => {
                let line = (regs.get(Reg::RXBUFCTRL, 0) & rxbufctrl::LINE) as usize % lines;
                let behind_first = (line + lines - first) % lines;
                return word(buffer.line(behind_first), index);
            }
        };
        u32::try_from(value).unwrap_or(u32::MAX)
    }
}

/// A quarter of a line.
fn word(line: [u8; PacketBuffer::LINE], index: usize) -> u32 {
    let (words, _) = line.as_chunks();
    words
        .get(index)
        .map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use ixgbe_spec::register::Reg;

    use crate::{port::tests::world::World, testing::TestBus};

    const RING: u64 = TestBus::BASE;
    const BUFFERS: u64 = RING + 0x1000;
    /// Of 1 KB.
    const LINES: u32 = 64;

    /// Two frames of 100 bytes wait in the packet buffer of class 0, which has 1 KB.
    fn waiting() -> World {
        let mut world = World::enabled();
        world.set(Reg::RDBAL, u32::try_from(RING).unwrap());
        world.set(Reg::RDLEN, 128);
        world.set(Reg::SRRCTL, 1 << 25 | 2);
        world.set(Reg::RXDCTL, 1 << 25);
        world.set(Reg::RXPBSIZE, 1 << 10);
        world.set(Reg::RXCTRL, 1);
        world.set(Reg::FCTRL, 1 << 10);
        receive(&mut world, 2);
        world
    }

    fn receive(world: &mut World, count: u8) {
        for number in 1..=count {
            let mut frame = vec![number; 100];
            frame[..6].fill(0xFF);
            frame[12..14].copy_from_slice(&[0x88, 0xB5]);
            world.receive(&frame);
        }
    }

    fn place(world: &mut World) -> [u32; 3] {
        [Reg::RXRDPTR, Reg::RXWRPTR, Reg::RXUSED].map(|reg| world.get(reg))
    }

    fn line(world: &mut World, line: u32) -> Vec<u8> {
        world.set(Reg::RXBUFCTRL, line);
        (0..4)
            .flat_map(|n| world.get_at(Reg::RXBUFDATA, n).to_le_bytes())
            .collect()
    }

    #[test]
    fn frames_that_wait_lie_in_lines_of_16_bytes() {
        let mut world = waiting();

        assert_eq!(place(&mut world), [0, 14, 14]);
        let first = [
            0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1, 1, 1, 1, 1, 1, 0x88, 0xB5, 1, 1,
        ];
        assert_eq!(line(&mut world, 0), first);
        assert_eq!(line(&mut world, 8), [2; 16]);
        let last = [2, 2, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(line(&mut world, 13), last);
        assert_eq!(line(&mut world, 14), [0; 16]);
        assert_eq!(line(&mut world, 1 << 16), [0; 16], "the next buffer");
    }

    #[test]
    fn the_pointers_go_on_with_the_frames_and_begin_anew_at_the_end() {
        let mut world = waiting();
        receive(&mut world, 6);
        let full = place(&mut world);
        for n in 0..7 {
            let at = BUFFERS + 2048 * n;
            world.bus.poke(RING + 16 * n, &at.to_le_bytes());
        }

        world.set(Reg::RDT, 7);
        world.step();
        let after_seven = place(&mut world);
        receive(&mut world, 1);

        assert_eq!(full, [0, 56, 56]);
        assert_eq!(after_seven, [49, 56, 7]);
        assert_eq!(place(&mut world), [49, 63, 14]);
        receive(&mut world, 1);
        assert_eq!(place(&mut world), [49, 70 - LINES, 21]);
        assert_eq!(line(&mut world, 0)[..4], [1; 4], "its second line");
    }
}
