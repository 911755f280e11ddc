//! The command line.

use std::path::PathBuf;

use clap::Parser;
use nic_model::Module;

use crate::{
    checking::Check, doorbells::Doorbells, mac_address::MacAddress, metrics::MetricsAddress,
    polling::Polling, port_arguments::PortArguments, sandbox::Sandbox,
};

const AFTER_HELP: &str = "\
EXAMPLE
  One terminal runs the NIC, with a small host (DHCP, ping, TCP and UDP echo) on its cable:

    vfio-user-ixgbe --socket /tmp/nic.sock

  Another one runs QEMU 10.1 or newer. The guest's memory must be shared, else the NIC would see stale pages:

    qemu-system-x86_64 -M q35,memory-backend=mem -m 2G \\
      -object memory-backend-memfd,id=mem,size=2G,share=on \\
      -device '{\"driver\":\"vfio-user-pci\",\"socket\":{\"type\":\"unix\",\"path\":\"/tmp/nic.sock\"}}' \\
      ...

  The guest finds an Intel 82599 (8086:10fb) and loads ixgbe. Inject and capture frames, read counters and pull the
  cable with ixgbectl:

    ixgbectl --control /tmp/nic.sock.control stats

WIRES
  host      A small host in this process: DHCPv4, ARP, ICMP and ICMPv6 echo, router advertisements, TCP and UDP echo,
            discard and chargen. Needs no privilege.
  tap:NAME  The Linux tap device NAME, which exists and belongs to this user:
            ip tuntap add NAME mode tap user $USER vnet_hdr; ip link set NAME up
  af_packet:IFACE
            A network interface of this machine, of a card or one end of a veth pair, by a packet socket: the NIC sends
            and receives there beside the kernel, whatever the address. Takes CAP_NET_RAW. The link follows the
            interface, which may go and come back.
  af_xdp:IFACE, af_xdp:IFACE,QUEUE
            One queue (0) of such an interface, by an AF_XDP socket past the kernel's network stack, zero-copy where
            the driver can. Frames of up to 3840 bytes. Takes CAP_NET_RAW, CAP_NET_ADMIN and CAP_BPF. Checksums and VLAN
            tags have to be in the frames: ethtool -K PEER tx off for a kernel behind a veth pair,
            ethtool -K IFACE rxvlan off for a card.
  stream:unix:PATH, stream:tcp:HOST:PORT
            A peer that speaks as QEMU's -netdev stream does: QEMU itself, passt, or another vfio-user-ixgbe. This side
            connects, again and again until the peer is there; with ,server behind it, it listens:
            stream:tcp:0.0.0.0:5555,server. The NIC has a link while there is a connection.
  dgram:udp:HOST:PORT,HOST:PORT, dgram:unix:LOCAL,REMOTE
            The same with a datagram for each frame, as QEMU's -netdev dgram does; the own address first. Nothing tells
            whether the peer is there, so the NIC always has a link.
  pair:NAME A cable to another port of this server, which has the same wire.
  null      A far end that takes every frame and sends none.
  loopback  A plug that sends every frame back.
  generate:RATE,SIZE
            A far end that sends numbered UDP datagrams to everybody and throws away what comes. RATE is max, line
            (10 Gbit/s), or a number with pps, kpps or Mpps; SIZE is in bytes without FCS, 60 to 9710:
            generate:2Mpps,60. At max it takes a core for as long as the server runs.
  pcap:IN[,OUT][,speed=SPEED][,loop[=TIMES]]
            A far end that sends the frames of the pcap or pcapng file IN, and writes what comes to the pcapng file OUT.
            It begins when the NIC has a link and its driver enables the receiver. SPEED is recorded (the default), a
            multiple of that (2x, 0.5x), max, frames a second (1Mpps) or a line's speed (line, 1G). loop repeats the
            file for ever, loop=3 three times. IN may be longer than memory, and a pipe.

  Behind any wire stands what is put on its cable, the first next to the wire, the last next to the NIC:
  tap:tap0+latency=50us+rate=10G.
  +rate=RATE
            A line of this speed, in each direction: line (10 Gbit/s, as the card's) or a number with k, M or G bits a
            second. A frame takes the time of its bytes and of 24 more (preamble, FCS, gap); what the NIC sends faster
            waits in the NIC. Without it a wire is as fast as this computer.
  +latency=TIME
            Each frame arrives that much later, in each direction: a number with ns, us, ms or s, at most 10s.
  +capture=FILE
            All that passes there, in both directions, goes to the pcapng file FILE.

SEVERAL PORTS
  The flags above describe port 0; each --port adds one, with a socket, a client and a thread of its own. Ports 0 and 1
  are LAN 0 and LAN 1 of one card, ports 2 and 3 of the next. A guest sees a card as it is on one device:

    vfio-user-ixgbe --socket /tmp/nic0 --wire pair:a --port socket=/tmp/nic1,wire=pair:a
    -device '{\"driver\":\"vfio-user-pci\",\"addr\":\"5.0\",\"multifunction\":true,\"socket\":{...\"/tmp/nic0\"}}'
    -device '{\"driver\":\"vfio-user-pci\",\"addr\":\"5.1\",\"socket\":{...\"/tmp/nic1\"}}'

  One control socket serves all of them: ixgbectl --port 1 link down. The two ports of a card have one NVM: it is
  enough to give --nvm for one of them.

CONFIGURATION FILE
  TOML. The keys are the names of the flags; a flag on the command line wins.

    socket = \"/run/nic/nic.sock\"
    mac = \"02:00:00:12:34:56\"
    wire = \"tap:tap0\"
    module = \"lr\"
    nvm = \"/var/lib/nic.nvm\"
    doorbells = \"posted\"
    log = \"info\"
    control = \"/run/nic/nic.sock.control\"
    poll-us = 200
    sandbox = \"on\"
    check = \"report\"
    metrics = \"127.0.0.1:9382\"
    record = \"/var/tmp/run.rec\"

    [[port]]
    socket = \"/run/nic/nic1.sock\"
    wire = \"null\"

SYSTEMD
  A supervisor may pass listening UNIX sockets (LISTEN_FDS): one that is bound to the path of a port, or to that of
  --control, is used for it and stays when the server ends. Without --socket the first one is port 0's. A supervisor that
  waits for it (NOTIFY_SOCKET, Type=notify) is told when clients can connect.

SIGNALS
  SIGTERM and SIGINT end the server and remove its sockets.";

/// An Intel 82599 10 GbE NIC in software, served to QEMU or a user-space driver over vfio-user.
///
/// The server listens on a UNIX socket for each port and serves one client of it at a time. When the client goes, the
/// port is reset and the next client may come; the cable stays as it is.
#[derive(Clone, Debug, Default, Parser)]
#[command(name = "vfio-user-ixgbe", version, after_long_help = AFTER_HELP, after_help = "--help tells more.")]
pub struct Arguments {
    /// UNIX socket to listen on. Its folder must exist. A socket file that nobody listens on is replaced.
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,

    /// Permanent MAC address, six pairs of hex digits; a unicast address. Default: a locally administered address
    /// that depends on the socket's path only.
    #[arg(long, value_name = "MAC")]
    pub mac: Option<MacAddress>,

    /// What is at the other end of the cable: host, tap:NAME, af_packet:IFACE, pair:NAME, null, loopback,
    /// generate:RATE,SIZE or pcap:IN, with what is put on the cable behind it (+rate=10G, +latency=50us, +capture=FILE);
    /// --help tells all. Default: host.
    #[arg(long, value_name = "WIRE")]
    pub wire: Option<wire::Kind>,

    /// Module in the cage: sr, lr (10GBASE-SR, -LR), sr-1g (SR that works at 1 Gbit/s, too), da-passive, da-active
    /// (direct attach copper), 1g-sx, 1g-t (1000BASE-SX, -T) or none. `ixgbectl module` changes it at run time.
    /// Default: sr.
    #[arg(long, value_name = "KIND")]
    pub module: Option<Module>,

    /// File that keeps the card's NVM, so that what a guest writes (`ethtool -E`) is there in the next server, too. It is
    /// made if it is not there. A real card's is good as well: `ethtool -e ethX raw on > FILE`. An address in it wins over
    /// --mac. Default: none, the NVM is new with each server.
    #[arg(long, value_name = "FILE")]
    pub nvm: Option<PathBuf>,

    /// How the client tells that a ring has work: posted (by messages) or mapped (through pages of BAR 0 that the client
    /// maps: no message and no exit of the guest, for drivers that poll; QEMU then waits for every other register
    /// write). See docs/doorbells.md. Default: posted.
    #[arg(long, value_name = "posted|mapped")]
    pub doorbells: Option<Doorbells>,

    /// A further port: socket=PATH, and as needed wire=WIRE, mac=MAC, module=KIND, nvm=FILE,
    /// doorbells=KIND, with commas between them and meanings and defaults as above. May be repeated.
    #[arg(long, value_name = "socket=PATH,...")]
    pub port: Vec<PortArguments>,

    /// TOML file with the same settings; flags override it.
    #[arg(long, value_name = "FILE.toml")]
    pub config: Option<PathBuf>,

    /// What is logged to standard error: error, warn, info, debug or trace, also by module
    /// (info,vfio_user=debug). Default: info.
    #[arg(long, value_name = "FILTER")]
    pub log: Option<String>,

    /// UNIX socket on which ixgbectl controls all ports. Default: the path of --socket followed by .control.
    #[arg(long, value_name = "PATH")]
    pub control: Option<PathBuf>,

    /// How long a port's thread polls before it sleeps. 0: never. A number of microseconds, up to 1000000: for a time
    /// that adapts to the traffic, at most that long; an idle NIC sleeps, and whoever else needs the core gets it.
    /// always: never sleeps, for a core that nobody else needs. Default: 200, as KVM polls for a halted processor.
    #[arg(long, value_name = "MICROSECONDS|always")]
    pub poll_us: Option<Polling>,

    /// Whether the server gives up what it does not need once it has opened its files, sockets and devices: files and TCP
    /// ports (landlock), system calls (seccomp), capabilities, new privileges. See docs/threat-model.md. off is for
    /// debuggers and profilers. Default: on.
    #[arg(long, value_name = "on|off")]
    pub sandbox: Option<Sandbox>,

    /// Whether a checker looks on at what the client's driver does: off, report (each breach of the datasheet's rules
    /// goes into the log, once) or strict (the first one ends the server, which fails). Default: off.
    #[arg(long, value_name = "off|report|strict")]
    pub check: Option<Check>,

    /// Where the counters of all ports are for Prometheus, as OpenMetrics over HTTP at /metrics: an address and a TCP port
    /// (127.0.0.1:9382), or unix:PATH for a socket of this user's. Whoever can connect may read them; there is nothing to
    /// change. Default: nowhere.
    #[arg(long, value_name = "ADDR:PORT|unix:PATH")]
    pub metrics: Option<MetricsAddress>,

    /// File that all that the clients and the wires do to the ports is recorded in, from the start to the end of the server;
    /// an existing one is replaced. `ixgbectl replay FILE` does it again. See docs/reproduce.md. It takes time, and about as
    /// many bytes as pass. Default: none.
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
}

/// A [`clap::Error`] as one line: cause and next step.
#[must_use]
pub fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let parts: Vec<String> = text
        .split("\n\n")
        .filter(|part| !part.starts_with("Usage:") && !part.starts_with("For more information"))
        .map(|part| part.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|part| !part.is_empty())
        .collect();
    let cause = parts.join("; ");
    let cause = cause.strip_prefix("error: ").unwrap_or(&cause);
    format!("{cause}; see vfio-user-ixgbe --help")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_flag_is_told_in_one_line_with_the_flag_that_was_meant() {
        let error =
            Arguments::try_parse_from(["vfio-user-ixgbe", "--sockt", "/tmp/a"]).unwrap_err();

        let line = one_line(&error);

        assert_eq!(
            line,
            "unexpected argument '--sockt' found; tip: a similar argument exists: '--socket'; \
             see vfio-user-ixgbe --help"
        );
    }

    #[test]
    fn a_bad_value_is_told_in_one_line_with_what_is_expected() {
        let error =
            Arguments::try_parse_from(["vfio-user-ixgbe", "--wire", "wet string"]).unwrap_err();

        let line = one_line(&error);

        assert!(line.contains("--wire"), "{line}");
        assert!(line.contains("loopback"), "{line}");
        assert!(!line.contains('\n'), "{line}");
    }
}
