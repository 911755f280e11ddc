//! The host stack without a guest: its virtio driver is a process of ours, `nic-bench`. So there are three processes: the
//! NIC's server, the host stack, and the driver, which sleeps between its turns.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use guest_vm::{Cache, HostStack, NicServer, Spawner};
use serde::Deserialize;

use super::account::{Account, counter};
use super::figure::{Figure, Subject};
use crate::bench::report::Sample;
use crate::binaries::Binaries;

/// How long the account of copies is kept; the NIC is slower meanwhile.
const ACCOUNT: Duration = Duration::from_millis(100);

/// What `nic-bench` says.
#[derive(Debug, Deserialize)]
struct Told {
    value: f64,
    unit: String,
    frames: f64,
    seconds: f64,
    cpu: Vec<f64>,
}

/// The programs, and for how long they run.
#[derive(Debug)]
pub struct Bench<'a> {
    /// The programs.
    pub binaries: &'a Binaries,
    /// What drives the stack.
    pub nic_bench: &'a Path,
    /// Where logs go.
    pub cache: &'a Cache,
    /// How long one measurement lasts.
    pub time: Duration,
}

impl Bench<'_> {
    /// Measures one figure, with a server and a stack of its own.
    pub fn measure(&self, figure: Figure, subject: Subject) -> Result<Vec<Sample>> {
        let logs = self.cache.log_folder("bench-zero-copy")?;
        let wire = format!("generate:max,{}", figure.len());
        let spawner = Spawner::own();
        let server = NicServer::start::<&str>(
            &self.binaries.server,
            &wire,
            &[],
            &spawner,
            &logs.join("server.log"),
        )
        .context("the server does not start")?;
        let stack = HostStack::start(
            &self.binaries.stack,
            &server.socket(),
            &["--rx", subject.mode()],
            &spawner,
            &logs.join("stack.log"),
        )
        .context("the host stack does not start")?;
        let told = self.client(figure, self.time, &server, &stack)?;
        let account = Account::begin(&self.binaries.ixgbectl, &server)?;
        let accounted = self.client(figure, ACCOUNT, &server, &stack)?;
        let account = account.end()?;
        ensure!(accounted.frames > 0.0, "no frame passed");
        let last = stack.stop()?;
        let mut samples = vec![];
        let mut push = |name: String, unit, value: f64| {
            samples.push(Sample {
                figure: name,
                subject: subject.name(),
                unit,
                value,
            });
        };
        push(
            figure.name().to_owned(),
            match told.unit.as_str() {
                "Mpps" => "Mpps",
                _ => "Gbit/s",
            },
            told.value,
        );
        let name = figure.name().trim_start_matches("stack_");
        let processes = ["server", "stack", "driver"];
        for (process, used) in processes.iter().zip(&told.cpu) {
            let share = used / told.seconds * 100.0;
            push(format!("cpu_{process}_{name}"), "% of core", share);
        }
        if let Some(used) = told.cpu.get(1) {
            push(
                format!("ns_stack_{name}"),
                "CPU ns/frame",
                used * 1e9 / told.frames,
            );
        }
        let copied = counter(&last, "rx_bytes_copied")? + counter(&last, "tx_bytes_copied")?;
        let passed = counter(&last, "rx_zero_copy")? + counter(&last, "rx_copied")?;
        let sent = counter(&last, "tx_zero_copy")?;
        let bytes = (passed + sent) * figure.len().parse::<f64>()?;
        ensure!(bytes > 0.0, "the stack has passed nothing: {last}");
        push(
            format!("copies_{name}"),
            "copies/byte",
            account.copies_per_byte() + copied / bytes,
        );
        push(
            format!("irq_nic_{name}"),
            "1/frame",
            account.interrupts_per_frame(),
        );
        push(
            format!("irq_guest_{name}"),
            "1/frame",
            counter(&last, "guest_interrupts")? / passed,
        );
        push(
            format!("doorbells_{name}"),
            "1/frame",
            account.doorbells_per_frame(),
        );
        Ok(samples)
    }

    fn client(
        &self,
        figure: Figure,
        time: Duration,
        server: &NicServer,
        stack: &HostStack,
    ) -> Result<Told> {
        let mut command = Command::new(self.nic_bench);
        command
            .arg(format!("--milliseconds={}", time.as_millis()))
            .args([figure.client(), "--len", figure.len()])
            .arg(format!("--watch={},{}", server.id(), stack.id()))
            .arg(stack.socket());
        let said = Spawner::own().output(&command)?;
        serde_json::from_str(&said).with_context(|| format!("nic-bench said {said:?}"))
    }
}
