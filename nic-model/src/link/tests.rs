//! Link, pins and module as drivers see them.

use ixgbe_spec::register::Reg;

use crate::{Module, Port, bus::Signal, port::tests::world::World};

const LSC: u32 = 1 << 20;
const UP_10G: u32 = 0x7000_0080;

#[test]
fn sdp2_shows_the_module_whatever_is_written_to_the_input() {
    let mut world = World::cold();
    assert_eq!(world.get(Reg::ESDP) & 0x4, 0x4);
    world.carrier(true);
    world.set(Reg::ESDP, 0x0000_2828);
    assert_eq!(world.get(Reg::ESDP), 0x0000_282C);
    world.plug(Module::Absent);
    assert_eq!(
        world.get(Reg::ESDP),
        0x0000_282A,
        "and SDP1 the loss of signal"
    );
}

#[test]
fn the_pins_of_the_cage_are_causes_when_they_rise_and_gpie_enables_them() {
    let mut world = World::enabled();
    world.set(Reg::GPIE, 1 << 1 | 1 << 2);
    world.carrier(false);
    assert_eq!(world.get(Reg::EICR), LSC | 1 << 25, "loss of signal");
    world.plug(Module::Absent);
    assert_eq!(world.get(Reg::EICR), 0, "presence has fallen");
    world.plug(Module::Lr);
    assert_eq!(world.get(Reg::EICR), 1 << 26);
    world.set(Reg::GPIE, 0);
    world.plug(Module::Sr);
    assert_eq!(world.get(Reg::EICR), 0, "neither pin is enabled");
}

#[test]
fn another_module_in_place_of_one_is_first_drawn_and_then_plugged_in() {
    let mut world = World::enabled();
    world.set(Reg::GPIE, 1 << 2);
    world.plug(Module::DirectAttachPassive);
    assert_eq!(world.get(Reg::EICR), LSC | 1 << 26);
    assert_eq!(world.get(Reg::MLFC), 1);
    world.plug(Module::DirectAttachPassive);
    assert_eq!(world.get(Reg::EICR), 0, "it is there already");
}

#[test]
fn sdp3_takes_the_light_from_the_other_end_and_not_the_local_link() {
    let mut world = World::enabled();
    assert!(world.port.is_lit());
    // Linux sets the level alone: the direction is the board's.
    let esdp = world.get(Reg::ESDP);
    world.set(Reg::ESDP, esdp | 1 << 3);
    assert!(!world.port.is_lit());
    assert!(world.port.link_is_up());
    world.set(Reg::ESDP, esdp);
    assert!(world.port.is_lit());
}

#[test]
fn a_passive_cable_has_no_transmitter_that_sdp3_could_disable() {
    let mut world = World::enabled();
    world.plug(Module::DirectAttachPassive);
    let esdp = world.get(Reg::ESDP);
    world.set(Reg::ESDP, esdp | 1 << 3);
    assert!(world.port.is_lit());
    world.plug(Module::DirectAttachActive);
    assert!(!world.port.is_lit());
}

#[test]
fn a_reset_by_the_driver_leaves_the_laser_off_and_one_by_the_bus_turns_it_on() {
    let mut world = World::enabled();
    let esdp = world.get(Reg::ESDP);
    world.set(Reg::ESDP, esdp | 1 << 3);
    world.set(Reg::CTRL, 1 << 26);
    assert!(!world.port.is_lit());
    world.call(Port::reset);
    assert!(world.port.is_lit());
}

#[test]
fn plugging_a_module_in_is_a_cause_if_gpie_enables_its_pin() {
    let mut world = World::enabled();
    world.plug(Module::Absent);
    world.set(Reg::EICR, u32::MAX);
    world.set(Reg::GPIE, 1 << 2);
    world.plug(Module::Sr);
    assert_eq!(world.get(Reg::EICR), 1 << 26);
    world.train();
    assert_eq!(world.get(Reg::EICR), LSC);
}

#[test]
fn the_link_follows_the_carrier_and_each_change_is_a_cause() {
    let mut world = World::cold();
    assert_eq!(world.get(Reg::LINKS), 0);
    world.set(Reg::EIMS, LSC);
    world.carrier(true);
    assert_eq!(world.signals(), [Signal::IntxAssert]);
    assert_eq!(world.get(Reg::EICR) & LSC, LSC);
    world.get(Reg::LINKS);
    assert_eq!(world.get(Reg::LINKS), UP_10G);
    world.carrier(true);
    assert_eq!(world.get(Reg::EICR), 0, "no change");
    world.carrier(false);
    assert_eq!(world.get(Reg::EICR) & LSC, LSC);
    assert_eq!(world.get(Reg::LINKS), 0);
    assert_eq!(world.get(Reg::MLFC), 1);
}

#[test]
fn bit_7_of_links_tells_of_a_loss_since_the_last_read() {
    let mut world = World::enabled();
    world.get(Reg::LINKS);
    world.carrier(false);
    world.carrier(true);
    world.train();
    assert_eq!(world.get(Reg::LINKS), UP_10G & !0x80);
    assert_eq!(world.get(Reg::LINKS), UP_10G);
}

#[test]
fn a_link_that_was_lost_is_away_for_a_quarter_of_a_second() {
    let mut world = World::enabled();
    world.carrier(false);
    world.pass_nanos(100_000_000);
    world.carrier(true);
    let due = world.port.deadline().unwrap();
    assert_eq!(due.since(world.now).as_millis(), 150);
    world.pass_nanos(149_999_999);
    world.step();
    assert!(!world.port.link_is_up());
    world.get(Reg::EICR);
    world.pass_nanos(1);
    world.step();
    assert!(world.port.link_is_up());
    assert_eq!(world.get(Reg::EICR), LSC);
    assert_eq!(world.port.deadline(), None);
}

#[test]
fn a_module_that_was_plugged_in_needs_a_second() {
    let mut world = World::enabled();
    world.plug(Module::Lr);
    world.pass_nanos(999_999_999);
    world.step();
    assert!(!world.port.link_is_up());
    world.pass_nanos(1);
    world.step();
    assert!(world.port.link_is_up());
}

#[test]
fn the_first_link_and_that_after_a_reset_are_there_at_once() {
    let mut world = World::cold();
    world.carrier(true);
    assert!(world.port.link_is_up());
    world.carrier(false);
    world.carrier(true);
    assert!(!world.port.link_is_up());
    world.set(Reg::CTRL, 1 << 3);
    assert!(world.port.link_is_up());
}

#[test]
fn there_is_no_link_without_a_module_or_with_the_link_disabled() {
    let mut world = World::enabled();
    world.plug(Module::Absent);
    assert!(!world.port.link_is_up());
    world.plug(Module::Sr);
    world.train();
    assert!(world.port.link_is_up());
    world.set(Reg::AUTOC2, 0x400A_0000);
    assert!(!world.port.link_is_up() && !world.port.is_lit());
    world.set(Reg::AUTOC2, 0x000A_0000);
    world.train();
    assert!(world.port.link_is_up());
}

#[test]
fn flu_forces_the_link_up() {
    let mut world = World::cold();
    let autoc = world.get(Reg::AUTOC);
    assert_ne!(autoc, 0);
    world.set(Reg::AUTOC, autoc | 1);
    assert!(world.port.link_is_up());
    world.set(Reg::AUTOC, autoc);
    assert!(!world.port.link_is_up());
}

#[test]
fn a_gigabit_module_has_a_link_when_autoc_asks_for_its_speed() {
    let mut world = World::enabled();
    world.plug(Module::Sx);
    assert!(!world.port.link_is_up(), "the link mode is 10 Gbit/s");
    // What Linux writes for such a module: 1 Gbit/s with auto-negotiation.
    world.set(Reg::AUTOC, 0x0000_4200 | 1 << 12);
    world.train();
    world.get(Reg::LINKS);
    assert_eq!(world.get(Reg::LINKS), 0x6000_0080);
    assert_eq!(world.get(Reg::PCS1GLSTA), 0x0001_0011);
    assert_eq!(
        world.get(Reg::PCS1GANLP) & 0x1A0,
        0x1A0,
        "full duplex, pause"
    );
    world.set(Reg::AUTOC, 0x0000_0200);
    assert_eq!(world.get(Reg::PCS1GLSTA), 0x11, "no auto-negotiation");
    assert_eq!(world.get(Reg::PCS1GANLP), 0);
}

#[test]
fn a_module_of_both_speeds_has_the_one_that_autoc_asks_for() {
    let mut world = World::enabled();
    world.plug(Module::SrDualRate);
    world.train();
    world.get(Reg::LINKS);
    assert_eq!(world.get(Reg::LINKS) >> 28, 0x7, "10 Gbit/s");
    world.set(Reg::AUTOC, 0x0000_4200 | 1 << 12);
    assert!(!world.port.link_is_up(), "it trains at the other speed");
    world.train();
    world.get(Reg::LINKS);
    assert_eq!(world.get(Reg::LINKS) >> 28, 0x6, "1 Gbit/s");
}

#[test]
fn a_ten_gigabit_module_has_no_link_at_one_gigabit() {
    let mut world = World::enabled();
    world.set(Reg::AUTOC, 0x0000_4200);
    assert_eq!(world.get(Reg::LINKS) >> 28, 0);
    assert_eq!(world.get(Reg::PCS1GLSTA), 0);
    world.set(Reg::AUTOC, 0x0000_6000);
    world.train();
    assert_eq!(world.get(Reg::LINKS) >> 28, 0x7);
    assert_eq!(world.get(Reg::PCS1GLSTA), 0);
}

#[test]
fn a_restart_of_the_link_clears_itself_and_the_state_machine_is_not_idle() {
    let mut world = World::enabled();
    let autoc = world.get(Reg::AUTOC);
    // The pipeline reset of Linux: restart with the link mode toggled, wait, restart with the old mode.
    world.set(Reg::AUTOC, (autoc | 1 << 12) ^ 0x8000);
    assert_ne!(world.get(Reg::ANLP1) & 0x000F_0000, 0);
    world.set(Reg::AUTOC, autoc | 1 << 12);
    assert_eq!(world.get(Reg::AUTOC), autoc);
    assert!(world.port.link_is_up());
}

#[test]
fn in_a_backplane_mode_the_partner_has_negotiated_when_there_is_a_link() {
    for mode in [4, 6, 7] {
        let mut world = World::enabled();
        world.set(Reg::AUTOC, mode << 13 | 1 << 12);

        assert_eq!(world.get(Reg::LINKS) >> 30, 3, "up, negotiated");
        assert_eq!(
            world.get(Reg::ANLP1) & 0x4C1F,
            0x4C01,
            "PAUSE of both kinds"
        );
        assert_eq!(world.get(Reg::ANLP2), 0xE0, "KX, KX4, KR");
        assert_eq!(world.get(Reg::LINKS2) & 0x40, 0x40);
        world.carrier(false);
        assert_eq!(world.get(Reg::LINKS) >> 30, 0);
        assert_eq!(world.get(Reg::ANLP1), 0x0004_0000, "the state alone");
        assert_eq!(world.get(Reg::ANLP2) | world.get(Reg::LINKS2), 0);
    }
}

#[test]
fn a_link_that_is_forced_up_has_not_negotiated_a_backplane() {
    let mut world = World::enabled();
    for mode in 0..8 {
        // Forced up: the other end does not matter.
        world.set(Reg::AUTOC, mode << 13 | 1);

        assert_eq!(world.get(Reg::LINKS) >> 30, 1, "up");
        assert_eq!(world.get(Reg::ANLP1), 0x0004_0000);
        assert_eq!(world.get(Reg::ANLP2) | world.get(Reg::LINKS2), 0);
    }
}

#[test]
fn no_phy_answers_on_mdio_in_either_frame_format() {
    const CLAUSE_22: u32 = 1 << 28;
    let mut world = World::enabled();
    for phy in 0..32 {
        // An address cycle, a write, and the two reads of clause 45; a write and a read of clause 22.
        for (op, format) in [
            (0, 0),
            (1, 0),
            (2, 0),
            (3, 0),
            (1, CLAUSE_22),
            (2, CLAUSE_22),
        ] {
            world.set(Reg::MSRWD, 0x5555);
            world.set(
                Reg::MSCA,
                0x0001_0002 | phy << 21 | op << 26 | format | 1 << 30,
            );
            assert_eq!(world.get(Reg::MSCA) >> 30 & 1, 0, "complete");
            if op >= 2 {
                assert_eq!(world.get(Reg::MSRWD), 0xFFFF_5555, "all ones");
            }
        }
    }
}
