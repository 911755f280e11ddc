//! The loop, under a front-end that we did not write: the one of the crate `vhost`, over a socket.

use std::{
    os::{
        fd::{AsFd, AsRawFd},
        unix::net::UnixStream,
    },
    thread,
    time::{Duration, Instant},
};

use guest_memory::SharedMemory;
use nic_driver::in_process::InProcess;
use nic_model::{
    PortConfig, Wire,
    wire::{Capabilities, Flow, RxFrame, TxFrame, WireBusy},
};
use vfio_user::Listener;
use vhost::{
    VhostBackend, VhostUserMemoryRegionInfo, VringConfigData,
    vhost_user::{Frontend, VhostUserFrontend},
};
use vhost_user_ixgbe::{
    negotiated::{Offer, Switch},
    receive::Mode,
    stack::Settings,
    worker::{Options, Worker},
};
use vmm_sys_util::eventfd::EventFd;

const MAC: [u8; 6] = [0x02, 0, 0, 0x12, 0x34, 0x56];
const BASE: u64 = 0x10_0000;
const USER: u64 = 0x7F00_0000_0000;
const SIZE: usize = 0x10_0000;
/// Of the receive ring in the memory: descriptors, what is available, what is used, the buffer.
const PARTS: [usize; 4] = [0, 0x1000, 0x2000, 0x8000];
const VERSION_1: u64 = 1 << 32;
/// How long the stack may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const PROTOCOL_FEATURES: u64 = 1 << 30;

/// A cable with one frame in each turn of the card, from the beginning: the first ones find no ring.
struct Drip {
    frame: Vec<u8>,
    next: Next,
}

enum Next {
    Frame,
    Nothing,
}

impl Wire for Drip {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn transmit(&mut self, _frame: &TxFrame<'_>) -> Result<(), WireBusy> {
        Ok(())
    }

    fn receive(&mut self, _budget: usize, sink: &mut dyn FnMut(&RxFrame<'_>) -> Flow) -> usize {
        match self.next {
            Next::Frame => {
                self.next = Next::Nothing;
                sink(&RxFrame::new(&self.frame));
                1
            }
            Next::Nothing => {
                self.next = Next::Frame;
                0
            }
        }
    }

    fn carrier(&self) -> bool {
        true
    }
}

#[test]
fn a_front_end_gets_a_frame_and_an_interrupt_over_its_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stack");
    let listener = Listener::bind(&path).unwrap();
    let (end, ended) = UnixStream::pair().unwrap();
    let frame = [&MAC[..], &[2, 0, 0, 0, 0, 9, 0x88, 0xB5], &[0x5A; 200]].concat();
    let arriving = frame.clone();
    let stack = thread::spawn(move || {
        let options = Options {
            settings: Settings {
                rx: Mode::ZeroCopy,
                packet_split: Switch::Off,
                offer: Offer {
                    mergeable: Switch::On,
                    offloads: Switch::On,
                },
                pairs: 1,
                mtu: 1500,
            },
            poll: Duration::ZERO,
        };
        let card = || {
            let drip = Drip {
                frame: arriving.clone(),
                next: Next::Frame,
            };
            Ok(InProcess::new(PortConfig::new(MAC), drip))
        };
        let mut worker = Worker::new(options, &listener, ended.as_fd(), card).unwrap();
        worker.run().unwrap();
        worker.stack().counters().rx_bytes_copied
    });
    let memory = SharedMemory::new(c"guest", SIZE).unwrap();
    let put = |offset: usize, bytes: &[u8]| {
        let slice = memory.slice(offset, bytes.len()).unwrap();
        slice.copy_from(bytes);
    };
    // One descriptor, for the device to write, and it is available.
    put(PARTS[0], &(BASE + PARTS[3] as u64).to_le_bytes());
    put(PARTS[0] + 8, &[0x40, 6, 0, 0, 2, 0, 0, 0]);
    put(PARTS[1] + 2, &[1, 0, 0, 0]);
    let [kick, call] = [(); 2].map(|()| EventFd::new(0).unwrap());

    let mut front_end = Frontend::connect(&path, 2).unwrap();
    front_end.set_owner().unwrap();
    let features = front_end.get_features().unwrap();
    assert_eq!(features & VERSION_1, VERSION_1);
    front_end
        .set_features(VERSION_1 | PROTOCOL_FEATURES)
        .unwrap();
    let offered = front_end.get_protocol_features().unwrap();
    front_end.set_protocol_features(offered).unwrap();
    assert_eq!(front_end.get_queue_num().unwrap(), 2);
    let region = VhostUserMemoryRegionInfo {
        guest_phys_addr: BASE,
        memory_size: SIZE as u64,
        userspace_addr: USER,
        mmap_offset: 0,
        mmap_handle: memory.as_fd().as_raw_fd(),
    };
    front_end.set_mem_table(&[region]).unwrap();
    front_end.set_vring_num(0, 256).unwrap();
    let place = |part: usize| USER + PARTS[part] as u64;
    let config = VringConfigData {
        queue_max_size: 256,
        queue_size: 256,
        flags: 0,
        desc_table_addr: place(0),
        avail_ring_addr: place(1),
        used_ring_addr: place(2),
        log_addr: None,
    };
    front_end.set_vring_addr(0, &config).unwrap();
    front_end.set_vring_base(0, 0).unwrap();
    front_end.set_vring_call(0, &call).unwrap();
    front_end.set_vring_kick(0, &kick).unwrap();
    front_end.set_vring_enable(0, true).unwrap();
    let begun = Instant::now();
    while memory.slice(PARTS[2] + 2, 1).is_some_and(|index| {
        let mut byte = [0_u8];
        index.copy_to(&mut byte);
        byte[0] == 0
    }) {
        assert!(begun.elapsed() < PATIENCE, "no frame");
        kick.write(1).unwrap();
        thread::yield_now();
    }

    let mut received = vec![0; frame.len()];
    let slice = memory.slice(PARTS[3] + 12, frame.len()).unwrap();
    slice.copy_to(&mut received);
    assert_eq!(received, frame);
    assert_eq!(front_end.get_vring_base(0).unwrap(), 1);
    assert!(call.read().is_ok());
    drop((front_end, end));
    assert_eq!(stack.join().unwrap(), 0);
}
