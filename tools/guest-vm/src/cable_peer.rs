//! The host at the other end of the cable: a network namespace with a tap device, a DHCP server and the servers of iperf3
//! and netperf.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, Result};
use crate::namespace::Namespace;
use crate::process::Process;
use crate::userland::Userland;

/// The host at the other end of the cable. All of it goes when this is dropped.
#[derive(Debug)]
pub struct CablePeer {
    namespace: Namespace,
    servers: Vec<Process>,
    logs: PathBuf,
}

impl CablePeer {
    /// Name of the tap device.
    pub const TAP: &'static str = "cable";
    /// Address of this end.
    pub const ADDRESS: &'static str = "10.82.99.1";
    /// The only address that its DHCP server gives away.
    pub const LEASE: &'static str = "10.82.99.2";

    /// Makes the namespace and the tap and starts the servers; their logs go to the folder `logs`.
    ///
    /// # Errors
    /// This process may not make a namespace or a tap, or a server does not start.
    pub fn start(userland: &Userland, logs: &Path) -> Result<Self> {
        let namespace = Namespace::new(userland)?;
        namespace.add_tap(Self::TAP, &format!("{}/24", Self::ADDRESS), 1500)?;
        let mut peer = Self {
            namespace,
            servers: Vec::new(),
            logs: logs.to_owned(),
        };
        peer.start_dhcp(userland)?;
        let mut iperf = userland.program("iperf3")?.command();
        iperf.args(["--server", "--bind", Self::ADDRESS, "--forceflush"]);
        peer.add("iperf3", &iperf)?;
        let mut netperf = userland.program("netserver")?.command();
        // Without forks, so that all of it can be killed as one process.
        netperf.args(["-D", "-f", "-L", &format!("{},4", Self::ADDRESS)]);
        peer.add("netserver", &netperf)?;
        Ok(peer)
    }

    /// The namespace: what else is to be at this end of the cable starts there.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Whether all servers run still.
    ///
    /// # Errors
    /// One has ended; the error has what it said last.
    pub fn check(&mut self) -> Result<()> {
        for server in &mut self.servers {
            if let Some(status) = server.ended() {
                let stderr = server.log_tail();
                return Err(Error::Failed {
                    what: server.name().to_owned(),
                    status: status.to_string(),
                    stderr,
                });
            }
        }
        Ok(())
    }

    fn start_dhcp(&mut self, userland: &Userland) -> Result<()> {
        let configuration = self.logs.join("udhcpd.conf");
        let leases = self.logs.join("udhcpd.leases");
        let text = format!(
            "interface {tap}\nstart {lease}\nend {lease}\nmax_leases 1\nlease_file {leases}\npidfile {logs}/udhcpd.pid\n\
             option subnet 255.255.255.0\noption router {address}\noption lease 86400\n",
            tap = Self::TAP,
            lease = Self::LEASE,
            address = Self::ADDRESS,
            leases = leases.display(),
            logs = self.logs.display(),
        );
        fs::write(&configuration, text).map_err(Error::path("write", &configuration))?;
        fs::write(&leases, "").map_err(Error::path("write", &leases))?;
        let mut command = userland.program("busybox")?.command();
        // The address is nobody else's: not asking whether it is in use saves 2 s.
        command
            .args(["udhcpd", "-f", "-a", "0"])
            .arg(&configuration);
        self.add("udhcpd", &command)
    }

    fn add(&mut self, name: &str, command: &Command) -> Result<()> {
        let log = self.logs.join(format!("{name}.log"));
        let server = self.namespace.start(name, command, &log)?;
        self.servers.push(server);
        Ok(())
    }
}
