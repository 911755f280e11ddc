//! The pages of docs/ that lead through a task, followed as they stand: servers are started and commands typed as the page
//! says, a driver is at work, and the screen has to show what the page shows. `…` on a page stands for lines, and numbers
//! and addresses may be others. docs/lab.md is followed in `wires`.

mod pages {
    pub mod desk;
    pub mod dma_bug;
    pub mod driver_test;
    pub mod guest;
    pub mod named;
    pub mod packet_lost;
    pub mod reproduce;
}

use guest_tests::runner;
use guest_vm::TestSetting;
use libtest_mimic::{Arguments, Trial};
use pages::{desk::Desk, dma_bug, driver_test, named, packet_lost, reproduce};

/// A test: its name, and what it does at a desk.
type Test = (&'static str, fn(&mut Desk) -> anyhow::Result<()>);

/// A list of tests from the functions that are the tests.
macro_rules! tests {
    ($($module:ident::$name:ident),* $(,)?) => {
        &[$((concat!(stringify!($module), "::", stringify!($name)), $module::$name)),*]
    };
}

const TESTS: &[Test] = tests![
    dma_bug::a_page_that_is_posted_twice_is_found,
    dma_bug::a_refused_access_is_told,
    driver_test::a_guest_that_runs_is_tested,
    driver_test::the_tests_are_those_of_the_page,
    driver_test::what_is_passed_on_to_the_program_is_understood,
    named::calls_that_the_text_names_are_understood,
    packet_lost::the_nic_tells_why_a_frame_did_not_arrive,
    reproduce::a_capture_is_the_same_to_another_guest,
    reproduce::a_recording_is_the_same_elsewhere,
];

fn main() {
    let arguments = Arguments::from_args();
    let setting = TestSetting::from_env();
    let trials = TESTS.iter().map(|(name, test)| {
        let name = format!("pages::{name}");
        match setting.clone() {
            Some(setting) => runner::test(name, move || test(&mut Desk::new(&setting)?)),
            None => runner::cannot_run(name, "run by cargo xtask test, which builds the programs"),
        }
    });
    let trials: Vec<Trial> = trials.collect();
    libtest_mimic::run(&arguments, trials).exit();
}
