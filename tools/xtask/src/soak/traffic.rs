//! Connections whose every byte is compared.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use guest_vm::{CablePeer, Lab, Process, Userland};

use super::bring_up;
use crate::cable::Cable;
use crate::rig::Rig;

/// Sizes of what a connection carries, in bytes: all that fits into one packet and what takes thousands, never the same
/// twice. Several run at a time.
const SIZES: [u64; 4] = [1, 1_449, 70_001, 1_500_000];
/// Random bytes in the guest, of which each connection takes another part.
const BYTES: u64 = 2_000_000;
/// Where each round begins in them, so that a packet of an earlier round is not taken for one of this.
const STRIDE: u64 = 4_099;
/// Port of the echo service (RFC 862).
const PORT: u16 = 7;
/// Longest that TCP takes to get over a disturbance.
const LIMIT: Duration = Duration::from_secs(120);

/// Traffic of a guest with an echo server at the other end of the cable.
#[derive(Debug)]
pub struct Traffic {
    _echo: Process,
}

impl Traffic {
    /// Starts the server, which is Linux's TCP and `cat`, and brings the guest's interface up.
    pub fn start(rig: &mut Rig, cable: &Cable, userland: &Userland, lab: &Lab) -> Result<Self> {
        let Cable::Tap(peer) = cable else {
            anyhow::bail!("a soak takes a host with an echo server");
        };
        let mut echo = userland.program("busybox")?.command();
        echo.args(["nc", "-ll", "-p", &PORT.to_string(), "-e", "/bin/cat"]);
        let log = lab.cache.log_folder("soak-echo")?.join("echo.log");
        let echo = peer.namespace().start("echo", &echo, &log)?;
        bring_up(rig)?;
        rig.guest
            .sh(&format!("head -c {BYTES} /dev/urandom > /tmp/bytes"))?;
        // A server that does not listen yet refuses.
        let ready = format!(
            "until echo hello | nc {} {PORT} 2>/dev/null | grep -q hello; do usleep 50000; done",
            cable.host()
        );
        let output = rig.guest.run(&ready, Duration::from_secs(30))?;
        ensure!(output.status == 0, "the echo server does not answer");
        Ok(Self { _echo: echo })
    }

    /// Opens the connections of a round; they go on while others happens.
    pub fn begin(&self, rig: &mut Rig, round: u32) -> Result<()> {
        let from = u64::from(round) * STRIDE % (BYTES / 8) + 1;
        let mut command = "rm -f /tmp/done.*;".to_owned();
        for (number, size) in SIZES.iter().enumerate() {
            command.push_str(&format!(
                " tail -c +{from} /tmp/bytes | head -c {size} > /tmp/in.{number}; \
                 (nc {host} {PORT} < /tmp/in.{number} > /tmp/out.{number} 2> /tmp/said.{number}; \
                 echo $? > /tmp/done.{number}) > /dev/null 2>&1 &",
                host = CablePeer::ADDRESS
            ));
        }
        rig.guest.sh(&command)?;
        Ok(())
    }

    /// Waits for the connections' ends, and compares what came back. Gives the number of bytes.
    pub fn end(&self, rig: &mut Rig) -> Result<u64> {
        let numbers = 0..SIZES.len();
        let each = numbers
            .map(|number| number.to_string())
            .collect::<Vec<_>>()
            .join(" ");
        let command = format!(
            "for n in {each}; do until [ -s /tmp/done.$n ]; do usleep 20000; done; \
             cmp /tmp/in.$n /tmp/out.$n || {{ cat /tmp/done.$n /tmp/said.$n; wc -c /tmp/in.$n /tmp/out.$n; exit 1; }}; done"
        );
        let output = rig
            .guest
            .run(&command, LIMIT)
            .context("a connection does not end")?;
        ensure!(
            output.status == 0,
            "a connection gave back something else: {}{}",
            output.stdout,
            output.stderr
        );
        Ok(SIZES.iter().sum())
    }
}
