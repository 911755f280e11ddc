//! The scenarios under our own driver: on the model in this process, and on the server in another one, which reaches the
//! driver's memory by its file descriptor or by messages, is told of doorbells by messages or through mapped pages, and
//! polls by what it has seen, never or always.

mod scenarios {
    pub mod breaches;
}

use anyhow::{Context, ensure};
use guest_tests::{CardWorld, Run, Scenario, replaying, runner, server};
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
                recorded(scenario),
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
    let recorded = |scenario: &Scenario| RECORDED_SERVERS.contains(&scenario.name);
    let servers = guest_tests::scenarios::all()
        .into_iter()
        .filter(recorded)
        .flat_map(|scenario| {
            [
                recorded_server("recorded_socket", scenario, Lending::Descriptor, &[]),
                recorded_server("recorded_messages", scenario, Lending::Messages, &[]),
                recorded_server("recorded_mapped", scenario, Lending::Descriptor, &MAPPED),
            ]
        });
    let mut trials: Vec<Trial> = trials.chain(servers).collect();
    trials.sort_by(|a, b| a.name().cmp(b.name()));
    libtest_mimic::run(&arguments, trials).exit();
}

const MAPPED: [&str; 2] = ["--doorbells", "mapped"];
const NEVER: [&str; 2] = ["--poll-us", "0"];
const ALWAYS: [&str; 2] = ["--poll-us", "always"];

/// Scenarios whose server is recorded, too: bulk both ways, a frame that the wire cuts, a cable that is pulled and a reset.
const RECORDED_SERVERS: [&str; 4] = [
    "a_thousand_frames_come_and_go_in_order",
    "a_large_ipv4_segment_leaves_in_pieces_that_make_the_whole",
    "the_link_follows_the_cable_and_frames_pass_again_afterwards",
    "a_function_level_reset_leaves_a_card_that_works",
];

/// A scenario on the model in this process is recorded, and its recording does the same again.
fn recorded(scenario: Scenario) -> Trial {
    runner::test(format!("recorded::{}", scenario.name), move || {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("run.rec");
        let (mut world, writer) = CardWorld::recorded(&path)?;
        run(scenario, &mut world)?;
        drop(world);
        writer.finish();
        replaying::replay(&path)?;
        Ok(())
    })
}

/// The same on a server, in its sandbox.
fn recorded_server(
    world: &str,
    scenario: Scenario,
    lending: Lending,
    flags: &[&'static str],
) -> Trial {
    let flags = flags.to_vec();
    runner::test(format!("{world}::{}", scenario.name), move || {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("run.rec");
        let file = path.to_str().context("a path that is no text")?;
        let flags: Vec<&str> = flags.iter().copied().chain(["--record", file]).collect();
        let (mut world, server) = server::card_world(lending, &flags)?;
        run(scenario, &mut world)?;
        drop(world);
        ensure!(server.stop()?.success(), "the server has failed");
        let packets = replaying::replay(&path)?;
        ensure!(packets.arrived + packets.sent > 0, "no packet was recorded");
        Ok(())
    })
}

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
