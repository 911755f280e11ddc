//! What happens to the NIC while traffic runs.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use guest_vm::{CablePeer, Spawner};

use super::bring_up;
use crate::cable::Cable;
use crate::rig::{INTERFACE, Rig};

/// One thing that happens.
#[derive(Debug)]
pub struct Disturbance {
    /// What a person calls it.
    pub name: &'static str,
    /// What is done.
    steps: &'static [Step],
}

#[derive(Debug)]
enum Step {
    /// By ixgbectl.
    Control(&'static [&'static str]),
    /// In the guest, `IF` being the interface; it has to succeed.
    Guest(&'static str),
    /// By `ip` on the host at the other end of the cable, `IF` being the tap.
    Host(&'static str),
    /// Waits until the guest sees a carrier.
    Carrier,
    /// Waits until the guest sees none.
    NoCarrier,
    /// The driver is brought up anew.
    BringUp,
}

use Step::{BringUp, Carrier, Control, Guest, Host, NoCarrier};

/// All of them, in the order in which they come.
pub const ALL: &[Disturbance] = &[
    Disturbance {
        name: "rings resized",
        steps: &[
            Guest("ethtool -G IF rx 128 tx 128"),
            Carrier,
            Guest("ethtool -G IF rx 512 tx 512"),
            Carrier,
        ],
    },
    Disturbance {
        name: "offloads off and on",
        steps: &[
            Guest("ethtool -K IF rx off tx off tso off gro off rxvlan off"),
            Carrier,
            Guest("ethtool -K IF rx on tx on tso on gro on rxvlan on"),
            Carrier,
        ],
    },
    Disturbance {
        name: "MTU changed",
        steps: &[
            Host("link set IF mtu 9000"),
            Guest("ip link set IF mtu 9000"),
            Carrier,
            Guest("ping -q -c 20 -A -W 5 -s 8900 10.82.99.1"),
            Guest("ip link set IF mtu 1500"),
            Host("link set IF mtu 1500"),
            Carrier,
        ],
    },
    Disturbance {
        name: "queues changed",
        steps: &[
            Guest("ethtool -L IF combined 1"),
            Carrier,
            Guest("ethtool -L IF combined 2"),
            Carrier,
        ],
    },
    Disturbance {
        name: "interface down and up",
        steps: &[Guest("ip link set IF down"), BringUp],
    },
    Disturbance {
        name: "interrupts moderated",
        steps: &[
            Guest("ethtool -C IF rx-usecs 0"),
            Guest("ethtool -C IF rx-usecs 500"),
            Guest("ethtool -C IF rx-usecs 1"),
        ],
    },
    Disturbance {
        name: "module exchanged",
        steps: &[
            Control(&["module", "none"]),
            NoCarrier,
            Control(&["module", "da-passive"]),
            Carrier,
            Control(&["module", "sr"]),
            Carrier,
        ],
    },
    Disturbance {
        name: "cable flaps",
        steps: &[
            Control(&["link", "down"]),
            Control(&["link", "up"]),
            Control(&["link", "down"]),
            Control(&["link", "up"]),
            Control(&["link", "down"]),
            NoCarrier,
            Control(&["link", "up"]),
            Carrier,
        ],
    },
    Disturbance {
        name: "large receives",
        steps: &[
            Guest("ethtool -K IF lro on"),
            Carrier,
            Guest("ethtool -K IF lro off"),
            Carrier,
        ],
    },
    Disturbance {
        name: "errors of the bus",
        steps: &[
            Control(&["fault", "receiver-error"]),
            Control(&["fault", "bad-tlp"]),
            Control(&["fault", "replay-timeout"]),
        ],
    },
    Disturbance {
        name: "looked on",
        steps: &[
            Control(&["stats", "--copies"]),
            Control(&["rings"]),
            Control(&["regs"]),
            Control(&["filters"]),
        ],
    },
    Disturbance {
        name: "ECC error of transmit",
        steps: &[Control(&["fault", "ecc-tx"]), Guest("true"), Carrier],
    },
    Disturbance {
        name: "nothing",
        steps: &[],
    },
    Disturbance {
        name: "cable pulled",
        steps: &[
            Control(&["link", "down"]),
            NoCarrier,
            Control(&["link", "up"]),
            Carrier,
        ],
    },
    Disturbance {
        name: "ECC error of receive",
        steps: &[Control(&["fault", "ecc-rx"]), Guest("true"), Carrier],
    },
    Disturbance {
        name: "driver reloaded",
        steps: &[Guest("modprobe -r ixgbe"), BringUp],
    },
];

/// How long a step in the guest may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Does it.
#[derive(Debug)]
pub struct Disturber {
    ixgbectl: PathBuf,
    control: PathBuf,
}

impl Disturber {
    /// One that reaches the NIC by this program and socket.
    pub fn new(ixgbectl: &Path, control: &Path) -> Self {
        Self {
            ixgbectl: ixgbectl.to_owned(),
            control: control.to_owned(),
        }
    }

    /// Lets it happen, and waits until the NIC has a link again.
    pub fn disturb(&self, disturbance: &Disturbance, rig: &mut Rig, cable: &Cable) -> Result<()> {
        for step in disturbance.steps {
            match step {
                Control(arguments) => {
                    let mut command = Command::new(&self.ixgbectl);
                    command.arg("--control").arg(&self.control).args(*arguments);
                    Spawner::own().output(&command)?;
                }
                Guest(command) => {
                    rig.guest.sh(&command.replace("IF", INTERFACE))?;
                }
                Host(arguments) => {
                    let Cable::Tap(peer) = cable else {
                        bail!("a soak takes a host with a tap");
                    };
                    let arguments = arguments.replace("IF", CablePeer::TAP);
                    let arguments: Vec<&str> = arguments.split(' ').collect();
                    peer.namespace().ip(&arguments)?;
                }
                Carrier => wait_for_carrier(rig, 1)?,
                NoCarrier => wait_for_carrier(rig, 0)?,
                BringUp => bring_up(rig)?,
            }
        }
        Ok(())
    }
}

/// Waits until the guest sees a carrier, or none. A card that is just being reset has no file to read.
fn wait_for_carrier(rig: &mut Rig, state: u8) -> Result<()> {
    let wait = format!(
        "until [ \"$(cat /sys/class/net/{INTERFACE}/carrier 2>/dev/null)\" = {state} ]; do usleep 20000; done"
    );
    let output = rig.guest.run(&wait, LIMIT)?;
    ensure!(
        output.status == 0,
        "the carrier does not become {state}: {}",
        output.stderr
    );
    Ok(())
}

/// Whether a line of the guest's kernel log is a warning that none of the disturbances explains.
pub fn is_no_answer(line: &str) -> bool {
    const ANSWERS: [&str; 6] = [
        "NIC Link is",
        "ECC",
        "Reset adapter",
        "initiating reset",
        "SFP+",
        "Spoofed",
    ];
    guest_vm::kernel_log::is_warning(line) && !ANSWERS.iter().any(|answer| line.contains(answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_that_no_disturbance_explains_is_one() {
        assert!(is_no_answer(
            "<4>[    9.1] ixgbe 0000:01:00.0 eth0: Detected Tx Unit Hang"
        ));
        assert!(!is_no_answer(
            "<4>[    9.1] ixgbe 0000:01:00.0 eth0: Received ECC Err, initiating reset"
        ));
        assert!(!is_no_answer(
            "<6>[    9.1] ixgbe 0000:01:00.0 eth0: changing MTU from 1500 to 9000"
        ));
    }
}
