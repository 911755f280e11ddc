use ixgbe_spec::register::Reg;

use super::Bench;

/// Enable, of ETQF and FTQF.
const FILTER: u32 = 1 << 31;
/// FTQF: the pool is not compared.
const ANY_POOL: u32 = 1 << 30;
/// FTQF: neither are the addresses and the source port.
const DESTINATION_PORT_AND_PROTOCOL: u32 = 7 << 25;
/// FTQF: nothing but the protocol is.
const PROTOCOL_ALONE: u32 = 0xF << 25;

#[test]
fn an_ethertype_that_is_a_length_is_told() {
    let mut bench = Bench::new();

    bench.world.set_at(Reg::ETQF, 2, FILTER | 0x05FF);

    let told = bench.told();
    assert!(
        told.starts_with("filter-never-matches: warning: ETQF(2): 0x800005ff is written; 0x05ff "),
        "{told}"
    );
}

#[test]
fn ethertype_filters_of_types_and_those_that_are_off_are_not_told() {
    let mut bench = Bench::new();

    bench.world.set_at(Reg::ETQF, 0, FILTER | 1 << 27 | 0x8906);
    bench.world.set_at(Reg::ETQF, 1, FILTER | 0x0600);
    bench.world.set_at(Reg::ETQF, 3, 0x0001);
    bench.world.set_at(Reg::ETQF, 0, 0);

    assert_eq!(bench.broken(), [""; 0]);
}

#[test]
fn a_port_of_a_protocol_without_ports_is_told() {
    let mut bench = Bench::new();
    let filter = FILTER | ANY_POOL | DESTINATION_PORT_AND_PROTOCOL;

    bench.world.set_at(Reg::FTQF, 5, filter | 3);

    let told = bench.told();
    assert!(
        told.starts_with("filter-never-matches: warning: FTQF(5): "),
        "{told}"
    );
    assert!(told.contains("it compares a port"), "{told}");
}

#[test]
fn a_port_of_udp_and_a_protocol_without_a_port_are_not_told() {
    let mut bench = Bench::new();
    let filter = FILTER | ANY_POOL;

    bench
        .world
        .set_at(Reg::FTQF, 0, filter | DESTINATION_PORT_AND_PROTOCOL | 1);
    bench
        .world
        .set_at(Reg::FTQF, 1, filter | PROTOCOL_ALONE | 3);
    bench
        .world
        .set_at(Reg::FTQF, 2, ANY_POOL | DESTINATION_PORT_AND_PROTOCOL | 3);

    assert_eq!(bench.broken(), [""; 0]);
}

#[test]
fn a_flow_for_a_flow_director_without_memory_is_told() {
    let mut bench = Bench::new();

    bench.set(Reg::FDIRCMD, 1 | 2 << 5 | 1 << 15);

    let told = bench.told();
    assert!(
        told.contains("FDIRCTRL gives the Flow Director no memory"),
        "{told}"
    );
}

#[test]
fn a_flow_for_a_flow_director_with_memory_is_not_told() {
    let mut bench = Bench::new();

    bench.set(Reg::FDIRCTRL, 1);
    bench.set(Reg::FDIRCMD, 1 | 2 << 5 | 1 << 15);

    assert_eq!(bench.broken(), [""; 0]);
}
