//! DPDK's testpmd in a guest whose image has it: bound to a NIC, started, and asked.

use std::time::Duration;

use crate::error::Result;
use crate::guest::{Guest, GuestError};

/// How long one command, or testpmd's start, may take.
const LIMIT: Duration = Duration::from_secs(120);
/// Gives a command to testpmd and waits until its next prompt. testpmd reads a pipe that this script keeps, and what it says
/// goes to a file.
const ASK: &str = r#"from=$(($(stat -c %s /run/testpmd.log) + 1))
[ -z "$1" ] && from=1 || printf '%s\n' "$1" >/run/testpmd.in
until tail -c "+$from" /run/testpmd.log | grep -q '^testpmd> '; do
    kill -0 "$(cat /run/testpmd.pid)" || { cat /run/testpmd.log; exit 1; }
    usleep 5000
done
tail -c "+$from" /run/testpmd.log
"#;
/// Lets testpmd quit, if it runs.
const END: &str = "pid=$(cat /run/testpmd.pid 2>/dev/null) || exit 0
rm /run/testpmd.pid
! kill -0 $pid 2>/dev/null || echo quit >/run/testpmd.in
while kill -0 $pid 2>/dev/null; do usleep 5000; done
grep -q '^Bye...' /run/testpmd.log || { tail -n 20 /run/testpmd.log; exit 1; }";

/// A testpmd that runs.
#[derive(Debug)]
pub struct Testpmd<'a> {
    guest: &'a mut Guest,
    start: String,
}

impl<'a> Testpmd<'a> {
    /// Lays aside this many pages of 2 MiB and loads the kernel's drivers by which user space gets hold of a NIC.
    ///
    /// # Errors
    /// The guest has no such memory or no such modules.
    pub fn prepare(guest: &mut Guest, huge_pages: u32) -> Result<()> {
        guest.sh(&format!(
            // DPDK loads nothing from below a folder that everybody may write to.
            "chmod 755 / && mkdir -p /var/run
             echo {huge_pages} >/proc/sys/vm/nr_hugepages
             [ \"$(cat /proc/sys/vm/nr_hugepages)\" = {huge_pages} ] && modprobe -a uio_pci_generic vfio_pci"
        ))?;
        Ok(())
    }

    /// Gives the PCI function at `address` to the kernel's driver `driver`.
    ///
    /// # Errors
    /// The driver does not take it.
    pub fn bind(guest: &mut Guest, address: &str, driver: &str) -> Result<()> {
        guest.sh(&format!(
            "cd /sys/bus/pci/devices/{address}
             [ \"$(basename \"$(readlink driver)\")\" != {driver} ] || exit 0
             [ ! -e driver ] || echo {address} >driver/unbind
             echo {driver} >driver_override
             echo {address} >/sys/bus/pci/drivers_probe
             [ \"$(basename \"$(readlink driver)\")\" = {driver} ]"
        ))?;
        Ok(())
    }

    /// Starts testpmd on the function at `address` with these arguments for the EAL and for itself, and waits for its
    /// prompt.
    ///
    /// # Errors
    /// It ends instead.
    pub fn start(guest: &'a mut Guest, address: &str, eal: &str, arguments: &str) -> Result<Self> {
        // By the library it writes whole lines although no terminal reads them.
        guest.sh(&format!(
            "rm -f /run/testpmd.*
             mkfifo /run/testpmd.in
             _STDBUF_O=L LD_PRELOAD=/usr/libexec/coreutils/libstdbuf.so \
             dpdk-testpmd --in-memory --no-telemetry -a {address} {eal} -- \
             --interactive --port-topology=loop {arguments} \
             <>/run/testpmd.in >/run/testpmd.log 2>&1 &
             echo $! >/run/testpmd.pid"
        ))?;
        let mut testpmd = Self {
            guest,
            start: String::new(),
        };
        testpmd.start = testpmd.command("")?;
        Ok(testpmd)
    }

    /// What it said until it was ready.
    pub fn start_log(&self) -> &str {
        &self.start
    }

    /// The guest that it runs in.
    pub fn guest(&mut self) -> &mut Guest {
        self.guest
    }

    /// Gives a command and returns what testpmd says to it.
    ///
    /// # Errors
    /// It has ended, or does not know the command.
    pub fn command(&mut self, command: &str) -> Result<String> {
        Self::ask(self.guest, command)
    }

    /// Gives a command to the testpmd that runs in `guest`.
    ///
    /// # Errors
    /// As for [`Testpmd::command`].
    pub fn ask(guest: &mut Guest, command: &str) -> Result<String> {
        let output = guest.run(&format!("set -- '{command}'\n{ASK}"), LIMIT)?;
        let text = output.stdout.replace('\r', "");
        let unknown = text.contains("Command not found") || text.contains("Bad arguments");
        if output.status != 0 || unknown {
            let status = GuestError::Status {
                command: format!("{command} (of testpmd)"),
                status: output.status,
                text: format!("{text}{}", output.stderr),
            };
            return Err(status.into());
        }
        Ok(text)
    }

    /// Lets the testpmd of this guest quit, if one runs.
    ///
    /// # Errors
    /// It does not end as it should.
    pub fn end(guest: &mut Guest) -> Result<()> {
        let output = guest.run(END, LIMIT)?;
        if output.status == 0 {
            return Ok(());
        }
        let status = GuestError::Status {
            command: "quit (of testpmd)".to_owned(),
            status: output.status,
            text: output.stdout,
        };
        Err(status.into())
    }
}
