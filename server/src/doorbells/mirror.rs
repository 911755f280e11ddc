//! The pages beside the port.

use std::{io, os::fd::AsFd, sync::Arc};

use guest_memory::SharedMemory;
use ixgbe_spec::register::{Access, Reg};
use nic_model::{Bar, Port, Time};
use vfio_user::server::{MappableArea, RegionMapping};
use vm_memory::Bytes;
use zerocopy::IntoBytes;

use super::{
    collected::Collected,
    line::{self, CONTROL, HEAD, Line, STRIDE, TAIL, WORDS},
    words::{SharedWords, Words},
};
use crate::device::Card;

/// Lines of the pages: 64 receive queues, 128 transmit queues, 64 receive queues.
const LINES: usize = 256;
/// Where the pages lie in the BAR, and how many lines they have.
const AREAS: [(u32, usize); 3] = [
    (Reg::RDBAL.offset(0), 64),
    (Reg::TDBAL.offset(0), 128),
    (Reg::RDBAL.offset(64), 64),
];
/// The file reaches from the start of the BAR to the end of the last page.
const FILE: usize = (AREAS[2].0 + STRIDE * 64) as usize;

/// How long the tail of a transmit ring that was just enabled may be one of before.
const DOUBT_NANOS: u64 = 10_000_000;

/// How closely to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// At the tails of rings that are on, and whether they still are.
    Rings,
    /// At every word.
    All,
}

/// A register that is shown.
#[derive(Clone, Copy, Debug)]
struct Cell {
    reg: Reg,
    index: usize,
    /// Its place among the [`Row`]s; nothing for a counter that a read clears.
    row: Option<usize>,
}

/// All elements of a register.
#[derive(Debug)]
struct Row {
    reg: Reg,
    /// The word that shows each.
    words: Vec<Option<usize>>,
    /// Their values when they were shown last.
    seen: Vec<u32>,
}

/// The pages of BAR 0 that hold the ring tails, as memory that one client maps.
///
/// Only the worker's thread calls this. The memory is shared with the client's process, which may store anything at any
/// time: each word is read and written once, atomically, and what was read is what is worked with.
#[derive(Debug)]
pub struct Mirror {
    words: SharedWords,
    /// What the pages hold, as far as the worker knows.
    known: Vec<Line>,
    /// What the pages held at the last look.
    copy: Vec<u8>,
    cells: Vec<Option<Cell>>,
    rows: Vec<Row>,
    /// Words of the counters that a read clears.
    counters: Vec<(usize, Cell)>,
    collected: Collected,
    /// Lines of rings that are on.
    live: Vec<usize>,
    /// Transmit rings whose tail may be one of before, and until when that is assumed.
    doubts: Vec<(usize, Time)>,
}

/// Offset in the BAR of the first word of a line.
fn offset_of(line: usize) -> u32 {
    let mut first = 0;
    for (offset, lines) in AREAS {
        if let Some(nth) = line.checked_sub(first)
            && nth < lines
        {
            return offset + STRIDE * u32::try_from(nth).unwrap_or(0);
        }
        first += lines;
    }
    0
}

/// Index in the file of the first word of a line.
fn first_word(line: usize) -> usize {
    offset_of(line) as usize / 4
}

/// Whether the line is a transmit queue's.
const fn is_transmit(line: usize) -> bool {
    line >= AREAS[0].1 && line < AREAS[0].1 + AREAS[1].1
}

impl Mirror {
    /// Memory for one client, which shows the registers of the port.
    ///
    /// # Errors
    /// There is no memory, or no descriptor.
    pub fn new(port: &Port) -> io::Result<Self> {
        let mut cells: Vec<Option<Cell>> = Vec::new();
        let mut rows: Vec<Row> = Vec::new();
        let mut counters = Vec::new();
        for word in 0..LINES * WORDS {
            let place = offset_of(word / WORDS) + 4 * u32::try_from(word % WORDS).unwrap_or(0);
            cells.push(Reg::decode(place).map(|(reg, index)| {
                let mut cell = Cell {
                    reg,
                    index,
                    row: None,
                };
                if reg.row().access == Access::ReadClear {
                    counters.push((word, cell));
                    return cell;
                }
                let nth = rows
                    .iter()
                    .position(|row| row.reg == reg)
                    .unwrap_or_else(|| {
                        rows.push(Row {
                            reg,
                            words: vec![None; reg.count()],
                            seen: vec![0; reg.count()],
                        });
                        rows.len() - 1
                    });
                if let Some(place) = rows.get_mut(nth).and_then(|row| row.words.get_mut(index)) {
                    *place = Some(word);
                }
                cell.row = Some(nth);
                cell
            }));
        }
        let mut mirror = Self {
            words: SharedWords(SharedMemory::new(c"82599-doorbells", FILE)?),
            known: vec![[0; WORDS]; LINES],
            copy: vec![0; LINES * WORDS * 4],
            cells,
            rows,
            counters,
            collected: Collected::default(),
            live: Vec::new(),
            doubts: Vec::new(),
        };
        mirror.show(port);
        Ok(mirror)
    }

    /// What the client is told about BAR 0.
    ///
    /// # Errors
    /// There is no descriptor.
    pub fn region(&self) -> io::Result<RegionMapping> {
        let area = |(offset, lines): (u32, usize)| MappableArea {
            offset: offset.into(),
            size: lines as u64 * u64::from(STRIDE),
        };
        Ok(RegionMapping {
            file: Arc::new(self.words.0.as_fd().try_clone_to_owned()?),
            offset: 0,
            areas: AREAS.into_iter().map(area).collect(),
        })
    }

    /// Takes over what the client has stored since the last look; returns whether that was anything.
    pub fn look(&mut self, look: Look, card: &mut Card<'_>) -> bool {
        match look {
            Look::Rings => self.look_at_rings(card),
            Look::All => self.look_at_all(card),
        }
    }

    fn look_at_rings(&mut self, card: &mut Card<'_>) -> bool {
        let mut any = false;
        let mut nth = 0;
        // A line may come or go meanwhile.
        while let Some(line) = self.live.get(nth).copied() {
            let first = first_word(line);
            let same = self.known.get(line).is_none_or(|known| {
                let same = |word| self.words.load(first + word) == known[word];
                same(TAIL) && same(CONTROL)
            });
            if !same {
                any |= self.attend(line, card);
            }
            nth += 1;
        }
        any
    }

    fn look_at_all(&mut self, card: &mut Card<'_>) -> bool {
        let mut any = self.settle_doubts(card);
        let mut line = 0;
        for (offset, lines) in AREAS {
            let bytes = line * WORDS * 4..(line + lines) * WORDS * 4;
            let Some(copy) = self.copy.get_mut(bytes) else {
                continue;
            };
            // Only to find the lines that differ: what they hold is read again, word by word.
            let there = self.words.0.slice(offset as usize, copy.len());
            let read = there.is_some_and(|there| there.read_slice(copy, 0).is_ok());
            let same = self.known.get(line..line + lines).map(<[Line]>::as_bytes) == Some(copy);
            if read && !same {
                for line in line..line + lines {
                    any |= self.attend(line, card);
                }
            }
            line += lines;
        }
        any
    }

    /// Takes over what has changed in a line.
    fn attend(&mut self, line: usize, card: &mut Card<'_>) -> bool {
        let first = first_word(line);
        let Some(known) = self.known.get(line).copied() else {
            return false;
        };
        let Some(now) = line::changed(&self.words, first, &known) else {
            return false;
        };
        line::apply(&known, &now, |word, value| {
            let offset = 4 * (first + word) as u64;
            card.with(|port, context| {
                port.bar_write(Bar::Csr, offset, &value.to_le_bytes(), context);
            });
        });
        if let Some(known) = self.known.get_mut(line) {
            *known = now;
        }
        let mut told = now;
        told[TAIL] = known[TAIL];
        if told == known {
            self.settle(line, TAIL, card.port);
            return true;
        }
        for word in 0..WORDS {
            self.settle(line, word, card.port);
        }
        self.find_live();
        let started = line::is_enabled(&now)
            && (!line::is_enabled(&known) || line::is_restarted(&known, &now));
        self.doubts.retain(|(doubted, _)| *doubted != line);
        if started && is_transmit(line) && now[TAIL] == known[TAIL] && now[TAIL] != now[HEAD] {
            let until = card.now.plus_nanos(DOUBT_NANOS);
            self.doubts.push((line, until));
        }
        true
    }

    /// A transmit ring that was started again with the tail of before: either the driver has not got to its tail yet, as
    /// DPDK's for a while, or it is a new one of the same value. After some time it is the latter.
    fn settle_doubts(&mut self, card: &mut Card<'_>) -> bool {
        let now = card.now;
        let due = self.doubts.iter().position(|(_, until)| *until <= now);
        let Some((line, _)) = due.map(|nth| self.doubts.swap_remove(nth)) else {
            return false;
        };
        let tail = self.known.get(line).map_or(0, |known| known[TAIL]);
        let offset = 4 * (first_word(line) + TAIL) as u64;
        card.with(|port, context| {
            port.bar_write(Bar::Csr, offset, &tail.to_le_bytes(), context);
        });
        true
    }

    /// Shows what became of a word that was taken over.
    fn settle(&mut self, line: usize, word: usize, port: &Port) {
        let word = line * WORDS + word;
        let Some(cell) = self.cells.get(word).copied().flatten() else {
            self.put(word, 0);
            return;
        };
        let Some(row) = cell.row.and_then(|row| self.rows.get_mut(row)) else {
            self.put(word, self.collected.shown(cell.index).register(cell.reg));
            return;
        };
        let value = port.register(cell.reg, cell.index);
        if let Some(seen) = row.seen.get_mut(cell.index) {
            *seen = value;
        }
        self.put(word, value);
    }

    /// Shows the registers as they are now.
    pub fn show(&mut self, port: &Port) {
        let mut rows = std::mem::take(&mut self.rows);
        let mut any = false;
        for row in &mut rows {
            let values = port.registers(row.reg);
            if values == row.seen {
                continue;
            }
            any = true;
            for ((seen, value), word) in row.seen.iter_mut().zip(values).zip(&row.words) {
                if seen != value
                    && let Some(word) = word
                {
                    self.put(*word, *value);
                }
                *seen = *value;
            }
        }
        self.rows = rows;
        if any {
            self.find_live();
        }
        self.collected.follow(port);
        self.show_counters();
    }

    /// A message reads `read`, or (`None`) does something else, and is to be served after this.
    pub fn message(&mut self, read: Option<u64>, card: &mut Card<'_>) {
        self.look(Look::All, card);
        let read = read.and_then(|offset| Reg::decode(u32::try_from(offset).ok()?));
        self.collected.message(read, card.port);
        self.show_counters();
    }

    fn show_counters(&mut self) {
        for nth in 0..self.counters.len() {
            if let Some((word, cell)) = self.counters.get(nth).copied() {
                self.put(word, self.collected.shown(cell.index).register(cell.reg));
            }
        }
    }

    /// Puts a value where the client has written nothing else meanwhile.
    fn put(&mut self, word: usize, value: u32) {
        let (line, place) = (word / WORDS, word % WORDS);
        let known = self
            .known
            .get_mut(line)
            .and_then(|line| line.get_mut(place));
        if let Some(known) = known
            && *known != value
        {
            self.words.replace(first_word(line) + place, *known, value);
            *known = value;
        }
    }

    fn find_live(&mut self) {
        let lines = self.known.iter().enumerate();
        let live = lines.filter(|(_, line)| line::is_enabled(line));
        self.live.clear();
        self.live.extend(live.map(|(nth, _)| nth));
    }
}
