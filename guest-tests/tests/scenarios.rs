//! The scenarios under our own driver: on the model in this process.

use guest_tests::{CardWorld, Run, scenarios};
use libtest_mimic::{Arguments, Failed, Trial};

fn main() {
    let arguments = Arguments::from_args();
    let trials = scenarios::all().into_iter().map(|scenario| {
        Trial::test(format!("in_process::{}", scenario.name), move || {
            let mut world = CardWorld::in_process();
            let result = match scenario.run {
                Run::Anywhere(run) => run(&mut world),
                Run::OnCard(run) => run(&mut world),
            };
            result.map_err(|error| Failed::from(format!("{error:#}")))
        })
    });
    libtest_mimic::run(&arguments, trials.collect()).exit();
}
