//! A guest in a process of ours: what QEMU does for a guest with a vhost-user network device.

use std::{
    os::fd::{AsFd, AsRawFd},
    path::Path,
    rc::Rc,
};

use anyhow::{Context, Result, ensure};
use guest_memory::SharedMemory;
use vhost::{
    VhostBackend, VhostUserMemoryRegionInfo, VringConfigData,
    vhost_user::{Frontend, VhostUserFrontend},
};
use virtio_bindings::{
    virtio_config::VIRTIO_F_VERSION_1, virtio_net::VIRTIO_NET_F_MRG_RXBUF,
    virtio_ring::VIRTIO_RING_F_EVENT_IDX,
};
use vmm_sys_util::{
    epoll::{ControlOperation, Epoll, EpollEvent, EventSet},
    eventfd::{EFD_NONBLOCK, EventFd},
};

use super::ring::{self, AVAILABLE, Ring, USED, Way};

/// Guest-physical address of the memory.
const BASE: u64 = 0x10_0000;
/// Where the front-end says that it has it.
const USER: u64 = 0x7F00_0000_0000;
/// Bytes of a buffer: a page has two.
const BUFFER: usize = 2048;
/// Buffers begin here: behind two rings.
const BUFFERS: usize = 2 * ring::BYTES;
/// `VHOST_USER_F_PROTOCOL_FEATURES`
const PROTOCOL_FEATURES: u64 = 1 << 30;
/// A stack that says nothing for so long is rung.
const PATIENCE_MS: i32 = 10;

/// A guest's memory, its two rings, and the connection to its stack.
pub struct Guest {
    front_end: Frontend,
    memory: Rc<SharedMemory>,
    /// What the stack fills.
    pub rx: Ring,
    /// What the stack sends.
    pub tx: Ring,
    kicks: [EventFd; 2],
    call: EventFd,
    waiting: Epoll,
}

impl Guest {
    /// Connects to the stack at `socket` and starts a pair of rings of `size` chains, with mergeable buffers as Linux has
    /// them.
    pub fn connect(socket: &Path, size: u16) -> Result<Self> {
        ensure!(
            size.is_power_of_two() && size <= ring::MAX_SIZE,
            "a ring has a power of two of descriptors, up to {}",
            ring::MAX_SIZE
        );
        let bytes = BUFFERS + usize::from(size) * BUFFER;
        let memory = Rc::new(SharedMemory::new(c"guest", bytes).context("no memory")?);
        let front_end = Frontend::connect(socket, 2)
            .with_context(|| format!("no stack at {}", socket.display()))?;
        let call = EventFd::new(EFD_NONBLOCK)?;
        let waiting = Epoll::new()?;
        let event = EpollEvent::new(EventSet::IN, 0);
        waiting.ctl(ControlOperation::Add, call.as_raw_fd(), event)?;
        let ring = |index, way| Ring::new(Rc::clone(&memory), index * ring::BYTES, way, size);
        let mut guest = Self {
            rx: ring(0, Way::Receive),
            tx: ring(1, Way::Transmit),
            front_end,
            memory,
            kicks: [EventFd::new(EFD_NONBLOCK)?, EventFd::new(EFD_NONBLOCK)?],
            call,
            waiting,
        };
        guest
            .agree()
            .context("the stack is not what it should be")?;
        guest.start(size).context("the rings do not start")?;
        Ok(guest)
    }

    fn agree(&mut self) -> Result<()> {
        let wanted = [
            VIRTIO_F_VERSION_1,
            VIRTIO_RING_F_EVENT_IDX,
            VIRTIO_NET_F_MRG_RXBUF,
        ];
        let wanted = wanted
            .into_iter()
            .fold(PROTOCOL_FEATURES, |all, bit| all | 1 << bit);
        self.front_end.set_owner()?;
        let offered = self.front_end.get_features()?;
        ensure!(offered & wanted == wanted, "it offers only {offered:#x}");
        self.front_end.set_features(wanted)?;
        let offered = self.front_end.get_protocol_features()?;
        self.front_end.set_protocol_features(offered)?;
        Ok(())
    }

    fn start(&mut self, size: u16) -> Result<()> {
        let region = VhostUserMemoryRegionInfo {
            guest_phys_addr: BASE,
            memory_size: self.memory.len() as u64,
            userspace_addr: USER,
            mmap_offset: 0,
            mmap_handle: self.memory.as_fd().as_raw_fd(),
        };
        self.front_end.set_mem_table(&[region])?;
        for (index, kick) in self.kicks.iter().enumerate() {
            let at = USER + (index * ring::BYTES) as u64;
            let config = VringConfigData {
                queue_max_size: size,
                queue_size: size,
                flags: 0,
                desc_table_addr: at,
                avail_ring_addr: at + AVAILABLE as u64,
                used_ring_addr: at + USED as u64,
                log_addr: None,
            };
            self.front_end.set_vring_num(index, size)?;
            self.front_end.set_vring_addr(index, &config)?;
            self.front_end.set_vring_base(index, 0)?;
            self.front_end.set_vring_call(index, &self.call)?;
            self.front_end.set_vring_kick(index, kick)?;
            self.front_end.set_vring_enable(index, true)?;
        }
        Ok(())
    }

    /// Gives the stack a buffer to fill.
    pub fn post(&mut self, buffer: u16) {
        let len = u32::try_from(BUFFER).unwrap_or(u32::MAX);
        self.rx.put(buffer, Self::address(buffer), len);
    }

    /// Gives the stack a buffer to send, with `len` bytes of virtio's header and frame.
    pub fn send(&mut self, buffer: u16, len: u32) {
        self.tx.put(buffer, Self::address(buffer), len);
    }

    /// Lets the stack see what was given, and rings it if it sleeps.
    pub fn publish(&mut self) -> Result<()> {
        let wishes = [self.rx.publish(), self.tx.publish()];
        for (kick, wish) in self.kicks.iter().zip(wishes) {
            if wish {
                kick.write(1)?;
            }
        }
        Ok(())
    }

    /// Sleeps until half of what either ring has is back, or for a short time; the stack is then rung.
    pub fn sleep(&self) -> Result<()> {
        let back = [&self.rx, &self.tx].map(|ring| ring.pending() > 0 && ring.sleep());
        if back.contains(&true) {
            return Ok(());
        }
        let mut events = [EpollEvent::default()];
        if self.waiting.wait(PATIENCE_MS, &mut events)? > 0 {
            self.call.read()?;
            return Ok(());
        }
        for kick in &self.kicks {
            kick.write(1)?;
        }
        Ok(())
    }

    /// Bytes of a buffer from `skip` on.
    pub fn bytes(&self, buffer: u16, skip: usize, to: &mut [u8]) {
        self.slice(buffer, skip, to.len()).copy_to(to);
    }

    /// Writes the beginning of a buffer.
    pub fn write(&self, buffer: u16, from: &[u8]) {
        self.slice(buffer, 0, from.len()).copy_from(from);
    }

    fn slice(&self, buffer: u16, skip: usize, len: usize) -> vm_memory::VolatileSlice<'_> {
        let at = BUFFERS + usize::from(buffer) * BUFFER + skip;
        self.memory.slice(at, len).expect("inside a buffer")
    }

    fn address(buffer: u16) -> u64 {
        BASE + (BUFFERS + usize::from(buffer) * BUFFER) as u64
    }
}
