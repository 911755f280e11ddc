use ixgbe_spec::register::Reg;

use super::Bench;

const RST: u32 = 1 << 26;
const GIO_DIS: u32 = 1 << 2;

#[test]
fn a_write_of_a_register_that_is_read_only_is_told() {
    let mut bench = Bench::new();

    bench.set(Reg::STATUS, 0);
    bench.set(Reg::GPRC, 0);

    assert_eq!(bench.broken(), ["read-only-written"; 2]);
}

#[test]
fn a_reserved_bit_that_is_set_is_told() {
    let mut bench = Bench::new();

    bench.set(Reg::RXCTRL, 3);
    let before = bench.broken();
    bench.set(Reg::RXCTRL, 7);

    assert_eq!(before, [""; 0]);
    assert!(bench.told().contains("bits 0x4 are not software's to set"));
}

#[test]
fn a_bit_that_is_written_back_as_it_was_read_is_not_told() {
    let mut bench = Bench::new();

    let value = bench.world.get(Reg::RDRXCTL);
    bench.set(Reg::RDRXCTL, value | 2);

    assert_ne!(value & 8, 0, "a bit that only the card sets");
    assert_eq!(bench.broken(), [""; 0]);
}

#[test]
fn a_write_where_no_register_is_is_told() {
    let mut bench = Bench::new();

    bench.world.write(0x1_FFFC, 1);

    let told = bench.told();
    assert!(
        told.starts_with("no-such-register: warning: offset 0x1fffc: "),
        "{told}"
    );
}

#[test]
fn a_reset_while_queues_are_enabled_is_told() {
    let mut bench = Bench::running();

    bench.set(Reg::CTRL, RST);

    assert!(bench.told().contains("2 queues are enabled"));
}

#[test]
fn a_reset_after_master_disable_is_not_told() {
    let mut bench = Bench::running();

    bench.set(Reg::CTRL, GIO_DIS);
    bench.set(Reg::CTRL, RST);

    assert_eq!(bench.broken(), [""; 0]);
}

#[test]
fn a_write_before_the_reset_is_over_is_told() {
    let mut bench = Bench::new();

    bench.set(Reg::CTRL, RST);
    bench.world.get(Reg::STATUS);
    bench.set(Reg::EIMC, u32::MAX);

    assert_eq!(bench.broken(), ["reset-not-waited-for"]);
}

#[test]
fn a_write_after_the_reset_is_over_is_not_told() {
    let mut bench = Bench::new();

    bench.set(Reg::CTRL, RST);
    bench.world.get(Reg::CTRL);
    bench.set(Reg::EIMC, u32::MAX);

    assert_eq!(bench.broken(), [""; 0]);
}

#[test]
fn queues_that_a_reset_has_ended_are_nobodys() {
    let mut bench = Bench::running();
    bench.fill();
    bench.set(Reg::CTRL, GIO_DIS);
    bench.set(Reg::CTRL, RST);
    bench.world.get(Reg::CTRL);

    bench.set(Reg::RDBAL, 0x9_0000);
    bench.set(Reg::RDT, 100);

    assert_eq!(bench.broken(), [""; 0]);
}

#[test]
fn the_grant_of_the_eeproms_pins_may_be_written_back() {
    let mut bench = Bench::new();
    let eec = bench.world.get(Reg::EEC);
    bench.set(Reg::EEC, eec | 1 << 6);
    let granted = bench.world.get(Reg::EEC);

    bench.set(Reg::EEC, granted & !(1 << 6));

    assert_eq!(granted >> 7 & 1, 1);
    assert_eq!(bench.broken(), [""; 0]);
}
