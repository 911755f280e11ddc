//! What a server goes on to need, by its configuration.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use rustix::{process::geteuid, thread::CapabilitySet};
use wire::Need;

use crate::{config::Config, metrics::MetricsAddress};

/// What a server with a given configuration does after its start. Everything else it can give up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Folders with sockets of ours, which are removed in the end.
    pub sockets: BTreeSet<PathBuf>,
    /// Folders in which an NVM file is replaced.
    pub kept: BTreeSet<PathBuf>,
    /// TCP ports to connect to.
    pub tcp_ports: BTreeSet<u16>,
    /// Connects to UNIX sockets.
    pub unix_peers: bool,
    /// Asks for the state of network interfaces.
    pub interfaces: bool,
    /// Sets the carrier of taps.
    pub tap_carriers: bool,
    /// Opens packet sockets.
    pub packet_sockets: bool,
    /// Opens AF_XDP sockets and loads their programs.
    pub xdp_sockets: bool,
    /// Capabilities that some of this takes, if the process has them.
    pub capabilities: CapabilitySet,
}

impl Needs {
    /// What a server with this configuration needs. The folders are looked at.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let mut needs = Self {
            sockets: BTreeSet::new(),
            kept: BTreeSet::new(),
            tcp_ports: BTreeSet::new(),
            unix_peers: false,
            interfaces: false,
            tap_carriers: false,
            packet_sockets: false,
            xdp_sockets: false,
            capabilities: CapabilitySet::empty(),
        };
        if let Some(MetricsAddress::Unix(path)) = &config.metrics {
            needs.sockets.insert(folder(path));
        }
        let sockets = config.ports.iter().map(|port| &port.socket);
        for path in sockets.chain([&config.control]) {
            // A supervisor's are not ours to remove.
            if !config.passed.contains(path) {
                needs.sockets.insert(folder(path));
            }
        }
        for port in &config.ports {
            if let Some(nvm) = &port.nvm {
                // A link stays one, so the file's own folder is meant.
                let nvm = fs::canonicalize(nvm).unwrap_or_else(|_| nvm.clone());
                needs.kept.insert(folder(&nvm));
            }
            for need in port.wire.needs() {
                needs.add(need);
            }
        }
        let folders = needs.sockets.iter().chain(&needs.kept);
        if !folders.map(PathBuf::as_path).all(is_ours) {
            // Root in another user's folder.
            needs.capabilities |= CapabilitySet::DAC_OVERRIDE;
        }
        needs
    }

    fn add(&mut self, need: Need) {
        match need {
            Need::UnixPeer => {
                self.unix_peers = true;
                // The peer's socket may be another user's.
                self.capabilities |= CapabilitySet::DAC_OVERRIDE;
            }
            Need::TcpPeer(port) => drop(self.tcp_ports.insert(port)),
            Need::Interfaces => self.interfaces = true,
            Need::TapCarrier => self.tap_carriers = true,
            Need::PacketSocket => {
                self.packet_sockets = true;
                self.capabilities |= CapabilitySet::NET_RAW;
            }
            Need::XdpSocket => {
                self.xdp_sockets = true;
                // The last one lifts the limit on locked memory where it is low.
                self.capabilities |= CapabilitySet::NET_RAW
                    | CapabilitySet::NET_ADMIN
                    | CapabilitySet::BPF
                    | CapabilitySet::IPC_LOCK;
            }
            Need::Removes(path) => drop(self.sockets.insert(folder(&path))),
        }
    }
}

/// The folder that a path is in.
fn folder(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Whether this user can make and remove files of its own there without a capability. Groups are left out: who has one
/// has no capability to lose.
fn is_ours(folder: &Path) -> bool {
    fs::metadata(folder).is_ok_and(|metadata| {
        let mine = metadata.uid() == geteuid().as_raw() && metadata.mode() & 0o300 == 0o300;
        mine || metadata.mode() & 0o003 == 0o003
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::Arguments;

    fn needs(rest: &[&str]) -> Needs {
        let arguments = Arguments::try_parse_from(["vfio-user-ixgbe"].iter().chain(rest)).unwrap();
        Needs::of(&Config::load(arguments).unwrap())
    }

    #[test]
    fn a_server_of_its_own_host_needs_the_folder_of_its_sockets_alone() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("nic.sock");

        let needs = needs(&["--socket", socket.to_str().unwrap()]);

        assert_eq!(needs.sockets, BTreeSet::from([folder.path().to_owned()]));
        assert_eq!(needs.capabilities, CapabilitySet::empty());
        assert!(needs.kept.is_empty() && needs.tcp_ports.is_empty());
        assert!(!needs.unix_peers && !needs.interfaces && !needs.packet_sockets);
    }

    #[test]
    fn sockets_of_a_supervisor_are_not_removed_and_need_no_folder() {
        let arguments = Arguments::try_parse_from(["vfio-user-ixgbe"]).unwrap();
        let passed = vec!["/run/a".into(), "/run/a.control".into()];

        let needs = Needs::of(&Config::load_with(arguments, passed).unwrap());

        assert!(needs.sockets.is_empty());
        assert_eq!(needs.capabilities, CapabilitySet::empty());
    }

    #[test]
    fn each_ports_wire_adds_what_it_needs() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let second = format!("socket={},wire=af_xdp:eth0", path("b"));
        let third = format!("socket={},wire=stream:tcp:localhost:5555", path("c"));

        let needs = needs(&["--socket", &path("a"), "--port", &second, "--port", &third]);

        assert!(needs.xdp_sockets && needs.interfaces && !needs.packet_sockets);
        assert_eq!(needs.tcp_ports, BTreeSet::from([5555]));
        assert!(needs.capabilities.contains(CapabilitySet::BPF));
        assert!(!needs.capabilities.contains(CapabilitySet::SYS_ADMIN));
    }

    #[test]
    fn an_nvm_behind_a_link_needs_the_folder_of_the_file() {
        let (sockets, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let file = files.path().join("nvm");
        fs::write(&file, "").unwrap();
        let link = sockets.path().join("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let socket = sockets.path().join("a");

        let needs = needs(&[
            "--socket",
            socket.to_str().unwrap(),
            "--nvm",
            link.to_str().unwrap(),
        ]);

        assert_eq!(needs.kept, BTreeSet::from([files.path().to_owned()]));
    }

    #[test]
    fn a_bare_name_is_in_the_current_folder() {
        assert_eq!(folder(Path::new("nic.sock")), Path::new("."));
    }
}
