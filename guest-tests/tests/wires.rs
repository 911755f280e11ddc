//! What is at the other end of a wire that leaves the server's process: other servers of ours, on this host and on others,
//! interfaces of this host, and passt.

mod wires {
    pub mod interfaces;
    pub mod lab;
    pub mod passt;
    pub mod replay;
    pub mod servers;
    pub mod station;
}

use guest_tests::runner;
use guest_vm::{TestExtent, TestSetting};
use libtest_mimic::{Arguments, Trial};
use wires::{interfaces, lab, passt, replay, servers};

/// A test.
type Test = (&'static str, fn() -> anyhow::Result<()>);

/// A list of tests from the functions that are the tests.
macro_rules! tests {
    ($($module:ident::$name:ident),* $(,)?) => {
        &[$((concat!(stringify!($module), "::", stringify!($name)), $module::$name)),*]
    };
}

/// Need nothing but the server.
const ALONE: &[Test] = tests![
    replay::a_driver_gets_every_frame_of_a_replay_and_what_it_sends_is_captured,
    servers::frames_pass_between_servers_that_a_tcp_stream_joins,
    servers::frames_pass_between_servers_that_unix_datagrams_join,
    servers::the_link_goes_with_the_other_server_and_comes_back_with_its_successor,
];

/// Need programs from packages, and network namespaces.
const WITH_PACKAGES: &[Test] = tests![
    interfaces::frames_of_two_drivers_cross_a_veth_pair_by_packet_sockets,
    interfaces::frames_of_two_drivers_cross_a_veth_pair_by_af_xdp,
    interfaces::the_link_goes_with_the_interface_and_comes_back_with_another,
    lab::bridges_that_vxlan_joins_carry_frames_up_to_the_mtu,
    lab::a_stream_between_two_hosts_carries_frames,
    lab::datagrams_between_two_hosts_carry_frames,
    passt::passt_leases_an_address_and_answers_arp_and_ping,
];

fn main() {
    let arguments = Arguments::from_args();
    let extent = TestSetting::from_env().map(|setting| setting.extent);
    let alone = ALONE.iter().map(|(name, run)| runner::test(*name, run));
    let with_packages = WITH_PACKAGES.iter().filter_map(|(name, run)| match extent {
        Some(TestExtent::Quick) => None,
        Some(_) => Some(runner::test(*name, run)),
        None => Some(runner::cannot_run(
            *name,
            "run by cargo xtask test, which fetches the programs",
        )),
    });
    let trials: Vec<Trial> = alone.chain(with_packages).collect();
    libtest_mimic::run(&arguments, trials).exit();
}
