//! The ring of received frames that a packet socket shares with the kernel (`TPACKET_V2`).
#![expect(
    unsafe_code,
    reason = "memory that is shared with the kernel is outside what the compiler can check"
)]

use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::errno::Errno;
use nix::libc::{
    PACKET_RX_RING, SOL_PACKET, TP_STATUS_COPY, TP_STATUS_KERNEL, TP_STATUS_USER,
    TP_STATUS_VLAN_TPID_VALID, TP_STATUS_VLAN_VALID, TPACKET2_HDRLEN, tpacket_req, tpacket2_hdr,
};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

use super::{VNET_HEADER_LEN, set};

/// Bytes of the ring.
const RING: u32 = 8 << 20;
/// Bytes that the kernel allocates in one piece.
const BLOCK: u32 = 64 << 10;
/// Shortest and longest slot; each divides a block.
const SLOT: std::ops::RangeInclusive<u32> = 2 << 10..=16 << 10;
/// What a slot holds beside the bytes that count for the MTU: the kernel's own header, virtio's, alignment, Ethernet's
/// and a tag.
const OVERHEAD: u32 = 128;
/// Ethertype of a tag whose ethertype the kernel does not tell.
const CUSTOMER_VLAN: u16 = 0x8100;

const _: () = assert!(TPACKET2_HDRLEN + 16 + VNET_HEADER_LEN + 18 < 128);

/// The length of a slot for frames of this MTU.
pub(super) fn slot_size(mtu: u32) -> u32 {
    let wanted = mtu.saturating_add(OVERHEAD).min(*SLOT.end());
    wanted.next_power_of_two().max(*SLOT.start())
}

/// A VLAN tag that the kernel, or the network card, took out of the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VlanTag {
    /// Ethertype of the tag.
    pub tpid: u16,
    /// Priority, DEI and VLAN ID.
    pub tci: u16,
}

/// A frame that has arrived.
#[derive(Debug)]
pub enum Arrival<'a> {
    /// It lies in its slot.
    Whole(RingFrame<'a>),
    /// It is too long for a slot and waits in the socket's queue, for
    /// [`PacketSocket::read_queued`](super::PacketSocket::read_queued).
    Queued {
        /// Its length, without header.
        len: usize,
        /// A tag that belongs behind its addresses.
        tag: Option<VlanTag>,
    },
    /// It was too long for a slot, and the queue was full: it is lost.
    Cut,
}

/// A frame in its slot.
#[derive(Debug)]
pub struct RingFrame<'a> {
    /// The virtio-net header, the frame behind it, and the rest of the slot, all of it free to use.
    pub bytes: &'a mut [u8],
    /// Length of the frame, without header.
    pub len: usize,
    /// A tag that belongs behind its addresses.
    pub tag: Option<VlanTag>,
}

/// The mapping, and which slot is next.
#[derive(Debug)]
pub(super) struct Ring {
    start: NonNull<u8>,
    slot: usize,
    count: usize,
    next: usize,
}

// SAFETY: the mapping belongs to this value alone, and is not bound to a thread.
// Test: `a_stream_to_the_kernel_over_a_packet_socket_arrives` (wire), which moves it to another.
unsafe impl Send for Ring {}

impl Ring {
    /// Makes the ring of `socket`, which has no other, with slots of `slot` bytes.
    pub(super) fn new(socket: &OwnedFd, slot: u32) -> Result<Self, Errno> {
        let request = tpacket_req {
            tp_block_size: BLOCK,
            tp_block_nr: RING / BLOCK,
            tp_frame_size: slot,
            tp_frame_nr: RING / slot,
        };
        set(socket, SOL_PACKET, PACKET_RX_RING, &request)?;
        let len = usize::try_from(RING)
            .ok()
            .and_then(NonZeroUsize::new)
            .ok_or(Errno::EINVAL)?;
        let slot = usize::try_from(slot).map_err(|_| Errno::EINVAL)?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY:
        // 1. Without MAP_FIXED the kernel picks addresses that nobody uses.
        // 2. What the kernel changes in these pages meanwhile is reached as the methods below say.
        // Test: `a_packet_socket_carries_a_frame_with_its_header_both_ways`.
        let start = unsafe { mmap(None, len, protection, MapFlags::MAP_SHARED, socket, 0) }?;
        Ok(Self {
            start: start.cast(),
            slot,
            count: len.get() / slot,
            next: 0,
        })
    }

    /// The start of the next slot.
    fn slot(&self) -> NonNull<u8> {
        // SAFETY: `next` is below `count`, so the slot lies inside the mapping.
        // Test: `more_frames_than_the_ring_has_slots_arrive_in_order`.
        unsafe { self.start.add(self.next * self.slot) }
    }

    /// Whose the next slot is.
    fn status(&self) -> &AtomicU32 {
        // SAFETY:
        // 1. A slot begins with a `tpacket2_hdr`, and that with the status; both are aligned, as slots are to 2 KiB.
        // 2. It is mapped as long as `self` is borrowed, and the kernel also accesses it as one word.
        // Test: `more_frames_than_the_ring_has_slots_arrive_in_order`.
        unsafe { AtomicU32::from_ptr(self.slot().cast().as_ptr()) }
    }

    pub(super) fn has_arrival(&self) -> bool {
        // Pairs with the barrier between the kernel's last write to the slot and the one to its status.
        self.status().load(Ordering::Acquire) & TP_STATUS_USER != 0
    }

    pub(super) fn arrival(&mut self) -> Option<Arrival<'_>> {
        if !self.has_arrival() {
            return None;
        }
        let slot = self.slot();
        // SAFETY:
        // 1. The slot is aligned for its header and mapped.
        // 2. It is ours now: the kernel does not touch it before the status says so, which takes `release`, which
        //    takes `self`, which the result borrows mutably.
        // Test: `more_frames_than_the_ring_has_slots_arrive_in_order`.
        let (header, bytes) = unsafe {
            (
                slot.cast::<tpacket2_hdr>().read(),
                std::slice::from_raw_parts_mut(slot.as_ptr(), self.slot),
            )
        };
        let tpid = match header.tp_status & TP_STATUS_VLAN_TPID_VALID {
            0 => CUSTOMER_VLAN,
            _ => header.tp_vlan_tpid,
        };
        let tag = (header.tp_status & TP_STATUS_VLAN_VALID != 0).then_some(VlanTag {
            tpid,
            tci: header.tp_vlan_tci,
        });
        let len = usize::try_from(header.tp_len).ok()?;
        if header.tp_status & TP_STATUS_COPY != 0 {
            return Some(Arrival::Queued { len, tag });
        }
        let start = usize::from(header.tp_mac).checked_sub(VNET_HEADER_LEN);
        let bytes = start.and_then(|start| bytes.get_mut(start..));
        Some(match bytes {
            Some(bytes)
                if header.tp_snaplen == header.tp_len
                    && bytes.len().saturating_sub(VNET_HEADER_LEN) >= len =>
            {
                Arrival::Whole(RingFrame { bytes, len, tag })
            }
            _ => Arrival::Cut,
        })
    }

    pub(super) fn release(&mut self) {
        if !self.has_arrival() {
            return;
        }
        // Whatever was read or written in the slot comes before.
        self.status().store(TP_STATUS_KERNEL, Ordering::Release);
        self.next = (self.next + 1) % self.count;
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY:
        // 1. The range is the one that `new` mapped, and is unmapped nowhere else.
        // 2. What was lent of it borrowed `self`, so nothing is left.
        // Test: `an_interface_that_comes_back_is_joined_again` (wire).
        let unmapped = unsafe { munmap(self.start.cast(), self.slot * self.count) };
        debug_assert_eq!(unmapped, Ok(()), "the ring is mapped");
    }
}
