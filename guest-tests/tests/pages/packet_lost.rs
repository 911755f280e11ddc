//! docs/packet-lost.md.

use anyhow::Result;
use guest_tests::page::Page;
use nic_driver::Config;

use super::{
    desk::Desk,
    guest::{self, Guest},
};

pub const PAGE: Page = Page::new(
    "docs/packet-lost.md",
    include_str!("../../../docs/packet-lost.md"),
);
/// Where the rings of the page lie.
const RINGS: u64 = 0x1_0000;

pub fn the_nic_tells_why_a_frame_did_not_arrive(desk: &mut Desk) -> Result<()> {
    desk.follow(PAGE.below("A NIC to ask")?)?;
    let config = Config {
        first_iova: RINGS,
        ..guest::usual()
    };
    let world = guest::driver(&desk.socket(), &desk.control(), &config)?;
    desk.follow(PAGE.below("1. Let the frame arrive and read the verdict")?)?;
    desk.follow(PAGE.below("2. Look at the filters")?)?;
    desk.follow(PAGE.below("3. Look at the ring")?)?;
    desk.follow(PAGE.below("4. Look at the interrupt")?)?;
    drop(world);
    let guest = Guest::boot(&desk.socket(), &desk.control(), true)?;
    desk.follow(PAGE.below("5. Watch it happen")?)?;
    desk.follow(PAGE.below("How often was a byte copied?")?)?;
    guest.shut_down()?;
    desk.stop_server()
}
