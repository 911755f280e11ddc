//! DMA to memory that the client mapped without a file: by messages, asynchronously.
//!
//! Nothing here talks to the socket. Accesses put commands into a queue; the worker takes them from there, sends them,
//! and reports the answers.
//!
//! # Reads
//! A read finds its data among the answers, or asks for them and is pending. The model then repeats the whole step, once
//! a turn, until it can be retired. So an answer is kept until
//! - the step that has used it is retired; an unfinished step's answers stay for its repetition;
//! - or a turn passes that does not use it, although an earlier one did: the model needs it no more;
//! - or nobody has used it for `KEPT_FOR`: the step that asked for it may never come again.
//!
//! The client may change the memory behind an answer, so none is kept longer than that.
//!
//! # Writes
//! A write is queued and counts as done. Interrupts that are raised after it wait until the client has acknowledged it:
//! else the driver could look before its memory has changed.

use std::{collections::VecDeque, ops::Range, rc::Rc, time::Duration};

use nic_model::{
    Time,
    bus::{DmaError, Signal},
};

/// Bytes of answers and questions that are kept. Four times the longest segment that the card takes for TSO.
const READ_BYTES: usize = 1 << 20;

/// Number of questions and answers that are kept.
const READ_COUNT: usize = 512;

/// Bytes of unacknowledged writes above which the worker lets the model rest.
const WRITE_BYTES_CONGESTED: usize = 256 << 10;

/// Bytes of unacknowledged writes above which a write is refused.
const WRITE_BYTES: usize = 8 << 20;

/// How long an answer waits for the step that asked for it.
const KEPT_FOR: Duration = Duration::from_millis(20);

/// The number of a read or write; higher ones are later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Serial(u64);

/// What is to be sent to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Ask for memory.
    Read {
        /// To report the answer under.
        serial: Serial,
        /// First address.
        iova: u64,
        /// Bytes.
        len: usize,
    },
    /// Write memory.
    Write {
        /// To report the acknowledgement under.
        serial: Serial,
        /// First address.
        iova: u64,
        /// What to write.
        data: Vec<u8>,
    },
}

impl Command {
    /// To report the answer under.
    #[must_use]
    pub const fn serial(&self) -> Serial {
        match self {
            Self::Read { serial, .. } | Self::Write { serial, .. } => *serial,
        }
    }
}

/// The state of all message DMA.
#[derive(Debug, Default)]
pub struct MessageDma {
    now: Time,
    turn: u64,
    commands: VecDeque<Command>,
    serial: u64,
    step: u64,
    reads: Vec<Read>,
    read_bytes: usize,
    writes: VecDeque<Write>,
    write_bytes: usize,
    held: Vec<Held>,
}

#[derive(Debug)]
struct Read {
    serial: Serial,
    iova: u64,
    len: usize,
    answer: Answer,
    /// The step that asked for it or used it last.
    step: u64,
    /// The turn that used it last.
    used: Option<u64>,
    /// When it was asked for or answered.
    since: Time,
}

impl Read {
    /// Where `iova` lies in it.
    fn offset(&self, iova: u64) -> Option<usize> {
        let offset = usize::try_from(iova.checked_sub(self.iova)?).ok()?;
        (offset < self.len).then_some(offset)
    }

    const fn is_answered(&self) -> bool {
        !matches!(self.answer, Answer::Awaited)
    }
}

#[derive(Clone, Debug)]
enum Answer {
    Awaited,
    Data(Rc<[u8]>),
    Refused,
}

#[derive(Debug)]
struct Write {
    serial: Serial,
    len: usize,
    acknowledged: bool,
}

/// A signal that waits for the writes up to and including `after`.
#[derive(Clone, Copy, Debug)]
struct Held {
    signal: Signal,
    after: Serial,
}

/// What is known of the memory at an address.
enum Known {
    /// The bytes from there on, at least one.
    Bytes { answer: Rc<[u8]>, offset: usize },
    /// So many bytes, at least one, have been asked for.
    Awaited(usize),
}

impl MessageDma {
    /// Tells the time.
    pub fn advance(&mut self, now: Time) {
        self.now = now;
    }

    /// A turn is over in which the model has repeated what was pending: drops answers that it needs no more.
    pub fn end_turn(&mut self) {
        let (now, turn) = (self.now, self.turn);
        self.turn = turn.wrapping_add(1);
        if self.reads.is_empty() {
            return;
        }
        self.drop_reads(|read| {
            read.is_answered()
                && match read.used {
                    Some(used) => used != turn,
                    None => now.since(read.since) > KEPT_FOR,
                }
        });
    }

    /// Reads `len` bytes at `iova` and gives them to `each` in pieces, in order.
    ///
    /// # Errors
    /// [`DmaError::Pending`] until all answers are there, [`DmaError::Refused`] if the client refused one. `each` may
    /// then have been called for a part.
    pub fn read(
        &mut self,
        iova: u64,
        len: usize,
        mut each: impl FnMut(&Rc<[u8]>, Range<usize>),
    ) -> Result<(), DmaError> {
        let mut at = iova;
        let mut left = len;
        let mut complete = true;
        while left > 0 {
            let count = match self.look_up(at, left)? {
                Known::Bytes { answer, offset } => {
                    let count = answer.len().saturating_sub(offset).min(left);
                    each(&answer, offset..offset.saturating_add(count));
                    count
                }
                Known::Awaited(count) => {
                    complete = false;
                    count.min(left)
                }
            };
            at = at.wrapping_add(count as u64);
            left = left.saturating_sub(count);
        }
        if complete {
            return Ok(());
        }
        self.step = self.step.wrapping_add(1);
        Err(DmaError::Pending)
    }

    fn look_up(&mut self, iova: u64, wanted: usize) -> Result<Known, DmaError> {
        let found = self
            .reads
            .iter_mut()
            .find_map(|read| read.offset(iova).map(|offset| (read, offset)));
        let Some((read, offset)) = found else {
            return self.ask(iova, wanted);
        };
        read.step = self.step;
        read.used = Some(self.turn);
        match read.answer.clone() {
            Answer::Awaited => Ok(Known::Awaited(read.len.saturating_sub(offset))),
            Answer::Data(answer) => Ok(Known::Bytes { answer, offset }),
            Answer::Refused => {
                let serial = read.serial;
                self.drop_reads(|read| read.serial == serial);
                Err(DmaError::Refused { iova })
            }
        }
    }

    fn ask(&mut self, iova: u64, len: usize) -> Result<Known, DmaError> {
        let fits = |dma: &Self| {
            dma.reads.len() < READ_COUNT && dma.read_bytes.saturating_add(len) <= READ_BYTES
        };
        if !fits(self) {
            let step = self.step;
            self.drop_reads(|read| read.is_answered() && read.step != step);
        }
        if !fits(self) {
            let some_awaited = self.reads.iter().any(|read| !read.is_answered());
            return Err(if some_awaited {
                self.step = self.step.wrapping_add(1);
                DmaError::Pending
            } else {
                DmaError::Refused { iova }
            });
        }
        let serial = self.next_serial();
        self.read_bytes = self.read_bytes.saturating_add(len);
        self.reads.push(Read {
            serial,
            iova,
            len,
            answer: Answer::Awaited,
            step: self.step,
            used: None,
            since: self.now,
        });
        self.commands.push_back(Command::Read { serial, iova, len });
        Ok(Known::Awaited(len))
    }

    /// The client has answered a read, or refused it.
    pub fn read_done(&mut self, serial: Serial, data: Option<&[u8]>) {
        let now = self.now;
        if let Some(read) = self.reads.iter_mut().find(|read| read.serial == serial) {
            read.answer = match data {
                Some(data) if data.len() == read.len => Answer::Data(data.into()),
                _ => Answer::Refused,
            };
            read.used = None;
            read.since = now;
        }
    }

    /// The step is over for good: what it used is dropped.
    pub fn retire(&mut self) {
        let step = self.step;
        if !self.reads.is_empty() {
            self.drop_reads(|read| !matches!(read.answer, Answer::Awaited) && read.step == step);
        }
        self.step = step.wrapping_add(1);
    }

    fn drop_reads(&mut self, which: impl Fn(&Read) -> bool) {
        self.reads.retain(|read| !which(read));
        self.read_bytes = self
            .reads
            .iter()
            .fold(0, |sum, read| sum.saturating_add(read.len));
    }

    /// Writes `data` at `iova`, later.
    ///
    /// # Errors
    /// [`DmaError::Refused`] if the client is so far behind with its acknowledgements that no more is kept.
    pub fn write(&mut self, iova: u64, data: &[u8]) -> Result<(), DmaError> {
        if self.write_bytes.saturating_add(data.len()) > WRITE_BYTES {
            return Err(DmaError::Refused { iova });
        }
        let serial = self.next_serial();
        self.write_bytes = self.write_bytes.saturating_add(data.len());
        self.writes.push_back(Write {
            serial,
            len: data.len(),
            acknowledged: false,
        });
        self.commands.push_back(Command::Write {
            serial,
            iova,
            data: data.to_vec(),
        });
        Ok(())
    }

    /// The client has acknowledged a write, or refused it: it is over. Signals that waited for it alone go to
    /// `deliver`.
    pub fn write_done(&mut self, serial: Serial, deliver: impl FnMut(Signal)) {
        if let Ok(place) = self
            .writes
            .binary_search_by_key(&serial, |write| write.serial)
            && let Some(write) = self.writes.get_mut(place)
        {
            write.acknowledged = true;
        }
        while let Some(write) = self.writes.pop_front_if(|write| write.acknowledged) {
            self.write_bytes = self.write_bytes.saturating_sub(write.len);
        }
        let oldest = self.writes.front().map(|write| write.serial);
        self.held
            .extract_if(.., |held| oldest.is_none_or(|oldest| held.after < oldest))
            .map(|held| held.signal)
            .for_each(deliver);
    }

    /// Whether `signal` was taken to be delivered after the writes that are under way. If not, it can be delivered at
    /// once.
    pub fn hold(&mut self, signal: Signal) -> bool {
        if signal == Signal::IntxDeassert {
            self.held.retain(|held| held.signal != Signal::IntxAssert);
            return false;
        }
        let Some(after) = self.writes.back().map(|write| write.serial) else {
            return false;
        };
        // The first stays where it is, or a stream of writes would put it off for ever. One more, after the last
        // write, stands for all others.
        let mut of_signal = self.held.iter_mut().filter(|held| held.signal == signal);
        let _first = of_signal.next();
        match of_signal.next() {
            Some(second) => second.after = after,
            None => self.held.push(Held { signal, after }),
        }
        true
    }

    /// The client takes memory back: drops all answers, also those still to come.
    pub fn forget_answers(&mut self) {
        self.drop_reads(|_| true);
    }

    /// Whether so many writes are under way that no new work should be begun.
    #[must_use]
    pub fn is_congested(&self) -> bool {
        self.write_bytes > WRITE_BYTES_CONGESTED
    }

    /// Whether the client still has to acknowledge writes; signals may wait for them.
    #[must_use]
    pub fn has_writes(&self) -> bool {
        !self.writes.is_empty()
    }

    /// The next command to send.
    pub fn next_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// Puts a command back that could not be sent now.
    pub fn put_back(&mut self, command: Command) {
        self.commands.push_front(command);
    }

    fn next_serial(&mut self) -> Serial {
        self.serial = self.serial.wrapping_add(1);
        Serial(self.serial)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(dma: &mut MessageDma, iova: u64, len: usize) -> Result<Vec<u8>, DmaError> {
        let mut all = Vec::new();
        dma.read(iova, len, |answer, range| {
            all.extend_from_slice(&answer[range]);
        })?;
        Ok(all)
    }

    fn asked(dma: &mut MessageDma) -> Vec<(Serial, u64, usize)> {
        let commands = std::iter::from_fn(|| dma.next_command());
        commands
            .map(|command| match command {
                Command::Read { serial, iova, len } => (serial, iova, len),
                Command::Write { .. } => panic!("a write among reads"),
            })
            .collect()
    }

    fn written(dma: &mut MessageDma) -> Vec<(Serial, u64, Vec<u8>)> {
        let commands = std::iter::from_fn(|| dma.next_command());
        commands
            .map(|command| match command {
                Command::Write { serial, iova, data } => (serial, iova, data),
                Command::Read { .. } => panic!("a read among writes"),
            })
            .collect()
    }

    #[test]
    fn a_read_is_pending_until_the_answer_is_there() {
        let mut dma = MessageDma::default();

        assert_eq!(read(&mut dma, 0x1000, 4), Err(DmaError::Pending));
        let questions = asked(&mut dma);
        assert_eq!(read(&mut dma, 0x1000, 4), Err(DmaError::Pending));
        assert_eq!(asked(&mut dma), []);
        dma.read_done(questions[0].0, Some(b"abcd"));

        assert_eq!((questions[0].1, questions[0].2), (0x1000, 4));
        assert_eq!(read(&mut dma, 0x1000, 4), Ok(b"abcd".to_vec()));
        assert_eq!(read(&mut dma, 0x1001, 2), Ok(b"bc".to_vec()));
    }

    #[test]
    fn a_read_that_is_known_in_part_asks_for_the_rest() {
        let mut dma = MessageDma::default();
        assert_eq!(read(&mut dma, 0x1000, 2), Err(DmaError::Pending));
        let first = asked(&mut dma);
        dma.read_done(first[0].0, Some(b"ab"));

        assert_eq!(read(&mut dma, 0x1001, 4), Err(DmaError::Pending));

        let second = asked(&mut dma);
        assert_eq!((second[0].1, second[0].2), (0x1002, 3));
        dma.read_done(second[0].0, Some(b"cde"));
        assert_eq!(read(&mut dma, 0x1001, 4), Ok(b"bcde".to_vec()));
    }

    #[test]
    fn a_step_that_retires_keeps_what_another_step_still_waits_for() {
        let mut dma = MessageDma::default();
        assert_eq!(read(&mut dma, 0x1000, 1), Err(DmaError::Pending));
        let first = asked(&mut dma);
        dma.read_done(first[0].0, Some(b"d"));
        assert_eq!(read(&mut dma, 0x1000, 1), Ok(b"d".to_vec()));
        assert_eq!(read(&mut dma, 0x2000, 1), Err(DmaError::Pending));

        dma.retire();

        assert_eq!(read(&mut dma, 0x1000, 1), Ok(b"d".to_vec()));
    }

    #[test]
    fn a_retired_step_drops_what_it_used_so_that_it_is_read_anew() {
        let mut dma = MessageDma::default();
        assert_eq!(read(&mut dma, 0x1000, 1), Err(DmaError::Pending));
        let question = asked(&mut dma);
        dma.read_done(question[0].0, Some(b"d"));
        assert_eq!(read(&mut dma, 0x1000, 1), Ok(b"d".to_vec()));

        dma.retire();

        assert_eq!(read(&mut dma, 0x1000, 1), Err(DmaError::Pending));
        assert_eq!(asked(&mut dma).len(), 1);
    }

    #[test]
    fn an_answer_that_nobody_comes_for_is_dropped_after_a_while() {
        let mut dma = MessageDma::default();
        assert_eq!(read(&mut dma, 0x1000, 1), Err(DmaError::Pending));
        let question = asked(&mut dma);
        dma.read_done(question[0].0, Some(b"d"));

        dma.end_turn();
        dma.end_turn();
        let soon = dma.reads.len();
        dma.advance(Time::ZERO + KEPT_FOR + Duration::from_nanos(1));
        dma.end_turn();

        assert_eq!(soon, 1);
        assert_eq!(read(&mut dma, 0x1000, 1), Err(DmaError::Pending));
        assert_eq!(asked(&mut dma).len(), 1);
    }

    #[test]
    fn an_answer_is_kept_as_long_as_each_turn_uses_it() {
        let mut dma = MessageDma::default();
        assert_eq!(read(&mut dma, 0x1000, 1), Err(DmaError::Pending));
        let question = asked(&mut dma);
        dma.read_done(question[0].0, Some(b"d"));

        assert_eq!(read(&mut dma, 0x1000, 1), Ok(b"d".to_vec()));
        assert_eq!(read(&mut dma, 0x2000, 1), Err(DmaError::Pending));
        dma.end_turn();
        assert_eq!(read(&mut dma, 0x1000, 1), Ok(b"d".to_vec()));
        dma.end_turn();
        assert_eq!(dma.reads.len(), 2);
        dma.end_turn();

        assert_eq!(read(&mut dma, 0x1000, 1), Err(DmaError::Pending));
    }

    #[test]
    fn a_refused_read_is_refused_once_and_then_asked_for_again() {
        let mut dma = MessageDma::default();
        assert_eq!(read(&mut dma, 0x1000, 8), Err(DmaError::Pending));
        let question = asked(&mut dma);
        dma.read_done(question[0].0, None);

        let refused = read(&mut dma, 0x1000, 8);

        assert_eq!(refused, Err(DmaError::Refused { iova: 0x1000 }));
        assert_eq!(read(&mut dma, 0x1000, 8), Err(DmaError::Pending));
    }

    #[test]
    fn an_access_that_is_larger_than_what_may_be_kept_is_refused() {
        let mut dma = MessageDma::default();

        let refused = read(&mut dma, 0x1000, READ_BYTES + 1);

        assert_eq!(refused, Err(DmaError::Refused { iova: 0x1000 }));
    }

    #[test]
    fn old_answers_make_room_for_a_new_question() {
        let mut dma = MessageDma::default();
        assert_eq!(read(&mut dma, 0, READ_BYTES), Err(DmaError::Pending));
        let old = asked(&mut dma);
        dma.read_done(old[0].0, Some(&vec![0; READ_BYTES]));

        assert_eq!(read(&mut dma, 0x9000_0000, 1), Err(DmaError::Pending));

        assert_eq!(asked(&mut dma).len(), 1);
    }

    #[test]
    fn a_signal_waits_for_the_writes_before_it_and_not_for_those_after_it() {
        let mut dma = MessageDma::default();
        let mut delivered = Vec::new();
        dma.write(0x1000, b"before").unwrap();
        assert!(dma.hold(Signal::MsiX(1)));
        dma.write(0x2000, b"after").unwrap();
        let writes = written(&mut dma);

        dma.write_done(writes[0].0, |signal| delivered.push(signal));

        assert_eq!(delivered, [Signal::MsiX(1)]);
    }

    #[test]
    fn a_signal_that_repeats_between_writes_comes_at_once_and_once_more_at_the_end() {
        let mut dma = MessageDma::default();
        let mut delivered = Vec::new();
        dma.write(0x1000, b"1").unwrap();
        dma.hold(Signal::MsiX(1));
        dma.write(0x1000, b"2").unwrap();
        dma.hold(Signal::MsiX(1));
        dma.write(0x1000, b"3").unwrap();
        dma.hold(Signal::MsiX(1));
        let writes = written(&mut dma);

        dma.write_done(writes[0].0, |signal| delivered.push(signal));
        let after_first = delivered.len();
        dma.write_done(writes[1].0, |signal| delivered.push(signal));
        let after_second = delivered.len();
        dma.write_done(writes[2].0, |signal| delivered.push(signal));

        assert_eq!((after_first, after_second, delivered.len()), (1, 1, 2));
    }

    #[test]
    fn acknowledgements_out_of_order_release_a_signal_only_with_the_last() {
        let mut dma = MessageDma::default();
        let mut delivered = Vec::new();
        dma.write(0x1000, b"1").unwrap();
        dma.write(0x2000, b"2").unwrap();
        dma.hold(Signal::Msi);
        let writes = written(&mut dma);

        dma.write_done(writes[1].0, |signal| delivered.push(signal));
        let early = delivered.len();
        dma.write_done(writes[0].0, |signal| delivered.push(signal));

        assert_eq!(early, 0);
        assert_eq!(delivered, [Signal::Msi]);
    }

    #[test]
    fn an_intx_pin_that_was_lowered_before_its_turn_is_not_raised() {
        let mut dma = MessageDma::default();
        let mut delivered = Vec::new();
        dma.write(0x1000, b"1").unwrap();
        assert!(dma.hold(Signal::IntxAssert));

        assert!(!dma.hold(Signal::IntxDeassert));

        let writes = written(&mut dma);
        dma.write_done(writes[0].0, |signal| delivered.push(signal));
        assert_eq!(delivered, []);
    }

    #[test]
    fn without_writes_under_way_a_signal_is_not_held() {
        let mut dma = MessageDma::default();

        assert!(!dma.hold(Signal::Msi));
    }

    #[test]
    fn writes_that_are_never_acknowledged_congest_and_are_refused_in_the_end() {
        let mut dma = MessageDma::default();
        let block = vec![0; WRITE_BYTES_CONGESTED];

        dma.write(0, &block).unwrap();
        let at_limit = dma.is_congested();
        dma.write(0, &[0]).unwrap();

        assert!(!at_limit);
        assert!(dma.is_congested());
        assert_eq!(
            dma.write(0x5000, &vec![0; WRITE_BYTES]),
            Err(DmaError::Refused { iova: 0x5000 })
        );
    }
}
