//! The bounded queue between a port and a client that looks on.
//!
//! The port's thread never waits here: what finds no room is counted as lost.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
        mpsc::{self, SyncSender, TryRecvError, TrySendError},
    },
};

use nix::sys::eventfd::{EfdFlags, EventFd};
use serde::Serialize;

/// What waits for a client.
pub(crate) trait Item: Send {
    /// How much there may be.
    const LIMITS: Limits;

    /// The message that brings several of them.
    type Reply: Serialize;

    /// Bytes of it, as [`Limits`] counts them.
    fn size(&self) -> usize;

    /// Makes a message of some, and of how many were lost since the queue began.
    fn reply(items: Vec<Self>, lost: u64) -> Self::Reply
    where
        Self: Sized;
}

/// How much there may be in a queue, and in a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Items that wait for a client.
    pub(crate) items: usize,
    /// Their bytes.
    pub(crate) bytes: usize,
    /// Items after which a message is full.
    pub(crate) reply_items: usize,
    /// Bytes after which it is.
    pub(crate) reply_bytes: usize,
}

/// Shared by the two ends.
///
/// `bytes`, `lost` and `closed` are each right by themselves, no other memory depends on them, so `Relaxed` is enough.
/// `awake` spares a system call per item: the port's end writes the event only when it turns `awake` on, and the client
/// turns it off before it empties the queue. Its swaps are `SeqCst` against the queue's own operations, so either the
/// client finds the item or the port's end finds `awake` off and writes the event.
#[derive(Debug)]
struct Shared {
    bytes: AtomicUsize,
    lost: AtomicU64,
    closed: AtomicBool,
    awake: AtomicBool,
    event: EventFd,
}

/// A queue's two ends.
///
/// # Errors
/// The system has no descriptor left.
pub(crate) fn queue<T: Item>() -> io::Result<(Sender<T>, Receiver<T>)> {
    let (to, from) = mpsc::sync_channel(T::LIMITS.items);
    let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
    let shared = Arc::new(Shared {
        bytes: AtomicUsize::new(0),
        lost: AtomicU64::new(0),
        closed: AtomicBool::new(false),
        awake: AtomicBool::new(false),
        event: EventFd::from_value_and_flags(0, flags)?,
    });
    let sender = Sender {
        items: to,
        shared: Arc::clone(&shared),
        _end: End(Arc::clone(&shared)),
    };
    let receiver = Receiver {
        items: from,
        shared,
    };
    Ok((sender, receiver))
}

/// The port's end. The queue ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Sender<T> {
    items: SyncSender<T>,
    shared: Arc<Shared>,
    /// After `items`: whoever is woken by it finds that nothing more comes.
    _end: End,
}

/// Wakes the client's thread when the port's end has gone.
#[derive(Debug)]
struct End(Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        let _ = self.0.event.write(1);
    }
}

/// Tells whether the client wants no more.
#[derive(Debug)]
pub(crate) struct Ending(Arc<Shared>);

impl Ending {
    pub(crate) fn has_come(&self) -> bool {
        self.0.closed.load(Ordering::Relaxed)
    }
}

impl<T: Item> Sender<T> {
    /// Whether the client wants no more, or is gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.shared.closed.load(Ordering::Relaxed)
    }

    /// The same, for somebody who does not have this end.
    pub(crate) fn ending(&self) -> Ending {
        Ending(Arc::clone(&self.shared))
    }

    /// Whether so many bytes more may wait.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        let waiting = self.shared.bytes.load(Ordering::Relaxed);
        waiting.saturating_add(bytes) <= T::LIMITS.bytes
    }

    /// Counts an item that was not even made, since there is no room for it.
    pub(crate) fn lose(&self) {
        self.shared.lost.fetch_add(1, Ordering::Relaxed);
    }

    /// Puts an item in, or counts it as lost. Whether it is in.
    pub(crate) fn push(&self, item: T) -> bool {
        let shared = &self.shared;
        let bytes = item.size();
        if !self.has_room(bytes) {
            self.lose();
            return false;
        }
        shared.bytes.fetch_add(bytes, Ordering::Relaxed);
        match self.items.try_send(item) {
            Ok(()) => {
                if !shared.awake.swap(true, Ordering::SeqCst) {
                    // A full counter means that the client has been woken already.
                    let _ = shared.event.write(1);
                }
                true
            }
            Err(error) => {
                shared.bytes.fetch_sub(bytes, Ordering::Relaxed);
                match error {
                    TrySendError::Full(_) => self.lose(),
                    TrySendError::Disconnected(_) => shared.closed.store(true, Ordering::Relaxed),
                }
                false
            }
        }
    }
}

/// The client thread's end. The port's end finds the queue closed when it is dropped.
#[derive(Debug)]
pub(crate) struct Receiver<T> {
    items: mpsc::Receiver<T>,
    shared: Arc<Shared>,
}

/// Whether items can still come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// They can.
    Open,
    /// The port's end is gone.
    Gone,
}

impl<T: Item> Receiver<T> {
    /// Readable when there are items.
    pub(crate) fn event_fd(&self) -> BorrowedFd<'_> {
        self.shared.event.as_fd()
    }

    /// Takes note of the event. To be called before the queue is emptied with [`Receiver::take`].
    pub(crate) fn clear_event(&self) {
        // Nothing to clear is as good.
        let _ = self.shared.event.read();
        self.shared.awake.swap(false, Ordering::SeqCst);
    }

    /// Lets no further item in; what is there can still be taken.
    pub(crate) fn close(&self) {
        self.shared.closed.store(true, Ordering::Relaxed);
    }

    /// What is there, up to a message. Nothing means that there is no more now.
    pub(crate) fn take(&self) -> (Vec<T>, Source) {
        let mut items = Vec::new();
        let (mut bytes, mut source) = (0, Source::Open);
        while items.len() < T::LIMITS.reply_items && bytes < T::LIMITS.reply_bytes {
            match self.items.try_recv() {
                Ok(item) => {
                    bytes += item.size();
                    items.push(item);
                }
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    source = Source::Gone;
                    break;
                }
            }
        }
        self.shared.bytes.fetch_sub(bytes, Ordering::Relaxed);
        (items, source)
    }

    /// Items that were lost since the queue began.
    pub(crate) fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Eq)]
    struct Small(usize);

    impl Item for Small {
        const LIMITS: Limits = Limits {
            items: 5,
            bytes: 100,
            reply_items: 3,
            reply_bytes: 50,
        };
        type Reply = u64;

        fn size(&self) -> usize {
            self.0
        }

        fn reply(_: Vec<Self>, lost: u64) -> u64 {
            lost
        }
    }

    fn filled(sizes: &[usize]) -> (Sender<Small>, Receiver<Small>) {
        let (sender, receiver) = queue().unwrap();
        for size in sizes {
            sender.push(Small(*size));
        }
        (sender, receiver)
    }

    #[test]
    fn items_come_in_order_in_messages_of_limited_number_and_size() {
        let (_sender, receiver) = filled(&[1, 2, 3, 49, 10]);

        let of_number = receiver.take();
        let of_size = receiver.take();

        assert_eq!(of_number.0, [Small(1), Small(2), Small(3)]);
        assert_eq!(of_size.0, [Small(49), Small(10)]);
    }

    #[test]
    fn items_beyond_the_number_are_lost_and_counted() {
        let (_sender, receiver) = filled(&[1; 7]);

        assert_eq!(receiver.lost(), 2);
    }

    #[test]
    fn bytes_beyond_the_queue_are_lost_until_the_client_has_taken_some() {
        let (sender, receiver) = filled(&[60, 50]);

        let before = receiver.lost();
        receiver.take();
        let taken = sender.push(Small(50));
        let refused = sender.push(Small(51));

        assert_eq!((taken, refused), (true, false));
        assert_eq!((before, receiver.lost()), (1, 2));
        assert_eq!(receiver.take().0, [Small(50)]);
    }

    #[test]
    fn a_queue_whose_client_is_gone_is_closed() {
        let (sender, receiver) = filled(&[]);
        let ending = sender.ending();

        drop(receiver);

        assert!(sender.is_closed() && ending.has_come());
    }

    #[test]
    fn a_client_whose_port_is_gone_gets_the_rest_and_is_told() {
        let (sender, receiver) = filled(&[1]);
        drop(sender);

        assert_eq!(receiver.take(), (vec![Small(1)], Source::Gone));
    }

    #[test]
    fn the_event_tells_of_an_item_that_comes_after_it_was_cleared() {
        let (sender, receiver) = filled(&[1]);
        receiver.clear_event();
        receiver.take();

        sender.push(Small(2));

        assert_eq!(receiver.shared.event.read(), Ok(1));
    }
}
