//! DPDK's ixgbe PMD in a virtual machine, driven by testpmd. No DPDK source is needed: testpmd is a Debian package.
//!
//! Not tested: time stamps, IPsec, SR-IOV.

macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        &[$((stringify!($name), $name)),*]
    };
}

mod dpdk {
    use super::Test;

    pub mod address_filters;
    pub mod black_box;
    pub mod classification;
    pub mod dcb;
    pub mod forwarding;
    pub mod link;
    pub mod machine;
    pub mod mbufs;
    pub mod offloads;
    pub mod pools;
    pub mod registers;
    pub mod testpmd;
}

use std::sync::{Arc, Mutex, PoisonError};

use dpdk::{
    address_filters, black_box, classification, dcb, forwarding, link, machine::Machine, mbufs,
    offloads, pools, registers,
};
use guest_tests::runner;
use guest_vm::{TestExtent, TestSetting};
use libtest_mimic::{Arguments, Trial};

/// A test.
type Test = (&'static str, fn(&mut Machine) -> anyhow::Result<()>);

fn main() {
    let mut arguments = Arguments::from_args();
    // They share a guest.
    arguments.test_threads = Some(1);
    let trials = match TestSetting::from_env().map(|setting| setting.extent) {
        Some(TestExtent::Quick) => Vec::new(),
        Some(TestExtent::Full) => {
            let machine = Arc::new(Mutex::new(Machine::default()));
            all().map(|test| on_machine(test, &machine)).collect()
        }
        None => all()
            .map(|(name, _)| {
                runner::cannot_run(
                    name,
                    "run by cargo xtask test, which makes the virtual machine",
                )
            })
            .collect::<Vec<Trial>>(),
    };
    libtest_mimic::run(&arguments, trials).exit();
}

fn all() -> impl Iterator<Item = Test> {
    [
        forwarding::TESTS,
        mbufs::TESTS,
        address_filters::TESTS,
        classification::TESTS,
        offloads::TESTS,
        pools::TESTS,
        dcb::TESTS,
        link::TESTS,
        black_box::TESTS,
        registers::TESTS,
    ]
    .into_iter()
    .flatten()
    .copied()
}

fn on_machine((name, run): Test, machine: &Arc<Mutex<Machine>>) -> Trial {
    let machine = Arc::clone(machine);
    runner::test(name, move || {
        // A panic in another test leaves a machine behind that is as good as any.
        let mut machine = machine.lock().unwrap_or_else(PoisonError::into_inner);
        machine.test(name, run)
    })
}
