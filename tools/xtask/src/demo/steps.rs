//! The steps of the demo.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use guest_vm::{CablePeer, ConsoleUse, Guest, Lab, Userland};
use serde_json::{Value, json};

use super::counters;
use super::report::{Report, Seen};
use super::{Options, Output, Way};
use crate::binaries::{self, Binaries};
use crate::cable::Cable;
use crate::nic::Nic;
use crate::rig::{INTERFACE, Iommu, Rig, RigOptions};

/// How long each TCP test lasts.
const TCP_SECONDS: u32 = 3;

/// Does all steps; the report knows about each. An error has been reported.
pub fn all(options: &Options, report: &mut Report) -> Result<()> {
    let binaries = report.step("build", || build(options))?;
    let lab = report.step("QEMU and image", || find(options))?;
    let cable = report.step("cable", || lay_cable(&lab, options))?;
    for log in ["console.log", "qemu.stderr", "server.log", "stack.log"] {
        report.add_log(&lab.cache.path("logs/demo").join(log));
    }
    let mut rig = report.step("boot", || boot(options, &lab, &cable, &binaries))?;
    report.step("PCI device", || device(&mut rig.guest))?;
    report.step("driver", || driver(&mut rig, options.nic))?;
    report.step("link", || link(&mut rig.guest, options.nic))?;
    report.step("address", || address(&mut rig, &cable))?;
    report.step("ping", || ping(&mut rig.guest, &cable))?;
    if options.output == Output::Shell {
        return report.step("console", || console(rig, &cable));
    }
    report.step("TCP to the host", || {
        tcp(&mut rig.guest, &cable, Direction::ToHost)
    })?;
    report.step("TCP to the guest", || {
        tcp(&mut rig.guest, &cable, Direction::ToGuest)
    })?;
    if options.way == Way::HostStack {
        report.step("kernel log", || kernel_log(&mut rig.guest))?;
        return report.step("copies", || copies(rig));
    }
    if let Some(server) = &rig.server {
        let control = server.control();
        report.step("counters", || {
            counters::compare(&mut rig.guest, &binaries.ixgbectl, &control)
        })?;
    }
    report.step("kernel log", || kernel_log(&mut rig.guest))
}

fn build(options: &Options) -> Result<(Binaries, Seen)> {
    let mut binaries = binaries::build()?;
    if let Some(server) = &options.server {
        ensure!(server.is_file(), "there is no file {}", server.display());
        binaries.server = std::path::absolute(server)?;
    }
    let seen = Seen::new(
        format!("{}", binaries.server.display()),
        json!({ "server": binaries.server, "ixgbectl": binaries.ixgbectl }),
    );
    Ok((binaries, seen))
}

fn find(options: &Options) -> Result<(Lab, Seen)> {
    let lab = Lab::open_with(options.kernel, options.qemu.clone())?;
    let text = format!(
        "QEMU {}, {}; Linux {}",
        lab.qemu.version(),
        lab.accel,
        lab.image.release
    );
    let data = json!({
        "qemu": lab.qemu.version(),
        "qemu_executable": lab.qemu.executable(),
        "accel": lab.accel.to_string(),
        "kernel": lab.image.release,
        "packages": lab.image.versions,
    });
    Ok((lab, Seen::new(text, data)))
}

fn lay_cable(lab: &Lab, options: &Options) -> Result<(Cable, Seen)> {
    let ours = options.nic == Nic::Ixgbe || options.way == Way::HostStack;
    let userland = Userland::prepare(&lab.cache)?;
    let (cable, text) = match CablePeer::start(&userland, &lab.cache.log_folder("cable")?) {
        Ok(peer) => (
            Cable::Tap(peer),
            "tap in a network namespace, with DHCP and iperf3 servers".to_owned(),
        ),
        // The NIC's own host needs no privilege. QEMU's NICs have no such thing.
        Err(error) if ours => (
            Cable::Embedded,
            format!("the server's own small host, since there can be no tap:\n{error}"),
        ),
        Err(error) => return Err(error.into()),
    };
    let data = json!({ "host": cable.host(), "wire": cable.wire() });
    Ok((cable, Seen::new(text, data)))
}

fn boot(options: &Options, lab: &Lab, cable: &Cable, binaries: &Binaries) -> Result<(Rig, Seen)> {
    let console = match options.output {
        Output::Shell => ConsoleUse::Shell,
        Output::Text | Output::Json => ConsoleUse::Log,
    };
    let rig_options = RigOptions {
        nic: options.nic,
        server: &binaries.server,
        stack: (options.way == Way::HostStack).then_some(binaries.stack.as_path()),
        stack_arguments: &[],
        iommu: Iommu::None,
        console,
        name: "demo",
        cpus: 1,
        memory: 512,
    };
    let rig = Rig::boot(lab, cable, &rig_options)?;
    let seconds = rig.guest.boot_time().as_secs_f32();
    Ok((
        rig,
        Seen::new(format!("{seconds:.1} s"), json!({ "seconds": seconds })),
    ))
}

fn device(guest: &mut Guest) -> Result<((), Seen)> {
    let line = guest.sh("lspci -s 01:00.0")?;
    let line = line.trim();
    ensure!(!line.is_empty(), "lspci sees nothing at 01:00.0");
    let numbers = guest.sh("lspci -n -s 01:00.0")?;
    Ok((
        (),
        Seen::new(line, json!({ "lspci": line, "numbers": numbers.trim() })),
    ))
}

fn driver(rig: &mut Rig, nic: Nic) -> Result<((), Seen)> {
    rig.guest.sh("echo demo: loading the driver >/dev/kmsg")?;
    rig.bring_up(nic)?;
    let info = fields(&rig.guest.sh(&format!("ethtool -i {INTERFACE}"))?);
    let get = |name: &str| info.get(name).and_then(Value::as_str).unwrap_or_default();
    ensure!(
        get("driver") == nic.module(),
        "the driver of {INTERFACE} is {}",
        get("driver")
    );
    let text = format!(
        "{} {}, firmware {}, at {}",
        get("driver"),
        get("version"),
        get("firmware-version"),
        get("bus-info")
    );
    Ok(((), Seen::new(text, info)))
}

fn link(guest: &mut Guest, nic: Nic) -> Result<((), Seen)> {
    let settings = fields(&guest.sh(&format!("ethtool {INTERFACE}"))?);
    let get = |name: &str| {
        settings
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    ensure!(get("Link detected") == "yes", "no link");
    let (speed, duplex) = (get("Speed"), get("Duplex"));
    if nic == Nic::Ixgbe {
        ensure!(
            speed == "10000Mb/s" && duplex == "Full",
            "the link is {speed}, duplex {duplex}"
        );
    }
    let text = format!("{speed}, {} duplex", duplex.to_lowercase());
    Ok((
        (),
        Seen::new(text, json!({ "speed": speed, "duplex": duplex })),
    ))
}

fn address(rig: &mut Rig, cable: &Cable) -> Result<((), Seen)> {
    let address = rig.get_address()?;
    ensure!(
        address.starts_with(cable.lease()),
        "DHCP gave {address} and not {}",
        cable.lease()
    );
    Ok((
        (),
        Seen::new(format!("{address} by DHCP"), json!({ "address": address })),
    ))
}

fn ping(guest: &mut Guest, cable: &Cable) -> Result<((), Seen)> {
    let output = guest.run(
        &format!("ping -c 3 -W 2 {}", cable.host()),
        Duration::from_secs(15),
    )?;
    let line = |needle: &str| {
        output
            .stdout
            .lines()
            .find(|line| line.contains(needle))
            .unwrap_or_default()
            .to_owned()
    };
    let (loss, times) = (line("packets received"), line("round-trip"));
    ensure!(
        output.status == 0 && loss.contains(" 0% packet loss"),
        "{} {}",
        output.stdout.trim(),
        output.stderr.trim()
    );
    let times = times.trim_start_matches("round-trip ");
    Ok((
        (),
        Seen::new(
            format!("3 of 3; {times}"),
            json!({ "result": loss, "times": times }),
        ),
    ))
}

#[derive(Clone, Copy)]
enum Direction {
    ToHost,
    ToGuest,
}

fn tcp(guest: &mut Guest, cable: &Cable, direction: Direction) -> Result<((), Seen)> {
    match cable {
        Cable::Tap(_) => tcp_by_iperf(guest, cable.host(), direction),
        Cable::Embedded => tcp_by_discard_and_chargen(guest, cable.host(), direction),
    }
}

fn tcp_by_iperf(guest: &mut Guest, host: &str, direction: Direction) -> Result<((), Seen)> {
    let reverse = match direction {
        Direction::ToHost => "",
        Direction::ToGuest => " --reverse",
    };
    let command = format!("iperf3 --client {host} --json --time {TCP_SECONDS}{reverse}");
    let output = guest.run(&command, Duration::from_secs(u64::from(TCP_SECONDS) + 20))?;
    let result: Value = serde_json::from_str(&output.stdout)
        .with_context(|| format!("iperf3 said {:?} {:?}", output.stdout, output.stderr))?;
    if let Some(error) = result.get("error").and_then(Value::as_str) {
        bail!("iperf3: {error}");
    }
    let received = result
        .pointer("/end/sum_received/bits_per_second")
        .and_then(Value::as_f64)
        .unwrap_or_default();
    let bytes = result
        .pointer("/end/sum_received/bytes")
        .and_then(Value::as_u64)
        .unwrap_or_default();
    let retransmits = result
        .pointer("/end/sum_sent/retransmits")
        .and_then(Value::as_u64);
    ensure!(bytes > 0, "no byte arrived");
    let text = format!(
        "{:.0} Mbit/s for {TCP_SECONDS} s{}",
        received / 1e6,
        retransmits
            .map(|count| format!(", {count} retransmits"))
            .unwrap_or_default()
    );
    Ok((
        (),
        Seen::new(
            text,
            json!({ "bits_per_second": received, "bytes": bytes, "retransmits": retransmits }),
        ),
    ))
}

/// The embedded host has the services of RFC 863 and RFC 864; the driver's counter tells how much of them passed.
fn tcp_by_discard_and_chargen(
    guest: &mut Guest,
    host: &str,
    direction: Direction,
) -> Result<((), Seen)> {
    // The end of nc's input would be the end of the connection.
    let (port, source, counter) = match direction {
        Direction::ToHost => (9, "cat /dev/zero", "tx_bytes"),
        Direction::ToGuest => (19, "sleep 60", "rx_bytes"),
    };
    let counter = format!("/sys/class/net/{INTERFACE}/statistics/{counter}");
    let command = format!(
        "{source} | nc {host} {port} >/dev/null & client=$!; before=$(cat {counter}); sleep {TCP_SECONDS}; \
         after=$(cat {counter}); kill $client || exit 1; echo $((after - before))"
    );
    let output = guest.run(&command, Duration::from_secs(u64::from(TCP_SECONDS) + 20))?;
    let bytes: u32 = output
        .stdout
        .trim()
        .parse()
        .with_context(|| format!("nc: {}{}", output.stdout, output.stderr))?;
    // Less than this is the opening of a connection and no more.
    ensure!(bytes > 100_000, "only {bytes} bytes passed");
    let bits_per_second = f64::from(bytes) * 8.0 / f64::from(TCP_SECONDS);
    let text = format!(
        "{:.0} Mbit/s for {TCP_SECONDS} s, port {port}",
        bits_per_second / 1e6
    );
    Ok((
        (),
        Seen::new(
            text,
            json!({ "bits_per_second": bits_per_second, "bytes": bytes }),
        ),
    ))
}

/// Fails if the kernel warned about anything since the driver was loaded.
fn kernel_log(guest: &mut Guest) -> Result<((), Seen)> {
    let log = guest.sh("dmesg -r")?;
    let since = log
        .lines()
        .skip_while(|line| !line.contains("demo: loading the driver"))
        .skip(1);
    let warnings: Vec<&str> = since
        .filter(|line| guest_vm::kernel_log::is_warning(line))
        .collect();
    ensure!(
        warnings.is_empty(),
        "the kernel warned:\n{}",
        warnings.join("\n")
    );
    Ok((
        (),
        Seen::new(
            "no warning since the driver was loaded",
            json!({ "warnings": 0 }),
        ),
    ))
}

/// Ends guest and stack, and fails if the stack has copied a frame.
fn copies(rig: Rig) -> Result<((), Seen)> {
    let Rig {
        guest,
        stack,
        server,
    } = rig;
    guest.quit()?;
    let account = stack.context("there is no host stack")?.stop()?;
    drop(server);
    let count = |name: &str| -> Result<u64> {
        let number = account.split_whitespace().find_map(|word| {
            let (key, value) = word.split_once('=')?;
            (key == name).then_some(value)
        });
        let number = number.with_context(|| format!("the stack does not tell {name}"))?;
        Ok(number.parse()?)
    };
    let names = [
        "rx_zero_copy",
        "rx_copied",
        "rx_bytes_copied",
        "tx_zero_copy",
        "tx_bytes_copied",
    ];
    let counts = names.map(count);
    let [received, copied, bytes, sent, headers] = counts;
    let (received, copied, bytes, sent, headers) = (received?, copied?, bytes?, sent?, headers?);
    ensure!(
        copied == 0 && bytes == 0 && received > 0 && sent > 0,
        "the stack has copied {copied} of {} received packets: {account}",
        received + copied
    );
    let text = format!(
        "{received} packets received and {sent} sent without a copy; {headers} bytes of headers copied for segmentation"
    );
    let data = json!({
        "rx_zero_copy": received,
        "rx_copied": copied,
        "tx_zero_copy": sent,
        "tx_header_bytes_copied": headers,
    });
    Ok(((), Seen::new(text, data)))
}

fn console(rig: Rig, cable: &Cable) -> Result<((), Seen)> {
    println!(
        "  The guest's console follows. Its NIC is {INTERFACE}, the host is {}; `exit` ends it.",
        cable.host()
    );
    let Rig {
        guest,
        stack,
        server,
    } = rig;
    let result = guest.give_console();
    drop((stack, server));
    result?;
    Ok(((), Seen::new("left", Value::Null)))
}

/// Lines of the form `NAME: VALUE`, as ethtool prints them.
fn fields(text: &str) -> Value {
    let pairs = text.lines().filter_map(|line| line.trim().split_once(':'));
    Value::Object(
        pairs
            .map(|(name, value)| (name.to_owned(), Value::from(value.trim())))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ethtool_prints_is_read_as_names_and_values() {
        let info = fields("driver: ixgbe\nbus-info: 0000:01:00.0\n\tSpeed: 10000Mb/s\n");

        assert_eq!(
            info,
            json!({"driver": "ixgbe", "bus-info": "0000:01:00.0", "Speed": "10000Mb/s"})
        );
    }
}
