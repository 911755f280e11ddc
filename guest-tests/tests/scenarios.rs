//! The scenarios under our own driver: on the model in this process, and on the server in another one, which reaches the
//! driver's memory by its file descriptor or by messages, is told of doorbells by messages or through mapped pages, and
//! polls by what it has seen, never or always.

mod scenarios {
    pub mod breaches;
}

use guest_tests::{CardWorld, Run, Scenario, runner, server};
use libtest_mimic::{Arguments, Trial};
use nic_driver::over_socket::Lending;
use scenarios::breaches;

fn main() {
    let arguments = Arguments::from_args();
    let trials = guest_tests::scenarios::all()
        .into_iter()
        .flat_map(|scenario| {
            [
                runner::test(format!("in_process::{}", scenario.name), move || {
                    let mut world = CardWorld::in_process();
                    run(scenario, &mut world)?;
                    breaches::compare(scenario.name, &world.findings())
                }),
                over_socket("socket", scenario, Lending::Descriptor, &[]),
                over_socket("messages", scenario, Lending::Messages, &[]),
                over_socket("mapped", scenario, Lending::Descriptor, &MAPPED),
                over_socket("never_polls", scenario, Lending::Descriptor, &NEVER),
                over_socket("always_polls", scenario, Lending::Descriptor, &ALWAYS),
                over_socket(
                    "mapped_never_polls",
                    scenario,
                    Lending::Messages,
                    &[MAPPED, NEVER].concat(),
                ),
                over_socket(
                    "mapped_always_polls",
                    scenario,
                    Lending::Descriptor,
                    &[MAPPED, ALWAYS].concat(),
                ),
            ]
        });
    let mut trials: Vec<Trial> = trials.collect();
    trials.sort_by(|a, b| a.name().cmp(b.name()));
    libtest_mimic::run(&arguments, trials).exit();
}

const MAPPED: [&str; 2] = ["--doorbells", "mapped"];
const NEVER: [&str; 2] = ["--poll-us", "0"];
const ALWAYS: [&str; 2] = ["--poll-us", "always"];

fn over_socket(world: &str, scenario: Scenario, lending: Lending, flags: &[&'static str]) -> Trial {
    let flags = flags.to_vec();
    runner::test(format!("{world}::{}", scenario.name), move || {
        let (mut world, mut server) = server::card_world(lending, &flags)?;
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
