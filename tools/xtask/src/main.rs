//! `cargo xtask`: builds, shows, tests and measures the project.

#![forbid(unsafe_code)]

mod bench;
mod binaries;
mod cable;
mod cargo_tool;
mod coverage;
mod demo;
mod dist;
mod driver_test;
mod failures;
mod fuzz;
mod nic;
mod privileges;
mod rig;
mod soak;
mod suite;
mod supply;
mod threat_model;
mod units;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use guest_vm::{Kernel, Qemu, TestExtent};

use crate::nic::Nic;

/// Builds, shows, tests and measures vfio-user-ixgbe. Nothing is installed into the system: what is fetched is kept in
/// cargo's target folder, in xtask-cache. Only `dist` has rustup add the standard library for musl, where it is missing.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", after_help = AFTER_HELP)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
ENVIRONMENT
  XTASK_DEBIAN_MIRROR  Mirror of Debian's package archive (default: the one that the host's apt uses)
  XTASK_CACHE          Another folder for what is fetched and made
  XTASK_ACCEL          kvm or tcg (default: KVM where a guest comes up under it)

What is fetched stays until its folder is deleted: then the next command fetches what the archive has by then. The
versions of all packages are in the folder's files PACKAGES.json, RECORD.json and IMAGE.json, and in `demo --json`.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Build the server and ixgbectl in release mode and print where they are
    Build,
    /// Boot a Linux guest on the emulated 82599 and show that it works: PCI device, driver, link, DHCP, ping, TCP both
    /// ways, counters
    Demo(DemoArguments),
    /// Check formatting, lints and documentation and run all tests; the last line is `N passed, N failed`
    Test(TestArguments),
    /// Test the driver of somebody's guest as a black box: a kernel, a disk image, or a VM that runs already
    DriverTest(driver_test::DriverTestArguments),
    /// Write docs/datasheet-coverage.md anew from the register table
    Coverage,
    /// Measure, print tables, and write bench/*.json and a page with plots, bench/index.html, in the target folder.
    /// Without a command wire, guest, zero-copy without guests, and instructions, in less than 15 minutes
    Bench(BenchArguments),
    /// Let a Linux guest send and receive for a long time while links flap, hardware fails, the driver is loaded anew and
    /// settings change; every byte and packet is checked, and that the server does not grow
    Soak(SoakArguments),
    /// Make what is given to others, in dist of the target folder: programs that are linked statically, and a Debian package
    /// with manual pages, completions, units for systemd and a bill of materials
    Dist(DistArguments),
    /// Check licences, sources and versions of all dependencies (deny.toml), and that the oldest Rust that is stated
    /// builds the project
    Supply(SupplyArguments),
    /// Run the fuzzers: drivers that do anything and memory that changes under the card, drivers that keep to the rules
    /// against invariants, capture files, the vfio-user session. Takes nightly Rust
    Fuzz(FuzzArguments),
}

#[derive(Debug, Args)]
struct SoakArguments {
    /// How long, which may have decimals
    #[arg(long, default_value_t = 60.0, value_parser = minutes)]
    minutes: f64,

    /// The guest's kernel: debian12 (6.1), debian13 (6.12), or backports (the newest)
    #[arg(long, default_value = "debian13")]
    kernel: Kernel,

    /// The QEMU to use, 10.1 or newer (default: the one on PATH if it is, else one is fetched)
    #[arg(long, value_name = "PATH")]
    qemu: Option<PathBuf>,
}

/// A number of minutes that is a time.
fn minutes(text: &str) -> Result<f64, String> {
    let number = text
        .parse()
        .ok()
        .filter(|number| (0.0..=100_000.0).contains(number));
    number.ok_or_else(|| {
        "a number of minutes from 0 to 100000 is wanted, as in 60 or 0.75".to_owned()
    })
}

#[derive(Debug, Args)]
struct DistArguments {
    /// Build everything a second time, in another folder, and compare the bytes
    #[arg(long)]
    check: bool,
}

#[derive(Debug, Args)]
struct SupplyArguments {
    /// One of the two by itself
    #[arg(value_enum)]
    part: Option<supply::Part>,

    /// Also fetch the database of known defects, from GitHub, and compare the dependencies with it
    #[arg(long)]
    advisories: bool,
}

#[derive(Debug, Args)]
struct FuzzArguments {
    /// capture, card, recording, rings, state or session (default: all, one after the other)
    target: Option<String>,

    /// How long each target runs
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    minutes: u64,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
struct BenchArguments {
    #[command(subcommand)]
    what: Option<BenchCommand>,

    /// One short turn, to see that it works
    #[arg(long)]
    quick: bool,

    /// The QEMU to use, 10.1 or newer (default: the one on PATH if it is, else one is fetched)
    #[arg(long, value_name = "PATH")]
    qemu: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum BenchCommand {
    /// TCP, round trips and packet rates of a Linux guest, for our NIC and QEMU's own in turns
    Guest(BenchGuestArguments),
    /// Packet rates, latency and costs of our NIC alone, driven by a process in user space
    Wire(BenchWireArguments),
    /// What the host stack vhost-user-ixgbe passes to a virtio driver and back, and to a Linux guest, copying and not,
    /// beside a tap and our NIC itself, and what each process takes for it
    ZeroCopy(BenchZeroCopyArguments),
    /// What an IOMMU costs a Linux guest that drives our NIC, by the way in which its kernel uses it
    Iommu(BenchIommuArguments),
    /// Instructions of the card for a packet, compared with those on record in
    /// tools/nic-bench/benches/instructions.json
    Instructions(BenchInstructionsArguments),
}

#[derive(Debug, Args)]
struct BenchInstructionsArguments {
    /// Put the counts on record instead of comparing them
    #[arg(long)]
    record: bool,
}

#[derive(Debug, Args)]
struct BenchWireArguments {
    /// The figures, by commas: rx_60, tx_60, duplex_60, rx_1514, tso_64k, pair_1514, latency_posted, latency_mapped,
    /// register_read, idle_cpu, port_memory, ports_16 (default: all)
    #[arg(long, value_delimiter = ',')]
    figure: Vec<String>,

    /// How often each is measured
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: u32,

    /// How long one measurement lasts, in milliseconds
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    milliseconds: u64,
}

#[derive(Debug, Args)]
struct BenchZeroCopyArguments {
    /// The figures, by commas: stack_rx_1514, stack_forward_60; of guests tcp_rx_gso_off_split_off, tcp_tx_…, udp_tx_…,
    /// with gso on and off, split on and off (default: all)
    #[arg(long, value_delimiter = ',')]
    figure: Vec<String>,

    /// One short run without guests, to see that it works: `--runs 1 --milliseconds 100 --guest-runs 0`
    #[arg(long, conflicts_with_all = ["runs", "milliseconds", "guest_runs"])]
    quick: bool,

    /// How often each is measured without a guest; 0 for not at all
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(0..=100))]
    runs: u32,

    /// How long one measurement without a guest lasts, in milliseconds
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(100..=60_000))]
    milliseconds: u64,

    /// How often each is measured with a guest; 0 for not at all
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=100))]
    guest_runs: u32,

    /// What guests have, by commas: zero_copy, copy, tap, direct, direct_iommu (default: all)
    #[arg(long, value_delimiter = ',')]
    subject: Vec<String>,

    #[command(flatten)]
    guests: BenchStreamsArguments,
}

#[derive(Debug, Args)]
struct BenchIommuArguments {
    /// The figures, by commas: tcp_rx_gso_off, tcp_tx_gso_off, udp_tx_gso_off and the same with on (default: all)
    #[arg(long, value_delimiter = ',')]
    figure: Vec<String>,

    /// What guests have, by commas: none, passthrough, lazy, strict (default: all)
    #[arg(long, value_delimiter = ',')]
    subject: Vec<String>,

    /// How often each is measured
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: u32,

    #[command(flatten)]
    guests: BenchStreamsArguments,
}

#[derive(Debug, Args)]
struct BenchStreamsArguments {
    /// The guests' kernel: debian12 (6.1), debian13 (6.12), or backports (the newest)
    #[arg(long, default_value = "debian13")]
    kernel: Kernel,

    /// The QEMU to use, 10.1 or newer (default: the one on PATH if it is, else one is fetched)
    #[arg(long, value_name = "PATH")]
    qemu: Option<PathBuf>,

    /// How long one measurement with a guest lasts, in seconds
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
}

impl BenchStreamsArguments {
    fn options(
        self,
        figures: Vec<String>,
        subjects: Vec<String>,
        runs: u32,
    ) -> anyhow::Result<bench::zero_copy::GuestOptions> {
        Ok(bench::zero_copy::GuestOptions {
            kernel: self.kernel,
            qemu: self.qemu.as_deref().map(Qemu::at).transpose()?,
            subjects,
            figures,
            runs,
            time: Duration::from_secs(self.seconds),
        })
    }
}

#[derive(Debug, Args)]
struct BenchGuestArguments {
    /// The guests' kernel: debian12 (6.1), debian13 (6.12), or backports (the newest)
    #[arg(long, default_value = "debian13")]
    kernel: Kernel,

    /// The QEMU to use, 10.1 or newer (default: the one on PATH if it is, else one is fetched)
    #[arg(long, value_name = "PATH")]
    qemu: Option<PathBuf>,

    /// The NICs, by commas; ratios are of the first in this list's order
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "ixgbe,igb,e1000e,vmxnet3,virtio-net"
    )]
    nic: Vec<Nic>,

    /// The figures, by commas: tcp_h2g_on, tcp_h2g_off, tcp_g2h_on, tcp_g2h_off, tcp_rr, udp_rr, pps_rx, pps_tx,
    /// testpmd_rxonly, testpmd_txonly (default: all)
    #[arg(long, value_delimiter = ',')]
    figure: Vec<String>,

    /// One short run, to see that it works: `--runs 1 --seconds 1`
    #[arg(long, conflicts_with_all = ["runs", "seconds"])]
    quick: bool,

    /// How often each is measured
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: u32,

    /// How long one measurement lasts, in seconds
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
}

#[derive(Debug, Args)]
struct TestArguments {
    /// Leave out the tests that boot a virtual machine
    #[arg(long)]
    quick: bool,

    /// The QEMU to use, 10.1 or newer (default: the one on PATH if it is, else one is fetched)
    #[arg(long, value_name = "PATH")]
    qemu: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct DemoArguments {
    /// The guest's kernel: debian12 (6.1), debian13 (6.12), or backports (the newest)
    #[arg(long, default_value = "debian13")]
    kernel: Kernel,

    /// The QEMU to use, 10.1 or newer (default: the one on PATH if it is, else one is fetched)
    #[arg(long, value_name = "PATH")]
    qemu: Option<PathBuf>,

    /// Give the guest's console, with the NIC up, instead of the traffic; leaving the shell ends the guest
    #[arg(long, conflicts_with = "json")]
    shell: bool,

    /// Print the report as JSON
    #[arg(long)]
    json: bool,

    /// The NIC: ixgbe is ours; QEMU's own igb, e1000e, vmxnet3 and virtio-net tell whether a failure is the NIC's or the
    /// machine's
    #[arg(long, default_value = "ixgbe", value_enum)]
    nic: Nic,

    /// Another vfio-user-ixgbe than the one that is built now, such as one of `cargo xtask dist`
    #[arg(long, value_name = "PATH")]
    server: Option<PathBuf>,

    /// Give the guest a virtio-net, whose buffers vhost-user-ixgbe posts on our NIC's rings
    #[arg(long, conflicts_with_all = ["nic", "shell"])]
    zero_copy: bool,
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    match arguments.command {
        Command::Build => {
            let binaries = binaries::build()?;
            println!(
                "{}\n{}",
                binaries.server.display(),
                binaries.ixgbectl.display()
            );
            Ok(ExitCode::SUCCESS)
        }
        Command::DriverTest(arguments) => Ok(driver_test::run(&arguments)),
        Command::Coverage => {
            coverage::write(&binaries::workspace())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Bench(arguments) => bench(arguments),
        Command::Soak(arguments) => {
            privileges::enter_user_namespace();
            soak::run(&soak::Options {
                time: Duration::from_secs_f64(60.0 * arguments.minutes),
                kernel: arguments.kernel,
                qemu: arguments.qemu.as_deref().map(Qemu::at).transpose()?,
            })
        }
        Command::Dist(arguments) => dist::run(if arguments.check {
            dist::Reproduce::Check
        } else {
            dist::Reproduce::Trust
        }),
        Command::Supply(arguments) => {
            let advisories = if arguments.advisories {
                supply::Advisories::Fetch
            } else {
                supply::Advisories::LeaveOut
            };
            supply::run(arguments.part, advisories)
        }
        Command::Fuzz(arguments) => fuzz::run(
            arguments.target.as_deref(),
            Duration::from_secs(60 * arguments.minutes),
        ),
        Command::Test(arguments) => {
            privileges::enter_user_namespace();
            let extent = if arguments.quick {
                TestExtent::Quick
            } else {
                TestExtent::Full
            };
            suite::run(extent, arguments.qemu.as_deref())
        }
        Command::Demo(arguments) => {
            privileges::enter_user_namespace();
            let qemu = arguments.qemu.as_deref().map(Qemu::at).transpose()?;
            demo::run(&demo::Options {
                kernel: arguments.kernel,
                qemu,
                server: arguments.server,
                nic: if arguments.zero_copy {
                    Nic::VirtioNet
                } else {
                    arguments.nic
                },
                way: if arguments.zero_copy {
                    demo::Way::HostStack
                } else {
                    demo::Way::Direct
                },
                output: match (arguments.shell, arguments.json) {
                    (true, _) => demo::Output::Shell,
                    (_, true) => demo::Output::Json,
                    _ => demo::Output::Text,
                },
            })
        }
    }
}

fn bench(arguments: BenchArguments) -> anyhow::Result<ExitCode> {
    let qemu = |path: Option<PathBuf>| path.as_deref().map(Qemu::at).transpose();
    match arguments.what {
        Some(BenchCommand::Instructions(arguments)) => {
            bench::instructions::run(if arguments.record {
                bench::instructions::Then::Record
            } else {
                bench::instructions::Then::Compare
            })
        }
        Some(BenchCommand::Wire(arguments)) => bench::wire(&bench::wire::Options {
            figures: arguments.figure,
            runs: arguments.runs,
            time: Duration::from_millis(arguments.milliseconds),
        }),
        Some(BenchCommand::ZeroCopy(arguments)) => {
            let (runs, milliseconds, guest_runs) = if arguments.quick {
                (1, 100, 0)
            } else {
                (arguments.runs, arguments.milliseconds, arguments.guest_runs)
            };
            if guest_runs > 0 {
                privileges::enter_user_namespace();
            }
            let options = bench::zero_copy::Options {
                figures: arguments.figure.clone(),
                runs,
                time: Duration::from_millis(milliseconds),
            };
            let (figures, subjects) = (arguments.figure, arguments.subject);
            let guests = arguments.guests.options(figures, subjects, guest_runs)?;
            bench::zero_copy(&options, &guests)
        }
        Some(BenchCommand::Iommu(arguments)) => {
            privileges::enter_user_namespace();
            let BenchIommuArguments {
                figure,
                subject,
                runs,
                guests,
            } = arguments;
            bench::iommu(&guests.options(figure, subject, runs)?)
        }
        Some(BenchCommand::Guest(arguments)) => {
            privileges::enter_user_namespace();
            let (runs, seconds) = if arguments.quick {
                (1, 1)
            } else {
                (arguments.runs, arguments.seconds)
            };
            bench::guest(&bench::guest::Options {
                kernel: arguments.kernel,
                qemu: qemu(arguments.qemu)?,
                nics: arguments.nic,
                figures: arguments.figure,
                runs,
                time: Duration::from_secs(seconds),
                until: None,
            })
        }
        None => {
            privileges::enter_user_namespace();
            let (wire_runs, milliseconds, guest_runs) = if arguments.quick {
                (1, 200, 1)
            } else {
                (5, 1000, 3)
            };
            let wire = bench::wire::Options {
                figures: Vec::new(),
                runs: wire_runs,
                time: Duration::from_millis(milliseconds),
            };
            let zero_copy = bench::zero_copy::Options {
                figures: Vec::new(),
                runs: wire_runs,
                time: wire.time,
            };
            let guest = bench::guest::Options {
                kernel: Kernel::Debian13,
                qemu: qemu(arguments.qemu)?,
                nics: Nic::value_variants().to_vec(),
                figures: Vec::new(),
                runs: guest_runs,
                time: Duration::from_secs(1),
                until: None,
            };
            bench::all(&wire, &zero_copy, guest)
        }
    }
}
