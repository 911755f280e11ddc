//! docs/dma-bug.md.

use anyhow::{Result, ensure};
use guest_tests::{CardWorld, frames, page::Page, world::World};
use nic_driver::{Buffers, Config, DmaMemory};

use super::{
    desk::Desk,
    guest::{self, Guest},
};

pub const PAGE: Page = Page::new("docs/dma-bug.md", include_str!("../../../docs/dma-bug.md"));
/// Where the driver has its buffers, of 2 KiB each.
const BUFFERS: u64 = 0x4_0000;
const BUFFER: u64 = 0x800;
const COUNT: usize = 8;

pub fn a_page_that_is_posted_twice_is_found(desk: &mut Desk) -> Result<()> {
    desk.follow(PAGE.below("Let the NIC watch the driver")?)?;
    let driver = Buggy::bring_up(desk)?;
    desk.follow(PAGE.below("Read the report")?)?;
    desk.follow(PAGE.below("Look at the place")?)?;
    drop(driver);
    desk.stop_server()?;
    desk.follow(PAGE.below("Do it again without the guest")?)?;

    desk.follow(PAGE.below("Let it fail at once")?)?;
    // It may be told so within the call that rings the doorbell, or behind it.
    let driver = Buggy::bring_up(desk);
    let status = desk.server_ends()?;
    drop(driver);
    let log = desk.log()?;
    ensure!(
        status.code() == Some(1),
        "the server ends with {status}: {log}"
    );
    ensure!(log.contains("buffer-posted-twice"), "{log}");

    Ok(())
}

pub fn a_refused_access_is_told(desk: &mut Desk) -> Result<()> {
    desk.follow(PAGE.below("Refuse an access on purpose")?)?;
    let guest = Guest::boot(&desk.socket(), &desk.control(), true)?;
    desk.follow(PAGE.below("While the driver works")?)?;
    desk.until("ixgbectl fault list", "spent")?;
    desk.follow(PAGE.below("What came of it")?)?;
    guest.shut_down()?;
    desk.stop_server()
}

/// A driver that posts a buffer twice, and the buffers.
struct Buggy(#[expect(dead_code, reason = "the card goes with it")] (CardWorld, DmaMemory));

impl Buggy {
    fn bring_up(desk: &Desk) -> Result<Self> {
        let config = Config {
            rx_buffers: Buffers::Foreign,
            ring_len: 8,
            first_iova: 0x2_0000,
            ..guest::usual()
        };
        let mut world = guest::driver(&desk.socket(), &desk.control(), &config)?;
        let driver = world.driver()?;
        let buffers = DmaMemory::new(driver.device(), BUFFERS, COUNT * 0x800)?;
        driver.start_rx(0)?;
        let (ring, device) = driver.post(0);
        for number in [0, 1, 0] {
            ring.post(BUFFERS + number * BUFFER)?;
        }
        ring.ring_doorbell(device)?;
        let mac = world.mac()?;
        world
            .cable()
            .put(&[0, 1, 2].map(|n| frames::numbered(mac, n, 100)))?;
        Ok(Self((world, buffers)))
    }
}
