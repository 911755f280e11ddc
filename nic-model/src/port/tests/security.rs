//! What stops the security block, and what it announces.

use ixgbe_spec::register::Reg;

use super::world::{MAC, World};
use crate::rx::{DropReason, Verdict};

#[test]
fn receive_and_transmit_stop_at_once_for_a_change_and_ipsec_is_available() {
    let mut world = World::enabled();
    for (control, status) in [
        (Reg::SECRXCTRL, Reg::SECRXSTAT),
        (Reg::SECTXCTRL, Reg::SECTXSTAT),
    ] {
        world.set(control, 0x3);
        assert_eq!(world.get(status), 0x1, "ready, and not fused off");
        world.set(control, 0x1);
        assert_eq!(world.get(control), 0x1);
    }
}

#[test]
fn a_frame_waits_on_the_cable_while_receive_is_stopped_before_the_security_block() {
    let mut world = World::enabled();
    let frame = [&MAC[..], &[0; 54]].concat();
    world.set(Reg::SECRXCTRL, 0x3);
    assert!(!world.port.has_room());
    let verdict = world.receive(&frame);
    assert_eq!(verdict, Verdict::Dropped(DropReason::Disabled));
    assert_eq!(world.get(Reg::TPR), 0);

    world.set(Reg::SECRXCTRL, 0x1);
    assert!(world.port.has_room());
    world.receive(&frame);
    assert_eq!(world.get(Reg::TPR), 1);
}
