//! A program for XDP in BPF's instruction set (RFC 9669), as the object file that `ip link` loads.

use anyhow::Result;
use object::{
    Architecture, BinaryFormat, Endianness, SectionKind, SymbolFlags, SymbolKind, SymbolScope,
    write::{Object, Symbol, SymbolSection},
};

/// The section that holds the program.
pub const SECTION: &str = "xdp";

/// What the program does with a frame of [`guest_tests::frames::numbered`]: the last digit of its number says it. All
/// other frames are passed to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Gone.
    Drop,
    /// Sent back through the port it came from, with both addresses swapped.
    SendBack,
    /// Sent as it is by the interface that the program was made for.
    Redirect,
    /// For the kernel.
    Pass,
}

impl Verdict {
    /// The frame number `count` of those that get this verdict.
    pub fn number(self, count: usize) -> usize {
        10 * count
            + match self {
                Self::Drop => 1,
                Self::SendBack => 2,
                Self::Redirect => 3,
                Self::Pass => 4,
            }
    }

    /// The byte by which the program knows it.
    fn digit(self) -> i32 {
        i32::from(b'0') + i32::try_from(self.number(0)).unwrap_or_default()
    }
}

/// An instruction: opcode, destination and source register, offset, immediate value.
struct Instruction(u8, u8, u8, i16, i32);

impl Instruction {
    fn bytes(&self) -> [u8; 8] {
        let Self(opcode, destination, source, offset, immediate) = self;
        let [low, high] = offset.to_le_bytes();
        let [a, b, c, d] = immediate.to_le_bytes();
        [*opcode, source << 4 | destination, low, high, a, b, c, d]
    }
}

const LOAD_32: u8 = 0x61;
const LOAD_16: u8 = 0x69;
const LOAD_8: u8 = 0x71;
const STORE_32: u8 = 0x63;
const STORE_16: u8 = 0x6B;
const ADD: u8 = 0x07;
const SET: u8 = 0xB7;
const COPY: u8 = 0xBF;
const JUMP_IF_GREATER: u8 = 0x2D;
const JUMP_IF_EQUAL: u8 = 0x15;
const JUMP_IF_NOT_EQUAL: u8 = 0x55;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;
/// The kernel's function bpf_redirect (linux/bpf.h).
const REDIRECT: i32 = 23;

// What a program returns (linux/bpf.h).
const XDP_DROP: i32 = 1;
const XDP_PASS: i32 = 2;
const XDP_TX: i32 = 3;

/// The program whose [`Verdict::Redirect`] leads to the interface with this index.
fn program(interface: i32) -> Vec<u8> {
    // Register 1 points to the context: where the frame begins and ends.
    let head = [
        Instruction(LOAD_32, 2, 1, 0, 0),
        Instruction(LOAD_32, 3, 1, 4, 0),
        Instruction(SET, 0, 0, 0, XDP_PASS),
        Instruction(COPY, 4, 2, 0, 0),
        Instruction(ADD, 4, 0, 0, 60),
    ];
    let drop = [
        Instruction(SET, 0, 0, 0, XDP_DROP),
        Instruction(EXIT, 0, 0, 0, 0),
    ];
    let send_back = [
        Instruction(LOAD_32, 4, 2, 0, 0),
        Instruction(LOAD_16, 5, 2, 4, 0),
        Instruction(LOAD_32, 6, 2, 6, 0),
        Instruction(LOAD_16, 7, 2, 10, 0),
        Instruction(STORE_32, 2, 6, 0, 0),
        Instruction(STORE_16, 2, 7, 4, 0),
        Instruction(STORE_32, 2, 4, 6, 0),
        Instruction(STORE_16, 2, 5, 10, 0),
        Instruction(SET, 0, 0, 0, XDP_TX),
        Instruction(EXIT, 0, 0, 0, 0),
    ];
    let redirect = [
        Instruction(SET, 1, 0, 0, interface),
        Instruction(SET, 2, 0, 0, 0),
        Instruction(CALL, 0, 0, 0, REDIRECT),
        Instruction(EXIT, 0, 0, 0, 0),
    ];
    // Offsets count from the next instruction.
    let choice = [
        Instruction(JUMP_IF_GREATER, 4, 3, 6, 0),
        Instruction(LOAD_16, 5, 2, 12, 0),
        // The ethertype 88-B5, as it is read from memory.
        Instruction(JUMP_IF_NOT_EQUAL, 5, 0, 4, 0xB588),
        // The last digit of `<frame 000000>`.
        Instruction(LOAD_8, 5, 2, 26, 0),
        Instruction(JUMP_IF_EQUAL, 5, 0, 3, Verdict::Drop.digit()),
        Instruction(JUMP_IF_EQUAL, 5, 0, 4, Verdict::SendBack.digit()),
        Instruction(JUMP_IF_EQUAL, 5, 0, 13, Verdict::Redirect.digit()),
        Instruction(EXIT, 0, 0, 0, 0),
    ];
    let parts: [&[Instruction]; 5] = [&head, &choice, &drop, &send_back, &redirect];
    let instructions = parts.into_iter().flatten();
    instructions.flat_map(Instruction::bytes).collect()
}

/// The object file of the program.
pub fn object_file(interface: i32) -> Result<Vec<u8>> {
    let mut object = Object::new(BinaryFormat::Elf, Architecture::Bpf, Endianness::Little);
    let code = program(interface);
    let size = code.len() as u64;
    let text = object.add_section(Vec::new(), SECTION.into(), SectionKind::Text);
    object.append_section_data(text, &code, 8);
    object.add_symbol(Symbol {
        name: b"verdict".to_vec(),
        value: 0,
        size,
        kind: SymbolKind::Text,
        scope: SymbolScope::Dynamic,
        weak: false,
        section: SymbolSection::Section(text),
        flags: SymbolFlags::None,
    });
    let license = object.add_section(Vec::new(), b"license".to_vec(), SectionKind::Data);
    object.append_section_data(license, b"Apache-2.0 OR BSD-3-Clause\0", 1);
    Ok(object.write()?)
}
