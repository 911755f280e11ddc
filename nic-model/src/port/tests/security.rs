//! The security block, which is there to be passed by.

use ixgbe_spec::register::Reg;

use super::world::World;

#[test]
fn receive_stops_at_once_for_a_change_and_there_is_no_ipsec() {
    let mut world = World::enabled();
    for (control, status) in [
        (Reg::SECRXCTRL, Reg::SECRXSTAT),
        (Reg::SECTXCTRL, Reg::SECTXSTAT),
    ] {
        world.set(control, 0x3);
        assert_eq!(world.get(status), 0x3, "ready, and no offload");
        world.set(control, 0x1);
        assert_eq!(world.get(control), 0x1);
    }
}
