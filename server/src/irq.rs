//! Interrupts: from the model's signals to the client's eventfds.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ixgbe_spec::pci::MSIX_VECTORS;
use nic_model::bus::Signal;
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    unistd::{read, write},
};

use crate::events::{Registry, Source, Watched};

/// A kind of interrupt, as the client numbers them (`VFIO_PCI_*_IRQ_INDEX`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IrqIndex {
    /// The INTx pin.
    Intx,
    /// MSI.
    Msi,
    /// MSI-X.
    MsiX,
    /// Uncorrectable error. Never raised: QEMU stops the machine.
    Err,
    /// The device asks to be released. Never raised.
    Req,
}

impl IrqIndex {
    /// Number of indices.
    pub const COUNT: u32 = 5;

    /// The index of this number.
    #[must_use]
    pub const fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::Intx,
            1 => Self::Msi,
            2 => Self::MsiX,
            3 => Self::Err,
            4 => Self::Req,
            _ => return None,
        })
    }

    /// Number of vectors.
    #[must_use]
    pub const fn vectors(self) -> u32 {
        match self {
            Self::MsiX => MSIX_VECTORS as u32,
            Self::Intx | Self::Msi | Self::Err | Self::Req => 1,
        }
    }
}

/// All interrupts of the function, as the client has set them up.
#[derive(Debug)]
pub struct Irqs {
    intx: Intx,
    msi: Vec<Vector>,
    msix: Vec<Vector>,
    err: Vec<Vector>,
    req: Vec<Vector>,
    registry: Registry,
    counters: IrqCounters,
}

/// What happened to interrupts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IrqCounters {
    /// Signals given to the client.
    pub delivered: u64,
    /// Signals kept because the vector is masked or has no eventfd yet.
    pub held: u64,
    /// Eventfds that could not be written.
    pub failed: u64,
}

impl Irqs {
    /// No interrupt is set up. `registry` is told about the eventfd by which a client unmasks INTx.
    #[must_use]
    pub fn new(registry: Registry) -> Self {
        let vectors = |index: IrqIndex| (0..index.vectors()).map(|_| Vector::default()).collect();
        Self {
            intx: Intx::default(),
            msi: vectors(IrqIndex::Msi),
            msix: vectors(IrqIndex::MsiX),
            err: vectors(IrqIndex::Err),
            req: vectors(IrqIndex::Req),
            registry,
            counters: IrqCounters::default(),
        }
    }

    /// What happened so far.
    #[must_use]
    pub const fn counters(&self) -> IrqCounters {
        self.counters
    }

    /// Delivers a signal of the model, or keeps it until the client can take it.
    pub fn signal(&mut self, signal: Signal) {
        match signal {
            Signal::IntxAssert => {
                self.intx.asserted = true;
                self.intx.deliver(&mut self.counters);
            }
            Signal::IntxDeassert => self.intx.asserted = false,
            Signal::Msi => {
                if let Some(vector) = self.msi.first_mut() {
                    vector.raise(&mut self.counters);
                }
            }
            Signal::MsiX(number) => {
                if let Some(vector) = self.msix.get_mut(usize::from(number)) {
                    vector.raise(&mut self.counters);
                }
            }
        }
    }

    /// MSI-X vectors that were raised and could not be delivered, one bit each, as the pending bit array shows them.
    #[must_use]
    pub fn msix_pending(&self) -> u64 {
        self.msix
            .iter()
            .enumerate()
            .filter(|(_, vector)| vector.pending)
            .fold(0, |bits, (number, _)| bits | 1 << number)
    }

    /// Gives vectors from `start` on their eventfds; `None` takes a vector's eventfd away.
    pub fn set_eventfds(
        &mut self,
        index: IrqIndex,
        start: u32,
        fds: impl IntoIterator<Item = Option<OwnedFd>>,
    ) {
        if index == IrqIndex::Intx {
            for fd in fds {
                self.intx.enable(fd.map(Eventfd::new), &mut self.counters);
            }
            return;
        }
        let Ok(start) = usize::try_from(start) else {
            return;
        };
        let (vectors, counters) = self.vectors(index);
        for (vector, fd) in vectors.iter_mut().skip(start).zip(fds) {
            vector.fd = fd.map(Eventfd::new);
            vector.deliver(counters);
        }
    }

    /// Takes all eventfds of an index away and forgets what was kept for it.
    pub fn disable(&mut self, index: IrqIndex) {
        if index == IrqIndex::Intx {
            let asserted = self.intx.asserted;
            self.intx = Intx {
                asserted,
                ..Intx::default()
            };
            return;
        }
        self.vectors(index).0.fill_with(Vector::default);
    }

    /// Takes everything away: the client is gone.
    pub fn disable_all(&mut self) {
        self.intx = Intx::default();
        for index in [IrqIndex::Msi, IrqIndex::MsiX, IrqIndex::Err, IrqIndex::Req] {
            self.disable(index);
        }
    }

    /// Signals a vector's eventfd on the client's own request, as if the device had raised the vector.
    pub fn trigger(&mut self, index: IrqIndex, vector: u32) {
        if index == IrqIndex::Intx {
            self.intx.trigger(&mut self.counters);
        } else if let (Some(vector), counters) = self.vector(index, vector) {
            vector.raise(counters);
        }
    }

    /// Keeps what is raised from now on.
    pub fn mask(&mut self, index: IrqIndex, vector: u32) {
        if index == IrqIndex::Intx {
            self.intx.masked = true;
        } else if let (Some(vector), _) = self.vector(index, vector) {
            vector.masked = true;
        }
    }

    /// Delivers again, first of all what was kept.
    pub fn unmask(&mut self, index: IrqIndex, vector: u32) {
        if index == IrqIndex::Intx {
            self.intx.unmask(&mut self.counters);
        } else if let (Some(vector), counters) = self.vector(index, vector) {
            vector.masked = false;
            vector.deliver(counters);
        }
    }

    /// Sets, or with `None` takes away, the eventfd by which the client unmasks INTx.
    ///
    /// # Errors
    /// What the system says when the descriptor is added to the epoll set.
    pub fn set_intx_unmask_eventfd(&mut self, fd: Option<OwnedFd>) -> nix::Result<()> {
        // The old one leaves the epoll set first: it may be the same open file.
        self.intx.unmask_fd = None;
        self.intx.unmask_fd = fd
            .map(|fd| self.registry.watch(Eventfd::new(fd), Source::IntxUnmask))
            .transpose()?;
        Ok(())
    }

    /// The eventfd by which the client unmasks INTx may be readable.
    pub fn intx_unmask_ready(&mut self) {
        let rung = self
            .intx
            .unmask_fd
            .as_ref()
            .is_some_and(|fd| fd.get().drain());
        if rung {
            self.intx.unmask(&mut self.counters);
        }
    }

    fn vectors(&mut self, index: IrqIndex) -> (&mut [Vector], &mut IrqCounters) {
        let vectors: &mut [Vector] = match index {
            IrqIndex::Intx => &mut [],
            IrqIndex::Msi => &mut self.msi,
            IrqIndex::MsiX => &mut self.msix,
            IrqIndex::Err => &mut self.err,
            IrqIndex::Req => &mut self.req,
        };
        (vectors, &mut self.counters)
    }

    fn vector(&mut self, index: IrqIndex, number: u32) -> (Option<&mut Vector>, &mut IrqCounters) {
        let (vectors, counters) = self.vectors(index);
        let vector = usize::try_from(number)
            .ok()
            .and_then(|number| vectors.get_mut(number));
        (vector, counters)
    }
}

/// The INTx pin: a level, delivered as an edge that masks itself until the client unmasks it (`AUTOMASKED`).
#[derive(Debug, Default)]
struct Intx {
    fd: Option<Eventfd>,
    unmask_fd: Option<Watched<Eventfd>>,
    asserted: bool,
    masked: bool,
}

impl Intx {
    fn enable(&mut self, fd: Option<Eventfd>, counters: &mut IrqCounters) {
        self.fd = fd;
        self.masked = false;
        self.deliver(counters);
    }

    fn unmask(&mut self, counters: &mut IrqCounters) {
        self.masked = false;
        self.deliver(counters);
    }

    fn deliver(&mut self, counters: &mut IrqCounters) {
        if !self.asserted {
            return;
        }
        match &self.fd {
            Some(fd) if !self.masked => {
                fd.ring(counters);
                self.masked = true;
            }
            _ => counters.held = counters.held.wrapping_add(1),
        }
    }

    fn trigger(&mut self, counters: &mut IrqCounters) {
        if let Some(fd) = &self.fd {
            fd.ring(counters);
            self.masked = true;
        }
    }
}

/// An edge-triggered vector: MSI, MSI-X.
#[derive(Debug, Default)]
struct Vector {
    fd: Option<Eventfd>,
    masked: bool,
    pending: bool,
}

impl Vector {
    fn raise(&mut self, counters: &mut IrqCounters) {
        self.pending = true;
        self.deliver(counters);
        if self.pending {
            counters.held = counters.held.wrapping_add(1);
        }
    }

    fn deliver(&mut self, counters: &mut IrqCounters) {
        if !self.pending || self.masked {
            return;
        }
        if let Some(fd) = &self.fd {
            fd.ring(counters);
            self.pending = false;
        }
    }
}

/// A client's eventfd.
#[derive(Debug)]
struct Eventfd {
    fd: OwnedFd,
    /// Whether a write blocks while the counter is full. The flag belongs to the open file, which the client may read
    /// with blocking reads, so it is not changed here.
    blocking: bool,
}

impl Eventfd {
    fn new(fd: OwnedFd) -> Self {
        let blocking = fcntl(&fd, FcntlArg::F_GETFL).map_or(true, |flags| {
            !OFlag::from_bits_truncate(flags).contains(OFlag::O_NONBLOCK)
        });
        Self { fd, blocking }
    }

    /// Adds one. A full counter has the client's attention already.
    fn ring(&self, counters: &mut IrqCounters) {
        let written = if self.blocking && !self.has(PollFlags::POLLOUT) {
            Err(Errno::EAGAIN)
        } else {
            write(&self.fd, &1_u64.to_ne_bytes())
        };
        let counter = match written {
            Ok(_) | Err(Errno::EAGAIN) => &mut counters.delivered,
            Err(_) => &mut counters.failed,
        };
        *counter = counter.wrapping_add(1);
    }

    /// Takes what the client has added; returns whether that was anything.
    fn drain(&self) -> bool {
        if self.blocking && !self.has(PollFlags::POLLIN) {
            return false;
        }
        read(&self.fd, &mut [0; 8]).is_ok_and(|count| count > 0)
    }

    fn has(&self, event: PollFlags) -> bool {
        let mut fds = [PollFd::new(self.fd.as_fd(), event)];
        poll(&mut fds, PollTimeout::ZERO).is_ok_and(|count| count > 0)
            && fds[0]
                .revents()
                .is_some_and(|events| events.contains(event))
    }
}

impl AsFd for Eventfd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::eventfd::{EfdFlags, EventFd};

    use super::*;
    use crate::events::Events;

    struct Client {
        irqs: Irqs,
        events: Events,
    }

    fn client() -> Client {
        let events = Events::new().unwrap();
        Client {
            irqs: Irqs::new(events.registry()),
            events,
        }
    }

    fn eventfd() -> (EventFd, Option<OwnedFd>) {
        let ours = EventFd::from_flags(EfdFlags::EFD_NONBLOCK).unwrap();
        let theirs = ours.as_fd().try_clone_to_owned().unwrap();
        (ours, Some(theirs))
    }

    #[test]
    fn a_vector_rings_its_own_eventfd() {
        let mut client = client();
        let (first, first_fd) = eventfd();
        let (second, second_fd) = eventfd();
        client
            .irqs
            .set_eventfds(IrqIndex::MsiX, 3, [first_fd, second_fd]);

        client.irqs.signal(Signal::MsiX(4));

        assert_eq!(first.read(), Err(Errno::EAGAIN));
        assert_eq!(second.read(), Ok(1));
    }

    #[test]
    fn a_vector_without_eventfd_is_pending_until_one_comes() {
        let mut client = client();
        client.irqs.signal(Signal::MsiX(63));
        client.irqs.signal(Signal::MsiX(63));
        let pending = client.irqs.msix_pending();
        let (ring, fd) = eventfd();

        client.irqs.set_eventfds(IrqIndex::MsiX, 63, [fd]);

        assert_eq!(pending, 1 << 63);
        assert_eq!(ring.read(), Ok(1));
        assert_eq!(client.irqs.msix_pending(), 0);
    }

    #[test]
    fn a_masked_vector_is_pending_until_it_is_unmasked() {
        let mut client = client();
        let (ring, fd) = eventfd();
        client.irqs.set_eventfds(IrqIndex::MsiX, 0, [fd]);
        client.irqs.mask(IrqIndex::MsiX, 0);
        client.irqs.signal(Signal::MsiX(0));
        let while_masked = ring.read();

        client.irqs.unmask(IrqIndex::MsiX, 0);

        assert_eq!(while_masked, Err(Errno::EAGAIN));
        assert_eq!(ring.read(), Ok(1));
    }

    #[test]
    fn disabling_an_index_drops_eventfds_and_what_was_pending() {
        let mut client = client();
        let (old, old_fd) = eventfd();
        client.irqs.set_eventfds(IrqIndex::MsiX, 0, [old_fd]);
        client.irqs.signal(Signal::MsiX(1));

        client.irqs.disable(IrqIndex::MsiX);

        client.irqs.signal(Signal::MsiX(0));
        let (new, new_fd) = eventfd();
        client.irqs.set_eventfds(IrqIndex::MsiX, 1, [new_fd]);
        assert_eq!(old.read(), Err(Errno::EAGAIN));
        assert_eq!(new.read(), Err(Errno::EAGAIN));
    }

    #[test]
    fn intx_rings_once_and_again_after_unmask_while_it_is_asserted() {
        let mut client = client();
        let (ring, fd) = eventfd();
        client.irqs.set_eventfds(IrqIndex::Intx, 0, [fd]);

        client.irqs.signal(Signal::IntxAssert);
        client.irqs.signal(Signal::IntxAssert);
        assert_eq!(ring.read(), Ok(1));

        client.irqs.unmask(IrqIndex::Intx, 0);
        assert_eq!(ring.read(), Ok(1));

        client.irqs.signal(Signal::IntxDeassert);
        client.irqs.unmask(IrqIndex::Intx, 0);
        assert_eq!(ring.read(), Err(Errno::EAGAIN));
    }

    #[test]
    fn intx_that_is_asserted_before_the_eventfd_comes_rings_when_it_comes() {
        let mut client = client();
        client.irqs.signal(Signal::IntxAssert);
        let (ring, fd) = eventfd();

        client.irqs.set_eventfds(IrqIndex::Intx, 0, [fd]);

        assert_eq!(ring.read(), Ok(1));
    }

    #[test]
    fn the_unmask_eventfd_wakes_the_worker_and_unmasks_intx() {
        let mut client = client();
        let (ring, fd) = eventfd();
        let (unmask, unmask_fd) = eventfd();
        client.irqs.set_eventfds(IrqIndex::Intx, 0, [fd]);
        client.irqs.set_intx_unmask_eventfd(unmask_fd).unwrap();
        client.irqs.signal(Signal::IntxAssert);
        assert_eq!(ring.read(), Ok(1));

        unmask.write(1).unwrap();

        assert!(client.events.poll().unwrap().has(Source::IntxUnmask));
        client.irqs.intx_unmask_ready();
        assert_eq!(ring.read(), Ok(1));
        assert!(client.events.poll().unwrap().is_empty());
    }

    #[test]
    fn a_closed_unmask_eventfd_leaves_the_epoll_set_although_the_client_holds_it_open() {
        let mut client = client();
        let (unmask, unmask_fd) = eventfd();
        client.irqs.set_intx_unmask_eventfd(unmask_fd).unwrap();

        client.irqs.disable(IrqIndex::Intx);

        unmask.write(1).unwrap();
        assert!(client.events.poll().unwrap().is_empty());
    }

    #[test]
    fn a_full_eventfd_does_not_block_the_worker() {
        let mut client = client();
        let full = EventFd::from_value_and_flags(0, EfdFlags::empty()).unwrap();
        full.write(u64::MAX - 1).unwrap();
        let fd = full.as_fd().try_clone_to_owned().unwrap();
        client.irqs.set_eventfds(IrqIndex::Msi, 0, [Some(fd)]);

        client.irqs.signal(Signal::Msi);

        assert_eq!(full.read(), Ok(u64::MAX - 1));
    }

    #[test]
    fn a_trigger_by_the_client_rings_the_vectors_that_it_names() {
        let mut client = client();
        let (inside, inside_fd) = eventfd();
        let (outside, outside_fd) = eventfd();
        client
            .irqs
            .set_eventfds(IrqIndex::MsiX, 0, [inside_fd, outside_fd]);

        client.irqs.trigger(IrqIndex::MsiX, 0);

        assert_eq!(inside.read(), Ok(1));
        assert_eq!(outside.read(), Err(Errno::EAGAIN));
    }
}
