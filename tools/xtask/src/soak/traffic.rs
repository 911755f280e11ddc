//! Connections whose every byte is compared.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use guest_vm::{CablePeer, Lab, Process, Userland};

use super::bring_up;
use crate::cable::Cable;
use crate::rig::Rig;

/// What a connection carries at a time, in bytes: all that fits into one packet and what takes hundreds, never the same twice.
/// Several run at once. The next is sent when the last has come back: nc does not read while it cannot write, and this much
/// always finds room on the way.
const SIZES: [u32; 4] = [1, 1_449, 70_001, 300_007];
/// After so many bytes a connection goes on with single ones: the guest keeps all of them in memory.
const MOST: u32 = 30_000_000;
/// Random bytes in the guest, of which each connection takes another part.
const BYTES: u32 = 2_000_000;
/// Where each round begins in them, so that a packet of an earlier round is not taken for one of this.
const STRIDE: u32 = 4_099;
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
        let busybox = userland.program("busybox")?;
        let mut echo = busybox.command();
        echo.args(["nc", "-ll", "-p", &PORT.to_string(), "-e"])
            .arg(&busybox.executable)
            .args(&busybox.prefix)
            .arg("cat");
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

    /// Opens the connections of a round, and waits until something has come back on each. They carry bytes until
    /// [`Traffic::end`], whatever happens meanwhile.
    pub fn begin(&self, rig: &mut Rig, round: u32) -> Result<()> {
        let mut command = "rm -f /tmp/stop /tmp/in.* /tmp/out.* /tmp/done.*\n".to_owned();
        for (number, size) in SIZES.iter().enumerate() {
            command.push_str(&open(number, *size, round));
        }
        command.push_str(&format!(
            "for n in {each}; do until [ -s /tmp/out.$n ]; do
                 [ ! -e /tmp/done.$n ] || {{ cat /tmp/done.$n /tmp/said.$n; exit 1; }}; usleep 20000
             done; done",
            each = each()
        ));
        let output = rig.guest.run(&command, LIMIT);
        let output = output.context("a connection does not open")?;
        ensure!(
            output.status == 0,
            "a connection does not open: {}{}",
            output.stdout,
            output.stderr
        );
        Ok(())
    }

    /// Waits until more has come back on each connection, closes them, and compares. Gives the number of bytes.
    pub fn end(&self, rig: &mut Rig) -> Result<u64> {
        let command = format!(
            "size() {{ stat -c %s /tmp/out.$1; }}
             for n in {each}; do
                 before=$(size $n)
                 until [ \"$(size $n)\" -gt $before ] || [ -e /tmp/done.$n ]; do usleep 20000; done
                 [ ! -e /tmp/done.$n ] || {{ echo $n ended early; cat /tmp/done.$n /tmp/said.$n; exit 1; }}
             done
             touch /tmp/stop
             for n in {each}; do
                 until [ -s /tmp/done.$n ]; do usleep 20000; done
                 cmp /tmp/in.$n /tmp/out.$n || {{ cat /tmp/done.$n /tmp/said.$n; wc -c /tmp/in.$n /tmp/out.$n; exit 1; }}
             done
             cat /tmp/out.* | wc -c",
            each = each()
        );
        let output = rig
            .guest
            .run(&command, LIMIT)
            .context("a connection does not go on or does not end")?;
        ensure!(
            output.status == 0,
            "a connection gave back something else: {}{}",
            output.stdout,
            output.stderr
        );
        let count = output.stdout.trim();
        count
            .parse()
            .with_context(|| format!("the number of bytes is {count:?}"))
    }
}

/// The connections' numbers, as words.
fn each() -> String {
    let numbers: Vec<String> = (0..SIZES.len()).map(|number| number.to_string()).collect();
    numbers.join(" ")
}

/// Opens a connection in the guest, in the background, until there is a file `/tmp/stop`. What it sends goes to
/// `/tmp/in.NUMBER`, too, and what comes back to `/tmp/out.NUMBER`; `/tmp/done.NUMBER` has nc's status when it has ended.
fn open(number: usize, size: u32, round: u32) -> String {
    let places = BYTES - size;
    let from = round.wrapping_mul(STRIDE) % places;
    let host = CablePeer::ADDRESS;
    format!(
        "(from={from} size={size} sent=0
          : >/tmp/out.{number}
          until [ -e /tmp/stop ]; do
              dd if=/tmp/bytes bs=$size count=1 iflag=skip_bytes skip=$from
              from=$(((from + {STRIDE}) % {places})) sent=$((sent + size))
              [ $sent -lt {MOST} ] || size=1
              until [ \"$(stat -c %s /tmp/out.{number})\" -ge $sent ] || [ -e /tmp/stop ]; do usleep 100000; done
          done 2>/dev/null | tee /tmp/in.{number} |
              {{ nc {host} {PORT} >>/tmp/out.{number} 2>/tmp/said.{number}; echo $? >/tmp/done.{number}; }}
         ) >/dev/null 2>&1 &\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_round_begins_at_another_place() {
        let first = open(3, 300_007, 0);
        let second = open(3, 300_007, 1);

        assert!(first.starts_with("(from=0 size=300007 sent=0\n"));
        assert!(second.starts_with("(from=4099 size=300007 sent=0\n"));
    }
}
