//! A client that was written elsewhere: the `vfio_user` crate's, which is cloud-hypervisor's.
//!
//! It waits for replies of fixed length for ever, so each test has a watchdog.

use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use foreign_vfio_user::Client;
use vfio_user::Listener;
use vfio_user::server::{DmaRange, IovaRange, IrqAction, Limits};

use crate::support::{Event, FAULTY_OFFSET, INTX, MSIX, Server, count, description, eventfd};

/// Runs a test of the client, and gives up on it after a while.
fn watched(test: impl FnOnce() + Send + 'static) {
    let (finished, end) = channel();
    let thread = std::thread::spawn(move || {
        test();
        let _ = finished.send(());
    });
    match end.recv_timeout(Duration::from_secs(20)) {
        Err(RecvTimeoutError::Timeout) => panic!("the client hangs"),
        Ok(()) | Err(RecvTimeoutError::Disconnected) => thread.join().unwrap(),
    }
}

/// A server behind a socket path, and the client connected to it.
fn connect() -> (Server, Client) {
    let folder = tempfile::tempdir().unwrap();
    let listener = Listener::bind(folder.path().join("socket")).unwrap();
    let path = listener.path().to_path_buf();
    let client = std::thread::spawn(move || Client::new(&path).unwrap());
    let stream: UnixStream = loop {
        match listener.accept().unwrap() {
            Some(stream) => break stream,
            None => std::thread::yield_now(),
        }
    };
    let server = Server::serve(stream, Limits::default(), description());
    (server, client.join().unwrap())
}

#[test]
fn it_finds_the_regions_and_interrupts() {
    watched(|| {
        let (_server, mut client) = connect();

        let sizes: Vec<_> = (0..9).map(|at| client.region(at).unwrap().size).collect();
        let msix = client.get_irq_info(MSIX).unwrap();

        assert_eq!(sizes, [0x8_0000, 0, 32, 0, 0x4000, 0, 4096, 4096, 0]);
        assert_eq!((msix.flags, msix.count), (1, 64));
    });
}

#[test]
fn it_reads_and_writes_regions() {
    watched(|| {
        let (_server, mut client) = connect();
        let mut data = [0; 6];

        client.region_write(0, 0x1234, b"abcdef").unwrap();
        client.region_read(0, 0x1234, &mut data).unwrap();

        assert_eq!(&data, b"abcdef");
    });
}

#[test]
fn accesses_that_fail_read_as_ones_and_do_not_hang_it() {
    watched(|| {
        let (_server, mut client) = connect();
        let (mut outside, mut faulty, mut absent) = ([0; 4], [0; 2], [0; 1]);

        client.region_read(0, 0x8_0000 - 1, &mut outside).unwrap();
        client.region_read(0, FAULTY_OFFSET, &mut faulty).unwrap();
        client.region_read(8, 0, &mut absent).unwrap();
        client.region_write(0, 0x8_0000, &[1, 2]).unwrap();
        client.region_write(0, FAULTY_OFFSET, &[1, 2]).unwrap();
        let none = client.get_irq_info(17).unwrap();

        assert_eq!((outside, faulty, absent), ([0xff; 4], [0xff; 2], [0xff]));
        assert_eq!(none.count, 0);
    });
}

#[test]
fn it_maps_and_unmaps_memory() {
    watched(|| {
        let (server, mut client) = connect();
        let file = tempfile::tempfile().unwrap();

        client
            .dma_map(0x4000, 0x1000, 0x2000, file.as_raw_fd())
            .unwrap();
        client.dma_unmap(0x1000, 0x2000).unwrap();
        // Nonsense, which it must not be told about.
        client.dma_unmap(0x1000, 0).unwrap();

        let events = server.take_events();
        assert!(matches!(
            events[0],
            Event::Map {
                first: 0x1000,
                last: 0x2fff,
                file: true,
                offset: 0x4000,
                ..
            }
        ));
        let range = IovaRange::new(0x1000, 0x2000).unwrap();
        assert_eq!(events[1..], [Event::Unmap(DmaRange::Range(range))]);
    });
}

#[test]
fn it_sets_interrupts_up_and_down() {
    watched(|| {
        let (server, mut client) = connect();
        let fds: Vec<_> = (0..16).map(|_| eventfd()).collect();
        let raw: Vec<_> = fds.iter().map(AsRawFd::as_raw_fd).collect();

        // EVENTFD | TRIGGER, as it does for all of MSI-X, sixteen at a time.
        client.set_irqs(MSIX, 0x24, 16, 16, &raw).unwrap();
        let fired = server.fire(MSIX, 20);
        // NONE | UNMASK, as it does after every BAR access; NONE | TRIGGER of none.
        client.set_irqs(INTX, 0x11, 0, 1, &[]).unwrap();
        client.set_irqs(MSIX, 0x21, 0, 0, &[]).unwrap();

        assert_eq!((fired, count(&fds[4])), (1, 1));
        let events = server.take_events();
        assert_eq!(
            events[1..],
            [
                Event::ActOnIrqs {
                    index: INTX,
                    action: IrqAction::Unmask,
                    vectors: vec![0],
                },
                Event::DisableIrqs { index: MSIX },
            ]
        );
    });
}

#[test]
fn its_reset_is_served_though_it_misreads_the_flag() {
    watched(|| {
        let (server, mut client) = connect();
        assert!(!client.resettable());
        client.reset().unwrap();
        assert_eq!(server.take_events(), [Event::Reset]);
    });
}

#[test]
fn it_is_never_sent_a_command() {
    watched(|| {
        let (server, _client) = connect();
        assert!(server.dma_read(0, 4).is_err());
        assert!(server.dma_write(0, &[0]).is_err());
    });
}
