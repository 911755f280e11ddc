//! One line: the 16 words of a ring's registers, which are laid out alike for receive and transmit.
//!
//! A driver programs a ring by several stores: off, where it lies, head and tail, on, tail. The worker sees only what
//! stands there when it looks. So it takes a snapshot that did stand there at one moment, and makes of the difference
//! the writes that lead there, in the order in which drivers do it.

use ixgbe_spec::register::{Reg, bits::rxdctl::ENABLE};

use super::words::Words;

/// Words of a line.
pub(super) const WORDS: usize = 16;
/// Bytes from one line to the next.
pub(super) const STRIDE: u32 = Reg::RDBAL.offset(1) - Reg::RDBAL.offset(0);
/// RDH, TDH.
pub(super) const HEAD: usize = place(Reg::RDH);
/// RDT, TDT.
pub(super) const TAIL: usize = place(Reg::RDT);
/// RXDCTL, TXDCTL.
pub(super) const CONTROL: usize = place(Reg::RXDCTL);
/// Where the ring lies and how long it is.
const PLACE: [usize; 3] = [place(Reg::RDBAL), place(Reg::RDBAH), place(Reg::RDLEN)];

/// The order in which words are read: what a driver stores last comes first.
const LAST_FIRST: [usize; WORDS] = [
    TAIL, CONTROL, HEAD, 15, 14, 13, 12, 11, 9, 8, 7, 5, 3, 2, 1, 0,
];

/// Place of a receive queue's register in its line; that of a transmit queue's is the same.
const fn place(reg: Reg) -> usize {
    (reg.offset(0) - Reg::RDBAL.offset(0)) as usize / 4
}

/// Snapshots that are tried before the line is left to the next look.
const ATTEMPTS: usize = 4;

/// The values of a line.
pub(super) type Line = [u32; WORDS];

/// Whether the ring is on.
pub(super) const fn is_enabled(line: &Line) -> bool {
    line[CONTROL] & ENABLE != 0
}

/// What stood in the line at `first` at one moment, if it differs from `known`; `None` also if the client writes so
/// much at the moment that it cannot be told: the next look will.
pub(super) fn changed(words: &impl Words, first: usize, known: &Line) -> Option<Line> {
    // The tail first: it belongs to the ring that is described by what is read after it, or to one before.
    let now = collect(words, first, LAST_FIRST.into_iter());
    let mut rest = now;
    rest[TAIL] = known[TAIL];
    if rest == *known {
        return (now[TAIL] != known[TAIL]).then_some(now);
    }
    // The driver is programming the ring. Of a mixture of before and after, the two orders read different ones.
    for _ in 0..ATTEMPTS {
        let there = collect(words, first, LAST_FIRST.into_iter());
        let back = collect(words, first, LAST_FIRST.into_iter().rev());
        if there == back {
            return Some(there);
        }
    }
    None
}

fn collect(words: &impl Words, first: usize, order: impl Iterator<Item = usize>) -> Line {
    let mut line = [0; WORDS];
    for word in order {
        if let Some(to) = line.get_mut(word) {
            *to = words.load(first + word);
        }
    }
    line
}

/// Does the register writes that make `now` of `known`, as `(word, value)`, in the order in which a driver does them: off,
/// settings, head, on, tail.
pub(super) fn apply(known: &Line, now: &Line, mut write: impl FnMut(usize, u32)) {
    let mut control = known[CONTROL];
    if is_restarted(known, now) {
        control &= !ENABLE;
        write(CONTROL, control);
    }
    for word in (0..WORDS).filter(|word| !matches!(*word, HEAD | CONTROL | TAIL)) {
        if known[word] != now[word] {
            write(word, now[word]);
        }
    }
    if known[HEAD] != now[HEAD] {
        write(HEAD, now[HEAD]);
    } else if is_restarted(known, now) {
        // Drivers begin at 0 again; one that stores the 0 which stands there already is not seen to do so.
        write(HEAD, if is_enabled(now) { now[HEAD] } else { 0 });
    }
    let rung = known[TAIL] != now[TAIL];
    if control != now[CONTROL] {
        if rung {
            // A ring that goes on takes the tail that is there.
            write(TAIL, now[TAIL]);
        }
        write(CONTROL, now[CONTROL]);
    }
    if rung {
        write(TAIL, now[TAIL]);
    }
}

/// Whether the ring was off since, even if nobody has seen it: it lies elsewhere, or begins at another head.
pub(super) fn is_restarted(known: &Line, now: &Line) -> bool {
    let moved = PLACE.into_iter().chain([HEAD]);
    is_enabled(known)
        && (!is_enabled(now) || moved.into_iter().any(|word| known[word] != now[word]))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use loom::{
        model::Builder,
        sync::atomic::{AtomicU32, Ordering},
        thread,
    };

    use super::*;

    const OLD: u32 = 0x1000;
    const NEW: u32 = 0x2000;
    const BASE: usize = PLACE[0];

    fn line(base: u32, head: u32, control: u32, tail: u32) -> Line {
        let mut line = [0; WORDS];
        line[BASE] = base;
        line[HEAD] = head;
        line[CONTROL] = control;
        line[TAIL] = tail;
        line
    }

    fn done(known: &Line, now: &Line) -> Vec<(usize, u32)> {
        let mut done = Vec::new();
        apply(known, now, |word, value| done.push((word, value)));
        done
    }

    #[test]
    fn a_doorbell_is_one_write() {
        let (known, now) = (line(OLD, 0, ENABLE, 1), line(OLD, 0, ENABLE, 2));

        assert_eq!(done(&known, &now), [(TAIL, 2)]);
    }

    #[test]
    fn a_ring_is_set_up_before_it_goes_on_and_rung_after() {
        let (known, now) = (line(0, 0, 0, 0), line(NEW, 3, ENABLE, 9));

        let expected = [
            (BASE, NEW),
            (HEAD, 3),
            (TAIL, 9),
            (CONTROL, ENABLE),
            (TAIL, 9),
        ];
        assert_eq!(done(&known, &now), expected);
    }

    #[test]
    fn a_ring_goes_off_before_its_place_changes_and_begins_at_0() {
        let (known, now) = (line(OLD, 5, ENABLE, 7), line(NEW, 5, 0, 7));

        assert_eq!(done(&known, &now), [(CONTROL, 0), (BASE, NEW), (HEAD, 0)]);
    }

    #[test]
    fn a_ring_that_moved_was_off_even_if_nobody_saw_it() {
        let (known, now) = (line(OLD, 0, ENABLE, 7), line(NEW, 0, ENABLE, 7));

        let expected = [(CONTROL, 0), (BASE, NEW), (HEAD, 0), (CONTROL, ENABLE)];
        assert_eq!(done(&known, &now), expected);
    }

    /// The words that a driver stores to; the others are 0.
    struct Shared([AtomicU32; 4]);

    impl Shared {
        fn place(&self, word: usize) -> Option<&AtomicU32> {
            let at = [BASE, HEAD, CONTROL, TAIL].iter().position(|w| *w == word);
            at.map(|at| &self.0[at])
        }

        fn store(&self, word: usize, value: u32) {
            self.place(word).unwrap().store(value, Ordering::Release);
        }
    }

    impl Words for Shared {
        fn load(&self, word: usize) -> u32 {
            self.place(word).map_or(0, |w| w.load(Ordering::Acquire))
        }

        fn replace(&self, word: usize, current: u32, new: u32) {
            let place = self.place(word).unwrap();
            let _ = place.compare_exchange(current, new, Ordering::AcqRel, Ordering::Relaxed);
        }
    }

    /// A look, as the mirror does it, on a card that is only registers; while the ring is on, it has to be the old one as
    /// it was, or the new one.
    fn look(shared: &Shared, known: &mut Line) {
        let Some(now) = changed(shared, 0, known) else {
            return;
        };
        let mut card = *known;
        apply(known, &now, |word, value| {
            card[word] = value;
            let ring = (card[BASE], card[HEAD]);
            let fits = match ring {
                (OLD, 5) => card[TAIL] == 7,
                (NEW, 0) => matches!(card[TAIL], 0 | 3),
                _ => false,
            };
            assert!(fits || !is_enabled(&card), "{card:?}");
        });
        *known = now;
        if card[HEAD] != now[HEAD] {
            shared.replace(HEAD, now[HEAD], card[HEAD]);
            known[HEAD] = card[HEAD];
        }
    }

    #[test]
    fn a_ring_that_is_programmed_under_the_eyes_of_the_worker_is_never_half_of_each() {
        let mut builder = Builder::new();
        builder.preemption_bound = Some(2);
        builder.check(|| {
            let start = [OLD, 5, ENABLE, 7];
            let shared = Arc::new(Shared(start.map(AtomicU32::new)));
            let driver = {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    shared.store(CONTROL, 0);
                    shared.store(BASE, NEW);
                    shared.store(HEAD, 0);
                    shared.store(TAIL, 0);
                    shared.store(CONTROL, ENABLE);
                    shared.store(TAIL, 3);
                })
            };
            let mut known = line(OLD, 5, ENABLE, 7);
            look(&shared, &mut known);
            look(&shared, &mut known);
            driver.join().unwrap();
            look(&shared, &mut known);
            look(&shared, &mut known);

            assert_eq!(known, line(NEW, 0, ENABLE, 3));
        });
    }
}
