//! Linux's own driver in virtual machines: the scenarios, and the life of a NIC under it.

/// A list of tests from the functions that are the tests.
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        &[$((stringify!($name), $name)),*]
    };
}

mod linux {
    pub mod addresses;
    pub mod afxdp;
    pub mod afxdp_life;
    pub mod black_box;
    pub mod classification;
    pub mod dcb;
    pub mod diagnosis;
    pub mod doorbells;
    pub mod endurance;
    pub mod esp_peer;
    pub mod examples;
    pub mod faults;
    pub mod fcoe;
    pub mod iommu;
    pub mod ipsec;
    pub mod lane;
    pub mod life;
    pub mod link;
    pub mod machine;
    pub mod macvlan;
    pub mod module;
    pub mod nvm;
    pub mod pci;
    pub mod pktgen;
    pub mod ports;
    pub mod receiving;
    pub mod registers;
    pub mod sending;
    pub mod sent_pages;
    pub mod settings;
    pub mod suspend;
    pub mod tap;
    pub mod tc;
    pub mod time;
    pub mod xdp;
    pub mod xdp_program;
}

use std::sync::{Arc, Mutex, PoisonError};

use guest_tests::{Run, runner, scenarios};
use guest_vm::{Kernel, TestExtent, TestSetting};
use libtest_mimic::{Arguments, Trial};
use linux::{
    addresses, afxdp, afxdp_life, black_box, classification, dcb, diagnosis, doorbells, endurance,
    examples, faults, fcoe, iommu, ipsec,
    lane::{Lane, in_turns},
    life, link,
    machine::{self, Machine},
    macvlan, module, nvm, pci, pktgen, ports, receiving, registers, sending, sent_pages, settings,
    suspend, tap, tc, time, xdp,
};

const KERNELS: [Kernel; 2] = [Kernel::Debian12, Kernel::Debian13];

fn main() {
    let mut arguments = Arguments::from_args();
    // One of each kernel: tests of one guest would be in each other's way, and half of each is waiting. Where a filter leaves
    // one kernel, the other thread waits.
    arguments.test_threads = Some(KERNELS.len());
    let trials = match TestSetting::from_env().map(|setting| setting.extent) {
        Some(TestExtent::Quick) => Vec::new(),
        extent => {
            let list = in_turns(KERNELS.map(in_order));
            list.into_iter()
                .map(|(name, test)| match extent {
                    Some(_) => runner::test(name, test),
                    None => runner::cannot_run(
                        name,
                        "run by cargo xtask test, which makes the virtual machines",
                    ),
                })
                .collect::<Vec<Trial>>()
        }
    };
    libtest_mimic::run(&arguments, trials).exit();
}

type Test = Box<dyn FnOnce() -> anyhow::Result<()> + Send>;

/// The tests of a kernel, which run one by one in the order of their list, since they share a guest or the folders of one.
fn in_order(kernel: Kernel) -> Vec<(String, Test)> {
    let lane = Lane::default();
    let tests = tests_of(kernel).into_iter().enumerate();
    let on_lane = |(place, (name, test)): (usize, (String, Test))| {
        let lane = lane.clone();
        let test: Test = Box::new(move || lane.run(place, test));
        (name, test)
    };
    tests.map(on_lane).collect()
}

fn tests_of(kernel: Kernel) -> Vec<(String, Test)> {
    let machine = Arc::new(Mutex::new(Machine::new(kernel)));
    let shared = |(chapter, list): (&str, &[machine::Test])| -> Vec<(String, Test)> {
        let on_machine = |(name, run): &machine::Test| {
            let name = format!("{chapter}::{name}");
            on_machine(kernel, &name, &machine, *run)
        };
        list.iter().map(on_machine).collect()
    };
    let mut tests: Vec<(String, Test)> = Vec::new();
    let before = [("life", life::FIRST), ("time", time::TESTS)];
    tests.extend(before.into_iter().flat_map(shared));
    for scenario in scenarios::all() {
        if let Run::Anywhere(run) = scenario.run {
            let name = scenario.name;
            tests.push(on_machine(kernel, name, &machine, move |machine| {
                run(machine.quiet_world()?)
            }));
        }
    }
    let classification_too = match kernel {
        Kernel::Debian12 => &[][..],
        Kernel::Debian13 | Kernel::Backports => classification::SINCE_6_12,
    };
    let after = [
        ("classification", classification::TESTS),
        ("classification", classification_too),
        ("addresses", addresses::TESTS),
        ("settings", settings::TESTS),
        ("xdp", xdp::TESTS),
        ("afxdp", afxdp::TESTS),
        ("afxdp", afxdp_life::TESTS),
        ("receiving", receiving::TESTS),
        ("sending", sending::TESTS),
        ("sending", sent_pages::TESTS),
        ("pktgen", pktgen::TESTS),
        ("ipsec", ipsec::TESTS),
        ("diagnosis", diagnosis::TESTS),
        ("endurance", endurance::TESTS),
        ("examples", examples_of(kernel)),
        ("black_box", black_box_of(kernel)),
        ("link", link::TESTS),
        ("module", module::TESTS),
        ("nvm", nvm::TESTS),
        ("dcb", dcb::TESTS),
        ("pci", pci::TESTS),
        ("faults", faults_of(kernel)),
        ("life", life::THEN),
        ("ipsec", ipsec::OVER_IPV6),
        // After these the driver writes no VLAN into VFTA any more: it believes that it takes all of them.
        ("macvlan", macvlan::TESTS),
        ("tc", tc::TESTS),
        ("fcoe", fcoe::TESTS),
        ("registers", registers::TESTS),
    ];
    tests.extend(after.into_iter().flat_map(shared));
    let doorbells = match kernel {
        Kernel::Debian12 => &[],
        Kernel::Debian13 | Kernel::Backports => doorbells::TESTS,
    };
    let iommu = match kernel {
        Kernel::Debian12 => iommu::INTEL,
        Kernel::Debian13 | Kernel::Backports => iommu::VIRTIO,
    };
    let ports = match kernel {
        Kernel::Debian12 => &[],
        Kernel::Debian13 | Kernel::Backports => ports::TESTS,
    };
    for (chapter, list) in [
        ("tap", tap::TESTS),
        ("time", time::WITH_TWO_NICS),
        ("suspend", suspend::TESTS),
        ("ports", ports),
        ("doorbells", doorbells),
        ("iommu", iommu),
    ] {
        for (name, run) in list {
            let run = *run;
            tests.push((
                format!("{}::{chapter}::{name}", kernel.name()),
                Box::new(move || run(kernel)),
            ));
        }
    }
    tests
}

/// One kernel shows that the examples work; others would show nothing more.
fn examples_of(kernel: Kernel) -> &'static [machine::Test] {
    match kernel {
        Kernel::Debian12 => &[],
        Kernel::Debian13 | Kernel::Backports => examples::TESTS,
    }
}

fn black_box_of(kernel: Kernel) -> &'static [machine::Test] {
    match kernel {
        Kernel::Debian12 => &[],
        Kernel::Debian13 | Kernel::Backports => black_box::TESTS,
    }
}

/// What a driver does about faults takes it seconds each, and one kernel's driver does what the other's does.
fn faults_of(kernel: Kernel) -> &'static [machine::Test] {
    match kernel {
        Kernel::Debian12 => &[],
        Kernel::Debian13 | Kernel::Backports => faults::TESTS,
    }
}

/// A test that shares the kernel's machine with others.
fn on_machine(
    kernel: Kernel,
    name: &str,
    machine: &Arc<Mutex<Machine>>,
    run: impl FnOnce(&mut Machine) -> anyhow::Result<()> + Send + 'static,
) -> (String, Test) {
    let machine = Arc::clone(machine);
    let full_name = format!("{}::{name}", kernel.name());
    let name = name.to_owned();
    let test = move || {
        // A panic in another test leaves a machine behind that is as good as any.
        let mut machine = machine.lock().unwrap_or_else(PoisonError::into_inner);
        machine.test(&name, run)
    };
    (full_name, Box::new(test))
}
