//! Network namespaces with tap devices, where guests' peers run.

use std::fs::OpenOptions;
use std::io;
use std::path::Path;
use std::process::Command;

use crate::error::{Error, Result};
use crate::process::{Process, Program, Spawner};
use crate::userland::Userland;

/// Where tap devices are made.
const TUN: &str = "/dev/net/tun";

/// A network namespace of its own. It goes with this value and the last process that was started in it.
#[derive(Clone, Debug)]
pub struct Namespace {
    spawner: Spawner,
    ip: Program,
}

impl Namespace {
    /// Makes a namespace in which only the loopback device is up.
    ///
    /// # Errors
    /// This process may not make namespaces: it is neither root nor in a user namespace of its own.
    pub fn new(userland: &Userland) -> Result<Self> {
        let ip = userland.program("ip")?;
        let spawner = Spawner::new_namespace().map_err(|error| {
            let remedy = if error.kind() == io::ErrorKind::PermissionDenied {
                "; run as root, or under `unshare --user --map-root-user` (cargo xtask does so by itself)"
            } else {
                ""
            };
            Error::Namespace(format!("cannot make a network namespace: {error}{remedy}"))
        })?;
        let namespace = Self { spawner, ip };
        namespace.ip(&["link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// What starts processes in this namespace.
    pub fn spawner(&self) -> &Spawner {
        &self.spawner
    }

    /// Runs `ip` with these arguments in the namespace and returns what it wrote.
    ///
    /// # Errors
    /// `ip` refuses them.
    pub fn ip(&self, arguments: &[&str]) -> Result<String> {
        let mut command = self.ip.command();
        command.args(arguments);
        self.spawner.output(&command)
    }

    /// Makes the tap device `name`, up, with `address` (such as `10.0.0.1/24`) and an MTU of `mtu`.
    ///
    /// # Errors
    /// The host has no tap devices for us, or the name or the address is not usable.
    pub fn add_tap(&self, name: &str, address: &str, mtu: u32) -> Result<()> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .open(TUN)
            .map_err(|error| {
                let remedy = match error.kind() {
                    io::ErrorKind::PermissionDenied => {
                        "run as root, or let all users open it as most systems do (chmod 666)"
                    }
                    _ => "load its module with `modprobe tun`",
                };
                Error::Namespace(format!("cannot open {TUN}: {error}; {remedy}"))
            })?;
        self.ip(&["tuntap", "add", "dev", name, "mode", "tap", "vnet_hdr"])?;
        self.ip(&["address", "add", address, "dev", name])?;
        self.ip(&["link", "set", name, "mtu", &mtu.to_string(), "up"])?;
        Ok(())
    }

    /// Starts a helper in the namespace; its output goes to `log`.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(&self, name: &str, command: &Command, log: &Path) -> Result<Process> {
        self.spawner.start(name, command, log)
    }
}
