//! The scenarios under our own driver: on the model in this process, and on the server in another one, which reaches the
//! driver's memory by its file descriptor or by messages.

use guest_tests::{CardWorld, Run, Scenario, runner, scenarios, server};
use libtest_mimic::{Arguments, Trial};
use nic_driver::over_socket::Lending;

fn main() {
    let arguments = Arguments::from_args();
    let trials = scenarios::all().into_iter().flat_map(|scenario| {
        [
            runner::test(format!("in_process::{}", scenario.name), move || {
                run(scenario, &mut CardWorld::in_process())
            }),
            over_socket("socket", scenario, Lending::Descriptor),
            over_socket("messages", scenario, Lending::Messages),
        ]
    });
    let mut trials: Vec<Trial> = trials.collect();
    trials.sort_by(|a, b| a.name().cmp(b.name()));
    libtest_mimic::run(&arguments, trials).exit();
}

fn over_socket(world: &str, scenario: Scenario, lending: Lending) -> Trial {
    runner::test(format!("{world}::{}", scenario.name), move || {
        let (mut world, mut server) = server::card_world(lending)?;
        let result = run(scenario, &mut world);
        server.nic().check()?;
        result
    })
}

fn run(scenario: Scenario, world: &mut CardWorld) -> anyhow::Result<()> {
    match scenario.run {
        Run::Anywhere(run) => run(world),
        Run::OnCard(run) => run(world),
    }
}
