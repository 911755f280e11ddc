//! The server under a vfio-user client.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::{fs::File, os::fd::AsFd, thread};

use ixgbe_spec::register::Reg;
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        eventfd::{EfdFlags, EventFd},
        memfd::{MFdFlags, memfd_create},
    },
};
use support::Server;
use vfio_user::{
    Errno,
    client::Client,
    message::{DeviceFlags, IrqFlags, Protection, RegionFlags},
    server::IrqAction,
};

const INTX: u32 = 0;
const MSIX: u32 = 2;

fn memory(pages: u64) -> File {
    let file = File::from(memfd_create(c"memory", MFdFlags::MFD_CLOEXEC).unwrap());
    file.set_len(pages * 4096).unwrap();
    file
}

fn has_rung(eventfd: &EventFd) -> bool {
    let mut fds = [PollFd::new(eventfd.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO).unwrap() == 1
}

#[test]
fn the_device_has_the_regions_and_interrupts_of_an_82599() {
    let server = Server::start();
    let mut client = server.client();

    let info = client.device_info().unwrap();
    let sizes: Vec<u64> = (0..info.regions)
        .map(|index| client.region_info(index).unwrap().size)
        .collect();
    let vectors: Vec<u32> = (0..info.irqs)
        .map(|index| client.irq_info(index).unwrap().count)
        .collect();

    assert!(info.flags.contains(DeviceFlags::PCI | DeviceFlags::RESET));
    assert_eq!(sizes, [0x8_0000, 0, 32, 0, 0x4000, 0, 0x8_0000, 4096, 0]);
    assert_eq!(vectors, [1, 1, 64, 1, 1]);
}

#[test]
fn no_region_can_be_mapped_so_that_qemu_posts_its_writes() {
    let server = Server::start();
    let mut client = server.client();

    let mappable = (0..9).any(|index| {
        let info = client.region_info(index).unwrap();
        info.flags.contains(RegionFlags::MMAP)
    });

    assert!(!mappable);
}

#[test]
fn intx_masks_itself_and_msix_vectors_can_be_added_one_by_one() {
    let server = Server::start();
    let mut client = server.client();

    let intx = client.irq_info(INTX).unwrap().flags;
    let msix = client.irq_info(MSIX).unwrap().flags;

    assert!(intx.contains(IrqFlags::EVENTFD | IrqFlags::MASKABLE | IrqFlags::AUTOMASKED));
    assert!(msix.contains(IrqFlags::EVENTFD) && !msix.contains(IrqFlags::NORESIZE));
}

#[test]
fn a_vector_that_the_client_triggers_rings_its_eventfd() {
    let server = Server::start();
    let mut client = server.client();
    let first = EventFd::from_flags(EfdFlags::EFD_NONBLOCK).unwrap();
    let second = EventFd::from_flags(EfdFlags::EFD_NONBLOCK).unwrap();
    let eventfds = [Some(first.as_fd()), None, Some(second.as_fd())];
    client
        .assign_irqs(MSIX, IrqAction::Trigger, 10, &eventfds)
        .unwrap();

    client
        .act_on_chosen_irqs(MSIX, IrqAction::Trigger, 10, &[false, true, true])
        .unwrap();

    assert!(!has_rung(&first));
    assert!(has_rung(&second));
}

#[test]
fn a_vector_that_was_raised_without_eventfd_rings_the_one_that_comes_later() {
    let server = Server::start();
    let mut client = server.client();
    let eventfd = EventFd::from_flags(EfdFlags::EFD_NONBLOCK).unwrap();
    client
        .assign_irqs(MSIX, IrqAction::Trigger, 0, &[None])
        .unwrap();
    client.act_on_irqs(MSIX, IrqAction::Trigger, 0, 1).unwrap();

    client
        .assign_irqs(MSIX, IrqAction::Trigger, 0, &[Some(eventfd.as_fd())])
        .unwrap();

    assert!(has_rung(&eventfd));
}

#[test]
fn a_disabled_interrupt_type_rings_nothing() {
    let server = Server::start();
    let mut client = server.client();
    let eventfd = EventFd::from_flags(EfdFlags::EFD_NONBLOCK).unwrap();
    client
        .assign_irqs(MSIX, IrqAction::Trigger, 0, &[Some(eventfd.as_fd())])
        .unwrap();

    client.disable_irqs(MSIX).unwrap();
    client.act_on_irqs(MSIX, IrqAction::Trigger, 0, 1).unwrap();

    assert!(!has_rung(&eventfd));
}

#[test]
fn an_interrupt_that_does_not_exist_is_refused_and_the_session_goes_on() {
    let server = Server::start();
    let mut client = server.client();

    let refused = client.act_on_irqs(MSIX, IrqAction::Trigger, 64, 1);

    assert_eq!(refused.unwrap_err().errno(), Some(Errno::INVAL));
    assert_eq!(client.device_info().unwrap().irqs, 5);
}

#[test]
fn memory_is_mapped_and_unmapped_as_qemu_does_it_under_a_virtual_iommu() {
    let server = Server::start();
    let mut client = server.client();
    let file = memory(16);
    let whole = Protection::READ | Protection::WRITE;
    let map =
        |client: &mut Client, iova| client.dma_map(iova, 0x4000, whole, Some((file.as_fd(), 0)));

    map(&mut client, 0x10_0000).unwrap();
    map(&mut client, 0x10_0000).unwrap();
    client.dma_unmap(0x9000_0000, 0x1000_0000).unwrap();
    client.dma_unmap(0, 0x8000_0000).unwrap();
    map(&mut client, 0x10_2000).unwrap();
    client
        .dma_unmap(0xfef0_0000, 0xffff_ffff_0110_0000)
        .unwrap();
    client.dma_unmap_all().unwrap();

    assert_eq!(client.device_info().unwrap().regions, 9);
}

#[test]
fn memory_that_overlaps_is_refused_with_eexist() {
    let server = Server::start();
    let mut client = server.client();
    let file = memory(4);
    client
        .dma_map(0, 0x4000, Protection::READ, Some((file.as_fd(), 0)))
        .unwrap();

    let refused = client.dma_map(0x3000, 0x1000, Protection::READ, Some((file.as_fd(), 0)));

    assert_eq!(refused.unwrap_err().errno(), Some(Errno::EXIST));
}

#[test]
fn memory_beyond_the_end_of_its_file_is_refused() {
    let server = Server::start();
    let mut client = server.client();
    let file = memory(1);

    let refused = client.dma_map(0, 0x2000, Protection::READ, Some((file.as_fd(), 0)));

    assert_eq!(refused.unwrap_err().errno(), Some(Errno::INVAL));
}

#[test]
fn the_client_that_waits_is_served_when_the_first_one_goes() {
    let server = Server::start();
    let first = server.client();
    let socket = server.socket();
    let second = thread::spawn(move || {
        let mut client = Client::connect(socket, Default::default()).unwrap();
        client.device_info().unwrap().regions
    });

    drop(first);

    assert_eq!(second.join().unwrap(), 9);
}

#[test]
fn a_thousand_clients_come_and_go_and_leave_no_descriptor_behind() {
    let server = Server::start();
    let file = memory(16);
    let eventfds: Vec<EventFd> = (0..4).map(|_| EventFd::new().unwrap()).collect();
    let assigned: Vec<_> = eventfds.iter().map(|fd| Some(fd.as_fd())).collect();
    let before = {
        let mut client = server.client();
        client.device_info().unwrap();
        server.descriptors()
    };

    for round in 0..1000_u64 {
        let mut client = server.client();
        let range = (file.as_fd(), 0);
        client
            .dma_map(round << 20, 0x1_0000, Protection::READ, Some(range))
            .unwrap();
        client
            .assign_irqs(MSIX, IrqAction::Trigger, 0, &assigned)
            .unwrap();
        client
            .assign_irqs(INTX, IrqAction::Unmask, 0, &assigned[..1])
            .unwrap();
    }

    let mut client = server.client();
    client.device_info().unwrap();
    assert_eq!(server.descriptors(), before);
}

#[test]
fn registers_that_are_only_stored_are_told_of_once() {
    let server = Server::start_with(&["--wire", "null", "--log", "debug"]);
    let mut client = server.client();
    for reg in [Reg::DCA_CTRL, Reg::STATUS, Reg::DCA_CTRL, Reg::FACTPS] {
        let offset = u64::from(reg.offset(0));
        client.region_read(0, offset, &mut [0; 4]).unwrap();
    }

    let first = server.wait_for_log("only stored");
    let second = server.wait_for_log("only stored");

    assert!(first.contains("DCA_CTRL"), "{first}");
    assert!(second.contains("FACTPS"), "{second}");
}

fn register(client: &mut Client, reg: Reg, index: usize) -> u32 {
    let mut value = [0; 4];
    client
        .region_read(0, reg.offset(index).into(), &mut value)
        .unwrap();
    u32::from_le_bytes(value)
}

/// QEMU shows no SR-IOV capability to a guest; a client of its own finds it.
#[test]
fn a_client_that_enables_virtual_functions_sees_their_number_and_resets_until_it_disables_them() {
    const CONFIG: u32 = 7;
    const CAPABILITY: u64 = 0x160;
    const CONTROL: u64 = CAPABILITY + 0x08;
    const NUM_VFS: u64 = CAPABILITY + 0x10;
    const RESET: u32 = 1 << 26;
    let server = Server::start();
    let mut client = server.client();
    let mut id = [0; 2];
    client.region_read(CONFIG, CAPABILITY, &mut id).unwrap();

    client.region_write(CONFIG, NUM_VFS, &[7, 0]).unwrap();
    client.region_write(CONFIG, CONTROL, &[1, 0]).unwrap();
    let enabled = register(&mut client, Reg::STATUS, 0);
    client
        .region_write(0, Reg::VTCTRL.offset(3).into(), &RESET.to_le_bytes())
        .unwrap();
    let reset = register(&mut client, Reg::PFVFLRE, 0);
    client.region_write(CONFIG, CONTROL, &[0, 0]).unwrap();

    assert_eq!(u16::from_le_bytes(id), 0x0010, "SR-IOV");
    assert_eq!((enabled >> 10 & 0xFF, enabled >> 18 & 1), (7, 1));
    assert_eq!(reset, 1 << 3);
    assert_eq!(register(&mut client, Reg::STATUS, 0) >> 10 & 0x1FF, 0);
    assert_eq!(register(&mut client, Reg::PFVFLRE, 0), 0);
}
