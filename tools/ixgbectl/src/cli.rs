//! The command line.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use packets::Fragments;

use crate::{craft::CraftArguments, fault::FaultArguments, pace::Pace, replay::Packet};

const AFTER_HELP: &str = "\
EXAMPLES
  ixgbectl stats
  ixgbectl inject arp.pcap
  ixgbectl inject --hex 'ffffffffffff 525400123456 88b5 68656c6c6f'
  ixgbectl inject --vlan 5 --ip src=10.0.0.1,dst=10.0.0.2,ttl=1 --tcp dport=80,flags=S
  ixgbectl inject --ip src=10.0.0.0/24 --udp dport=1000-2000 --len 1514 --count 1M --rate 50kpps
  ixgbectl inject --ip sum=bad --udp --bad-fcs
  ixgbectl inject --on arp --eth dst=@eth.src --arp reply,spa=@arp.tpa,tpa=@arp.spa,tha=@arp.sha
  ixgbectl expect --arp reply,spa=10.0.0.2 -- ixgbectl inject --arp who-has=10.0.0.2,tell=10.0.0.1
  ixgbectl expect icmp --icmp echo-reply,seq=1-5,sum=good --count 5 --order
  ixgbectl capture tcp port 80 and host 10.0.0.1
  ixgbectl capture -o traffic.pcapng
  ixgbectl capture -c 10 -o - | tshark -r -
  ixgbectl inject --verdict --hex '525400123456 525400abcdef 88b5 68656c6c6f'
  ixgbectl trace --kind packet --kind interrupt
  ixgbectl regs --chapter interrupt --nonzero
  ixgbectl rings rx --queue 0 --bytes 64
  ixgbectl stats --copies
  ixgbectl top
  ixgbectl top --once | grep Drops
  ixgbectl link down
  ixgbectl module da-passive
  ixgbectl fault ecc-rx
  ixgbectl fault drop --direction rx --probability 0.01 --seed 7 --for 10s
  ixgbectl fault tx-stuck --queue 0 --nth 100
  ixgbectl fault list
  ixgbectl save nic.state
  ixgbectl leds
  ixgbectl check
  ixgbectl record run.rec --for 10
  ixgbectl replay run.rec --until rx:17 --show rings,stats
  ixgbectl --port 1 link down
  ixgbectl --json stats | jq '.counters[] | select(.value > 0)'

WHICH SERVER
  --control PATH, else the environment variable IXGBE_CONTROL, else the one control
  socket (its name ends with .control) that is open in this network namespace.

EXIT CODE
  0 if everything was done, 1 if something failed (standard error says what and what
  to do), 2 for a wrong command line.";

/// Inject, capture and inspect on a running vfio-user-ixgbe, the Intel 82599 NIC in software.
#[derive(Debug, Parser)]
#[command(name = "ixgbectl", version, after_help = AFTER_HELP)]
pub(crate) struct Arguments {
    /// Control socket of the server: the path of its --socket followed by .control, or what its --control says.
    #[arg(long, value_name = "PATH", env = "IXGBE_CONTROL", global = true)]
    pub(crate) control: Option<PathBuf>,

    /// Which port of the server, counted from 0. Without it port 0 is meant; info, stats, top, check and capture mean all ports.
    #[arg(long, value_name = "NUMBER", global = true)]
    pub(crate) port: Option<u32>,

    /// Print JSON for programs instead of text for people, errors included.
    #[arg(long, global = true)]
    pub(crate) json: bool,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Let frames arrive at the NIC as if from the cable.
    ///
    /// They come from files, from hex digits, or are described header by header. Frames have no FCS; those shorter than 60
    /// bytes are padded with zeros. Files are read before the first frame is injected. Frames arrive in order, as fast as the
    /// NIC takes them or at --rate; the times in a capture do not matter.
    Inject(Box<InjectArguments>),
    /// Wait for frames that the guest sends, and compare them.
    ///
    /// Only frames that pass the FILTER, in tcpdump's words, are looked at. They are compared with the words for headers, which
    /// are those of inject (a field that is not said may be anything; sum=good, sum=bad and len=good are checked), or with the
    /// frames of a file. A COMMAND behind -- is run as soon as no frame can be missed, so that a test is
    /// `ixgbectl expect … -- ixgbectl inject …`. If the frames do not come, the difference to the nearest is shown, and the exit
    /// code is 1.
    Expect(Box<ExpectArguments>),
    /// Show the frames that pass, in both directions, or write them to a pcapng file.
    ///
    /// Without -o each frame is told in a line, with --json as JSON; in a file each port is an interface. Without --port all
    /// ports are captured. A FILTER, in tcpdump's words, says which frames are kept; tags are looked through, so that ip means
    /// tagged packets as well (not vlan leaves them out).
    ///
    /// Frames are captured as they lie on the cable: large TCP frames as the segments that they become, checksums
    /// complete. The direction is in each frame's flags: outbound is what the NIC sent, inbound what it received. SIGINT
    /// (Ctrl-C) and SIGTERM end the capture; the file is then complete. Traffic never waits for a capture: frames that it
    /// is too slow for are missing, counted as lost, and their number stands at the end of the file.
    Capture(CaptureArguments),
    /// Show the counters: the card's own, the model's and the cable's.
    Stats(StatsArguments),
    /// Show what the NIC does now, again and again: rates, queues, drops, interrupts, DMA, latency.
    ///
    /// Takes the whole terminal, 80×24 or whatever there is. Keys: q quits, Tab and the arrows show another port or scroll, p
    /// pauses, ? tells all. Into a pipe or a file, with --batch or with --json, samples follow each other as plain text, or one
    /// JSON line for each. Rates are of the time since the sample before. Latency is measured only while somebody looks: from
    /// a frame's arrival until it is in client memory, and until the interrupt that tells of it. The NIC works a little harder
    /// meanwhile.
    Top(TopArguments),
    /// Tell what the NIC does as one time line: accesses to registers, DMA, descriptors, frames and interrupts.
    ///
    /// Events come in words, as JSON lines with --json, or into a file for Perfetto (ui.perfetto.dev) or chrome://tracing.
    /// Ctrl-C ends it. The NIC never waits for a trace: events that it is too slow for are lost, and their number is told.
    Trace(TraceArguments),
    /// Show registers as they stand, decoded to fields; nothing is cleared by looking.
    Regs(RegsArguments),
    /// Show the descriptor rings: head, tail, what the NIC owns, and what is in them.
    ///
    /// With --queue the descriptors around the head are shown, decoded, and with --bytes what is in their buffers.
    Rings(RingsArguments),
    /// Show the receive filters: addresses, VLANs, queues.
    Filters,
    /// Show interrupts: which cause leads to which vector, masked or not, and how it is moderated.
    Irq,
    /// Show what the NVM holds.
    Nvm(NvmArguments),
    /// Show the client's memory: what is mapped, or the bytes at an address.
    Mem(MemArguments),
    /// Show the state of the cable, pull it or put it back.
    ///
    /// The NIC loses its carrier as if somebody had pulled the cable. Frames that are under way are lost.
    Link(LinkArguments),
    /// Show what is in the cage, draw it or plug in another module.
    ///
    /// The NIC notices as if somebody had done it by hand: the module that was there is drawn first, and the driver
    /// reads the new one's identity. Frames that are under way are lost.
    Module(ModuleArguments),
    /// Let the cable or the NIC have a fault: one error now, or what goes wrong from now on.
    ///
    /// A fault takes some of its occasions: frames, interrupts, write-backs, packets, accesses to memory, resets. Which ones
    /// depends on its seed only, so that the same traffic has the same faults again. Its number is printed; list shows how
    /// often each has happened, and clear ends it, with what lasts of it. docs/faults.md tells what each kind does and what
    /// drivers do about it.
    ///
    /// An error of the hardware without any option is had once, now. Those of the bus are noted in the AER capability (lspci
    /// -vvv shows them); whether the NIC tells the root complex is printed, but no virtual machine gets that message. ECC
    /// errors are a cause of interrupt; drivers reset the NIC.
    Fault(Box<FaultArguments>),
    /// Write the NIC's state into a file: registers, rings, filters, timers, counters, NVM, frames that wait.
    ///
    /// The NIC goes on. Not in the file are the client's memory and what is on the cable. It holds the keys of IPsec if there
    /// are any.
    Save(StateArguments),
    /// Put the state of a file into the NIC, which goes on as the one that was saved.
    ///
    /// For a server without a client, or whose client has the memory and the driver of the NIC that was saved, at the same
    /// addresses. A client that resets the NIC when it starts, as QEMU does, ends the state that was loaded before. A file that is
    /// no state is refused with the name of the field, and changes nothing. Of a card with two ports both are to be loaded.
    Load(StateArguments),
    /// Show the LEDs beside the cage: what each shows and is to show.
    ///
    /// One that shows activity shows whether frames have passed since somebody looked last. `ethtool -p` in a guest turns
    /// one on and off; how often software has done that is counted.
    Leds,
    /// Show what the NIC's driver does against the datasheet's rules.
    ///
    /// For a server with --check report. Each breach is shown once for each queue or register, with what led to it. The exit
    /// code is 1 if there is any.
    Check,
    /// Record all that the NIC is given and does, from now on, for replay.
    ///
    /// The recording begins with the NIC's state. Ctrl-C ends it. The NIC does not wait for it: if it does more than can be
    /// written, the recording ends, and says so. A card of two ports is recorded by vfio-user-ixgbe --record alone.
    Record(RecordArguments),
    /// Do again what a recording says, and compare.
    ///
    /// The file is one of record, or of vfio-user-ixgbe --record. No server is asked: the model in this program is called as the NIC was,
    /// gets what it got, and has to do what it did, bit for bit. The first difference is told with its place, and the exit
    /// code is 1. Where the replay stops, --show shows what the commands of those names show of a running NIC, and --serve
    /// lets all of them look. --port says at which port --show looks.
    Replay(ReplayArguments),
    /// Show which server answers, and its ports.
    Info,
    /// Write what a shell completes words with to standard output.
    ///
    /// bash: ixgbectl completions bash > ~/.local/share/bash-completion/completions/ixgbectl. zsh: to a file _ixgbectl in a
    /// folder of $fpath. fish: to ~/.config/fish/completions/ixgbectl.fish.
    Completions {
        /// Which shell.
        #[arg(value_name = "SHELL")]
        shell: clap_complete::Shell,
    },
    /// Write the manual pages, one for each command, to a folder (man1 of a folder of $MANPATH).
    Man {
        /// The folder; it is made if it is not there.
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct InjectArguments {
    /// Files of frames: pcap, pcapng, or a hex dump (plain digits, or as xxd, hexdump -C and tcpdump -xx write it).
    /// - is standard input.
    #[arg(value_name = "FILE", required_unless_present_any = ["hex", "headers", "payload", "len"])]
    pub(crate) files: Vec<PathBuf>,

    /// A frame in hex digits, from the destination address on; blanks and colons do not matter. May be repeated.
    #[arg(long, value_name = "HEX")]
    pub(crate) hex: Vec<String>,

    #[command(flatten)]
    pub(crate) craft: CraftArguments,

    /// Cut frames off after so many bytes; what their headers say of lengths stays.
    #[arg(long, value_name = "BYTES")]
    pub(crate) truncate: Option<usize>,

    /// Cut IP packets into fragments of so many bytes: `SIZE[,overlap=BYTES][,reverse][,without=NUMBER]`.
    #[arg(long, value_name = "SIZE")]
    pub(crate) fragments: Option<Fragments>,

    /// Inject all of it so many times.
    #[arg(long, value_name = "TIMES", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) repeat: u32,

    /// Inject so many frames (1000, 20k, 1M), the first again after the last.
    #[arg(short, long, value_name = "COUNT", value_parser = count, conflicts_with = "repeat")]
    pub(crate) count: Option<u64>,

    /// How fast: a number with pps, kpps or Mpps, with bit/s, kbit/s, Mbit/s or Gbit/s on the line (preambles, gaps and FCS
    /// included), line (10 Gbit/s) or max.
    #[arg(short, long, value_name = "RATE", default_value = "max")]
    pub(crate) rate: Pace,

    /// Inject when the guest sends a frame that passes this filter, in tcpdump's words. A field of the answer can be one of
    /// that frame: dst=@eth.src, and --payload same is its payload.
    #[arg(long, value_name = "FILTER")]
    pub(crate) on: Option<String>,

    /// With --on: answer so many frames.
    #[arg(long, value_name = "TIMES", default_value = "1", value_parser = count, requires = "on")]
    pub(crate) times: u64,

    /// With --on: fail if they have not come after so many seconds.
    #[arg(long, value_name = "SECONDS", requires = "on", value_parser = seconds)]
    pub(crate) wait: Option<Duration>,

    /// Give the frames a wrong FCS, as a bad cable would.
    #[arg(long, visible_alias = "bad-crc")]
    pub(crate) bad_fcs: bool,

    /// Let frames of less than 60 bytes arrive as short as they are, instead of padded.
    #[arg(long)]
    pub(crate) runts: bool,

    /// Tell what the NIC does with each frame: which filter accepts it or which stage drops it, and why; pool, queue,
    /// hash, descriptors, the addresses written and the bytes at each, and the interrupt. Frames arrive one by one.
    #[arg(long, conflicts_with_all = ["on", "rate"])]
    pub(crate) verdict: bool,

    /// Seconds to wait while the NIC takes no frames, since its queue for injected frames is full.
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    pub(crate) timeout: u32,
}

#[derive(Debug, Args)]
pub(crate) struct ExpectArguments {
    /// Look only at frames that pass this filter, as of capture.
    #[arg(value_name = "FILTER")]
    pub(crate) filter: Vec<String>,

    #[command(flatten)]
    pub(crate) craft: CraftArguments,

    /// Expect the frames of these files: pcap, pcapng, or a hex dump. - is standard input.
    #[arg(long, value_name = "FILE")]
    pub(crate) frames: Vec<PathBuf>,

    /// Expect a frame in hex digits. May be repeated.
    #[arg(long, value_name = "HEX")]
    pub(crate) hex: Vec<String>,

    /// With --frames and --hex: these fields do not matter (ip.id, ip.sum, payload).
    #[arg(long, value_name = "FIELD", value_delimiter = ',')]
    pub(crate) ignore: Vec<String>,

    /// So many frames that are described are expected (1 unless it is said); 0: none within the timeout.
    #[arg(short, long, value_name = "COUNT", value_parser = count)]
    pub(crate) count: Option<u64>,

    /// Each frame that passes the filter has to be the next one that is expected; otherwise others may come between.
    #[arg(long)]
    pub(crate) order: bool,

    /// Seconds to wait, from the end of the COMMAND on.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub(crate) timeout: Duration,

    /// Run this as soon as no frame can be missed; IXGBE_CONTROL is set for it. Its failure is one of expect.
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct CaptureArguments {
    /// Keep only frames that pass this filter: tcp port 80 and host 10.0.0.1, arp, vlan 5, ether host …, less 100, inbound,
    /// `ip[8] < 5`; and, or, not and parentheses between them.
    #[arg(value_name = "FILTER")]
    pub(crate) filter: Vec<String>,

    /// File to write; an existing one is replaced. - is standard output.
    #[arg(short, long, short_alias = 'w', value_name = "FILE.pcapng")]
    pub(crate) output: Option<PathBuf>,

    /// Show the bytes of the frames, too.
    #[arg(short = 'x', long, conflicts_with = "output")]
    pub(crate) bytes: bool,

    /// End after so many frames.
    #[arg(short, long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,

    /// Keep only so many bytes of each frame.
    #[arg(short, long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) snap_length: Option<u32>,
}

#[derive(Debug, Default, Args)]
pub(crate) struct StatsArguments {
    /// Leave out counters that are 0.
    #[arg(long)]
    pub(crate) nonzero: bool,

    /// Show the account of copies instead: for each queue the bytes moved between client memory and wire, those copied
    /// besides, and what it took. Where none is kept one begins; it costs the NIC a little until --copies=stop.
    #[arg(long, value_name = "ACTION", num_args = 0..=1, require_equals = true, default_missing_value = "show")]
    pub(crate) copies: Option<CopiesAction>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CopiesAction {
    /// Show it.
    Show,
    /// Begin a new one.
    Restart,
    /// Show it a last time and end it.
    Stop,
}

#[derive(Debug, Args)]
pub(crate) struct TopArguments {
    /// Time between two samples, 0.1 to 3600.
    #[arg(short, long, value_name = "SECONDS", default_value = "1", value_parser = delay)]
    pub(crate) delay: Duration,

    /// End after so many samples.
    #[arg(short = 'n', long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) iterations: Option<u64>,

    /// Print plain text for scripts, also to a terminal.
    #[arg(short, long)]
    pub(crate) batch: bool,

    /// Print one sample and end: --batch --iterations 1.
    #[arg(long, conflicts_with = "iterations")]
    pub(crate) once: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TraceArguments {
    /// Only events of this kind. May be repeated.
    #[arg(short, long = "kind", value_name = "KIND")]
    pub(crate) kinds: Vec<TraceKind>,

    /// Of events that belong to a queue, only those of this one. May be repeated.
    #[arg(short, long = "queue", value_name = "NUMBER")]
    pub(crate) queues: Vec<u32>,

    /// Of events that have a direction, only those of this one.
    #[arg(short, long, value_name = "rx|tx")]
    pub(crate) direction: Option<Way>,

    /// Of accesses to registers, only those to this one, by the datasheet's name; * stands for anything. May be repeated.
    #[arg(short, long = "register", value_name = "NAME")]
    pub(crate) registers: Vec<String>,

    /// End after so many events.
    #[arg(short, long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,

    /// Write a file for Perfetto or Chrome instead; an existing one is replaced.
    #[arg(long, value_name = "FILE.json")]
    pub(crate) perfetto: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TraceKind {
    /// Registers, configuration space, resets, the carrier.
    Register,
    /// Accesses of the DMA engine.
    Dma,
    /// Descriptors fetched and written back.
    Descriptor,
    /// Frames.
    Packet,
    /// Causes and signals.
    Interrupt,
}

impl From<TraceKind> for control::EventKind {
    fn from(kind: TraceKind) -> Self {
        match kind {
            TraceKind::Register => Self::Register,
            TraceKind::Dma => Self::Dma,
            TraceKind::Descriptor => Self::Descriptor,
            TraceKind::Packet => Self::Packet,
            TraceKind::Interrupt => Self::Interrupt,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Way {
    /// Receive.
    Rx,
    /// Transmit.
    Tx,
}

impl From<Way> for control::Direction {
    fn from(way: Way) -> Self {
        match way {
            Way::Rx => Self::Receive,
            Way::Tx => Self::Transmit,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct RecordArguments {
    /// File to write; an existing one is replaced.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// End after so many seconds.
    #[arg(long = "for", value_name = "SECONDS", value_parser = seconds)]
    pub(crate) for_seconds: Option<Duration>,
}

#[derive(Debug, Args)]
pub(crate) struct ReplayArguments {
    /// The recording.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// Stop behind this packet: its number, from 1, of all, or of those received (rx:17) or sent (tx:17). The NIC finishes the
    /// step in which it sends a packet.
    #[arg(long, value_name = "PACKET")]
    pub(crate) until: Option<Packet>,

    /// Stop at so many seconds after the start of the server.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, conflicts_with = "until")]
    pub(crate) until_time: Option<Duration>,

    /// Stop behind this call of the model, from 1: what a difference is told by.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..), conflicts_with_all = ["until", "until_time"])]
    pub(crate) until_call: Option<u64>,

    /// Show this where the replay stops; several with commas.
    #[arg(long, value_name = "WHAT", value_delimiter = ',')]
    pub(crate) show: Vec<Shown>,

    /// Serve the ports as they are then at this control socket, until Ctrl-C: `ixgbectl --control PATH rings rx --queue 0`.
    /// Time stands still; memory is what the NIC has seen of it.
    #[arg(long, value_name = "PATH")]
    pub(crate) serve: Option<PathBuf>,
}

/// What a replay shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shown {
    /// Registers that are not 0.
    Regs,
    /// The descriptor rings.
    Rings,
    /// The receive filters.
    Filters,
    /// Interrupts.
    Irq,
    /// Counters that are not 0.
    Stats,
    /// The NVM.
    Nvm,
    /// The client's memory.
    Mem,
    /// The cable.
    Link,
    /// What is in the cage.
    Module,
    /// The LEDs.
    Leds,
}

#[derive(Debug, Default, Args)]
pub(crate) struct RegsArguments {
    /// Registers by the datasheet's name; * stands for any text, ? for a character. Without any, all are shown.
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,

    /// Only those of a chapter: interrupt, receive, transmit, filter, mac, ...
    #[arg(long, value_name = "CHAPTER")]
    pub(crate) chapter: Option<String>,

    /// Leave out registers that are 0.
    #[arg(long)]
    pub(crate) nonzero: bool,

    /// Show only what has changed since this file was written by the same option, and write it anew.
    #[arg(long, value_name = "FILE")]
    pub(crate) since: Option<PathBuf>,

    /// Look again and again, so many seconds apart, and show what has changed. Ctrl-C ends it.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "1", value_parser = seconds)]
    pub(crate) watch: Option<Duration>,

    /// With --watch: end after so many looks.
    #[arg(long, value_name = "COUNT", requires = "watch", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: Option<u32>,
}

#[derive(Debug, Default, Args)]
pub(crate) struct RingsArguments {
    /// Only rings of this direction.
    #[arg(value_name = "rx|tx")]
    pub(crate) direction: Option<Way>,

    /// The rings of this queue, with their descriptors.
    #[arg(short, long, value_name = "NUMBER", value_parser = clap::value_parser!(u8).range(..128))]
    pub(crate) queue: Option<u8>,

    /// Rings that are not enabled, too.
    #[arg(long)]
    pub(crate) all: bool,

    /// With --queue: so many descriptors on each side of the head.
    #[arg(short, long, value_name = "COUNT", default_value_t = 8)]
    pub(crate) count: u32,

    /// With --queue: the first bytes of the buffers, so many.
    #[arg(short, long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(crate) bytes: Option<u32>,
}

#[derive(Debug, Default, Args)]
pub(crate) struct NvmArguments {
    /// Show all bytes.
    #[arg(long)]
    pub(crate) dump: bool,

    /// Write all of it to a file, which the server's nvm option takes.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Default, Args)]
pub(crate) struct MemArguments {
    /// Show the bytes at this address, as the NIC would read them, instead of what is mapped. 0x begins a hex number.
    #[arg(value_name = "ADDRESS", value_parser = number)]
    pub(crate) iova: Option<u64>,

    /// So many of them, at most 65536.
    #[arg(value_name = "LENGTH", default_value_t = 64)]
    pub(crate) length: u32,
}

/// A number, in hex digits behind 0x.
fn number(text: &str) -> Result<u64, std::num::ParseIntError> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    }
}

#[derive(Debug, Args)]
pub(crate) struct LinkArguments {
    /// up puts the cable in, down pulls it; without it the state is shown.
    #[arg(value_name = "up|down")]
    pub(crate) state: Option<LinkState>,
}

#[derive(Debug, Args)]
pub(crate) struct ModuleArguments {
    /// sr, lr: 10GBASE-SR and -LR. sr-1g: SR that works at 1 Gbit/s, too. da-passive, da-active: direct attach copper
    /// cables. 1g-sx, 1g-t: 1000BASE-SX and -T. none: nothing. Without it the state is shown.
    #[arg(value_name = "KIND")]
    pub(crate) kind: Option<control::Module>,
}

#[derive(Debug, Args)]
pub(crate) struct StateArguments {
    /// The file.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

/// A number of frames: digits, and `k`, `M` or `G` for thousands, millions and billions.
pub(crate) fn count(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.char_indices().last() {
        Some((at, 'k' | 'K')) => (&text[..at], 1_000),
        Some((at, 'M')) => (&text[..at], 1_000_000),
        Some((at, 'G')) => (&text[..at], 1_000_000_000),
        _ => (text, 1),
    };
    let number = digits
        .parse::<u64>()
        .ok()
        .filter(|_| !digits.starts_with('+'));
    let number = number.and_then(|number| number.checked_mul(unit));
    number.ok_or_else(|| "a number is wanted, as in 1000, 20k or 1M".to_owned())
}

/// A time between two samples.
fn delay(text: &str) -> Result<Duration, String> {
    let [shortest, longest] = crate::top::DELAYS;
    let delay = seconds(text)?;
    if (shortest..=longest).contains(&delay) {
        Ok(delay)
    } else {
        Err("0.1 to 3600 seconds are wanted".to_owned())
    }
}

/// A duration in seconds, which may have decimals.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok();
    let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    duration.ok_or_else(|| "a number of seconds is wanted, as in 5 or 0.2".to_owned())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LinkState {
    /// Put the cable in.
    Up,
    /// Pull the cable.
    Down,
}

/// A [`clap::Error`] as one line: cause and next step.
pub(crate) fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let cause = text
        .lines()
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"))
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join(" ");
    let cause = cause.strip_prefix("error: ").unwrap_or(&cause);
    format!("{cause}; ixgbectl --help shows what there is")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_wrong_command_line_is_told_in_one_line() {
        let error = Arguments::try_parse_from(["ixgbectl", "link", "sideways"]).unwrap_err();

        let line = one_line(&error);

        assert!(line.starts_with("invalid value 'sideways'"), "{line}");
        assert!(!line.contains('\n'));
    }
}
