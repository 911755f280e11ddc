//! A QEMU with no guest: the test drives the machine's devices one access at a time (QEMU's `-accel qtest`), and QEMU
//! sends through its real vfio-user client what a guest's access would make it send. Starting one takes 0.1 s.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::process::{Process, Spawner, death_bound, describe};
use crate::qemu::{Qemu, machine_arguments, vfio_user_arguments};
use crate::qmp::Qmp;

/// Limit for QEMU's start and for one answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);
/// Where [`Qtest`] maps the PCI Express configuration space; 1 MiB a bus.
const CONFIG_SPACE: u64 = 0xb000_0000;
/// Where the window of the first root port begins; each has 16 MiB.
const WINDOW: u64 = 0xc000_0000;
const WINDOW_SIZE: u64 = 0x0100_0000;

/// The place of a PCI function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PciAddress {
    /// Bus.
    pub bus: u8,
    /// Device, 0 to 31.
    pub device: u8,
    /// Function, 0 to 7.
    pub function: u8,
}

/// A device behind a root port that [`Qtest::enable_nic`] has made reachable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnabledNic {
    /// Where its configuration space is.
    pub address: PciAddress,
    /// Address that each memory BAR was given; `None` for one that is not there, is the upper half of another, or is of
    /// I/O ports.
    pub bars: [Option<u64>; 6],
}

/// A QEMU that executes no instruction. It is killed when this is dropped.
#[derive(Debug)]
pub struct Qtest {
    qemu: Process,
    reader: BufReader<UnixStream>,
    writer: UnixStream,
    qmp: Qmp,
    _sockets: tempfile::TempDir,
}

impl Qtest {
    /// Starts QEMU with the vfio-user devices that listen at `sockets`, the first behind port 0; 256 MiB of memory in one
    /// shared memfd. QEMU's command and words go to the folder `logs`.
    ///
    /// # Errors
    /// QEMU refuses its arguments or a device; the error quotes what it said.
    pub fn start(qemu: &Qemu, sockets: &[&Path], logs: &Path) -> Result<Self> {
        let mut arguments = Vec::new();
        for (index, socket) in (0u8..).zip(sockets) {
            arguments.extend(vfio_user_arguments(index, socket));
        }
        Self::start_with(qemu, &arguments, logs)
    }

    /// Starts QEMU with devices given by QEMU arguments.
    ///
    /// # Errors
    /// As for [`Qtest::start`].
    pub fn start_with(qemu: &Qemu, arguments: &[std::ffi::OsString], logs: &Path) -> Result<Self> {
        fs::create_dir_all(logs).map_err(Error::path("create the folder", logs))?;
        let sockets = tempfile::Builder::new()
            .prefix("qtest-")
            .tempdir()
            .map_err(Error::path("create a folder in", std::env::temp_dir()))?;
        let (test, test_path) = listen(sockets.path(), "test")?;
        let (monitor, monitor_path) = listen(sockets.path(), "monitor")?;
        let mut command = qemu.command();
        command.args(machine_arguments(256)).args([
            "-accel",
            "qtest",
            "-qtest-log",
            "none",
            "-qtest",
        ]);
        command.arg(format!("unix:{}", test_path.display()));
        command.args([
            "-chardev",
            &format!("socket,id=monitor,path={}", monitor_path.display()),
        ]);
        command.args(["-mon", "chardev=monitor,mode=control"]);
        command.args(arguments);
        let command_log = logs.join("qemu.command");
        fs::write(&command_log, format!("{}\n", describe(&command)))
            .map_err(Error::path("write", command_log))?;
        let stderr_path = logs.join("qemu.stderr");
        let stderr = fs::File::create(&stderr_path).map_err(Error::path("create", &stderr_path))?;
        let mut bound = death_bound(&command);
        bound
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr);
        let mut process = Spawner::own().start_with("QEMU", bound, Some(stderr_path))?;

        let monitor = accept(&monitor, &mut process)?;
        let test = accept(&test, &mut process)?;
        let qmp = Qmp::new(monitor)?;
        test.set_read_timeout(Some(ANSWER_LIMIT)).map_err(broken)?;
        let writer = test.try_clone().map_err(broken)?;
        Ok(Self {
            qemu: process,
            reader: BufReader::new(test),
            writer,
            qmp,
            _sockets: sockets,
        })
    }

    /// QEMU's monitor.
    pub fn qmp(&mut self) -> &mut Qmp {
        &mut self.qmp
    }

    /// What QEMU wrote to stderr last.
    pub fn stderr(&self) -> String {
        self.qemu.log_tail()
    }

    /// Kills QEMU as SIGKILL does.
    pub fn kill(mut self) {
        self.qemu.kill();
    }

    /// Reads a byte of memory or MMIO.
    ///
    /// # Errors
    /// For this and all accesses: QEMU has ended or answers nonsense.
    pub fn readb(&mut self, address: u64) -> Result<u8> {
        self.read("readb", address)
    }

    /// Reads 2 bytes of memory or MMIO.
    ///
    /// # Errors
    /// See [`Qtest::readb`].
    pub fn readw(&mut self, address: u64) -> Result<u16> {
        self.read("readw", address)
    }

    /// Reads 4 bytes of memory or MMIO.
    ///
    /// # Errors
    /// See [`Qtest::readb`].
    pub fn readl(&mut self, address: u64) -> Result<u32> {
        self.read("readl", address)
    }

    /// Reads 8 bytes of memory or MMIO.
    ///
    /// # Errors
    /// See [`Qtest::readb`].
    pub fn readq(&mut self, address: u64) -> Result<u64> {
        self.read("readq", address)
    }

    /// Writes a byte of memory or MMIO.
    ///
    /// # Errors
    /// See [`Qtest::readb`].
    pub fn writeb(&mut self, address: u64, value: u8) -> Result<()> {
        self.write("writeb", address, value.into())
    }

    /// Writes 2 bytes of memory or MMIO.
    ///
    /// # Errors
    /// See [`Qtest::readb`].
    pub fn writew(&mut self, address: u64, value: u16) -> Result<()> {
        self.write("writew", address, value.into())
    }

    /// Writes 4 bytes of memory or MMIO.
    ///
    /// # Errors
    /// See [`Qtest::readb`].
    pub fn writel(&mut self, address: u64, value: u32) -> Result<()> {
        self.write("writel", address, value.into())
    }

    /// Writes 8 bytes of memory or MMIO.
    ///
    /// # Errors
    /// See [`Qtest::readb`].
    pub fn writeq(&mut self, address: u64, value: u64) -> Result<()> {
        self.write("writeq", address, value)
    }

    /// Reads 4 bytes of an I/O port.
    ///
    /// # Errors
    /// See [`Qtest::readb`].
    pub fn inl(&mut self, port: u16) -> Result<u32> {
        self.read("inl", port.into())
    }

    /// Writes 4 bytes of an I/O port.
    ///
    /// # Errors
    /// See [`Qtest::readb`].
    pub fn outl(&mut self, port: u16, value: u32) -> Result<()> {
        self.write("outl", port.into(), value.into())
    }

    /// Reads guest memory.
    ///
    /// # Errors
    /// See [`Qtest::readb`].
    pub fn memread(&mut self, address: u64, length: usize) -> Result<Vec<u8>> {
        let answer = self.command(&format!("read {address:#x} {length:#x}"))?;
        parse_hex(&answer)
            .filter(|bytes| bytes.len() == length)
            .ok_or_else(|| unexpected(&answer))
    }

    /// Writes guest memory.
    ///
    /// # Errors
    /// See [`Qtest::readb`].
    pub fn memwrite(&mut self, address: u64, bytes: &[u8]) -> Result<()> {
        let mut line = format!("write {address:#x} {:#x} 0x", bytes.len());
        for byte in bytes {
            // Writing to a string cannot fail.
            let _ = write!(line, "{byte:02x}");
        }
        self.command(&line).map(drop)
    }

    /// Lets the machine's virtual clock run for `time`; its timers fire.
    ///
    /// # Errors
    /// See [`Qtest::readb`].
    pub fn clock_step(&mut self, time: Duration) -> Result<()> {
        self.command(&format!("clock_step {}", time.as_nanos()))
            .map(drop)
    }

    /// Reads 4 bytes of configuration space. Other than 4-byte accesses go by [`Qtest::config_address`].
    ///
    /// # Errors
    /// See [`Qtest::readb`].
    pub fn config_readl(&mut self, function: PciAddress, offset: u16) -> Result<u32> {
        self.readl(Self::config_address(function, offset))
    }

    /// Writes 4 bytes of configuration space.
    ///
    /// # Errors
    /// See [`Qtest::readb`].
    pub fn config_writel(&mut self, function: PciAddress, offset: u16, value: u32) -> Result<()> {
        self.writel(Self::config_address(function, offset), value)
    }

    /// Memory address of a byte of configuration space, valid after [`Qtest::enable_nic`].
    pub fn config_address(function: PciAddress, offset: u16) -> u64 {
        let PciAddress {
            bus,
            device,
            function,
        } = function;
        CONFIG_SPACE
            + (u64::from(bus) << 20)
            + (u64::from(device & 0x1f) << 15)
            + (u64::from(function & 7) << 12)
            + u64::from(offset & 0xfff)
    }

    /// Does what firmware does for the device behind port `index`: a bus number, a window, addresses for its memory BARs,
    /// memory decoding and bus mastering on.
    ///
    /// # Errors
    /// See [`Qtest::readb`]; and nothing is behind the port, or its BARs do not fit.
    pub fn enable_nic(&mut self, index: u8) -> Result<EnabledNic> {
        self.map_config_space()?;
        let port = PciAddress {
            bus: 0,
            device: 0x10 + index,
            function: 0,
        };
        let address = PciAddress {
            bus: index + 1,
            device: 0,
            function: 0,
        };
        let window = WINDOW + WINDOW_SIZE * u64::from(index);
        // Primary 0, secondary and subordinate ours (PCI-to-PCI bridge specification 3.2.5.2 to 3.2.5.8).
        let bus = u32::from(address.bus);
        self.config_writel(port, 0x18, bus << 16 | bus << 8)?;
        let base = bits(window >> 16) & 0xfff0;
        let limit = bits((window + WINDOW_SIZE - 1) >> 16) & 0xfff0;
        self.config_writel(port, 0x20, limit << 16 | base)?;
        // No prefetchable window: its base is above its limit.
        self.config_writel(port, 0x24, 0x0000_fff0)?;
        self.config_writel(port, 0x04, 0x0006)?;
        if self.config_readl(address, 0)? == u32::MAX {
            return Err(test_socket(format!(
                "no device answers behind port {index}"
            )));
        }
        let bars = self.place_bars(address, window)?;
        self.config_writel(address, 0x04, 0x0006)?;
        Ok(EnabledNic { address, bars })
    }

    /// Makes configuration space memory: register PCIEXBAR of the q35 host bridge, by the old I/O ports.
    fn map_config_space(&mut self) -> Result<()> {
        for (register, value) in [(0x64, 0), (0x60, bits(CONFIG_SPACE) | 1)] {
            self.outl(0xcf8, 0x8000_0000 | register)?;
            self.outl(0xcfc, value)?;
        }
        Ok(())
    }

    fn place_bars(&mut self, address: PciAddress, window: u64) -> Result<[Option<u64>; 6]> {
        let mut bars = [None; 6];
        let mut next = window;
        let mut upper = false;
        for (index, bar) in (0u16..).zip(&mut bars) {
            let offset = 0x10 + 4 * index;
            if upper {
                self.config_writel(address, offset, 0)?;
                upper = false;
                continue;
            }
            self.config_writel(address, offset, u32::MAX)?;
            let mask = self.config_readl(address, offset)?;
            let of_ports = mask & 1 != 0;
            if mask == 0 || of_ports {
                self.config_writel(address, offset, 0)?;
                continue;
            }
            upper = mask & 0b110 == 0b100;
            let size = u64::from(!(mask & !0xf)) + 1;
            next = next.next_multiple_of(size);
            if next + size > window + WINDOW_SIZE {
                return Err(test_socket(format!(
                    "BAR {index} of {size:#x} bytes does not fit into the port's window"
                )));
            }
            self.config_writel(address, offset, bits(next))?;
            *bar = Some(next);
            next += size;
        }
        Ok(bars)
    }

    fn read<T: TryFrom<u64>>(&mut self, command: &str, address: u64) -> Result<T> {
        let answer = self.command(&format!("{command} {address:#x}"))?;
        let digits = answer
            .strip_prefix("0x")
            .ok_or_else(|| unexpected(&answer))?;
        let value = u64::from_str_radix(digits, 16).map_err(|_| unexpected(&answer))?;
        T::try_from(value).map_err(|_| unexpected(&answer))
    }

    fn write(&mut self, command: &str, address: u64, value: u64) -> Result<()> {
        self.command(&format!("{command} {address:#x} {value:#x}"))
            .map(drop)
    }

    /// Sends one line and returns what comes after `OK`.
    fn command(&mut self, line: &str) -> Result<String> {
        writeln!(self.writer, "{line}").map_err(broken)?;
        loop {
            let mut answer = String::new();
            if self.reader.read_line(&mut answer).map_err(broken)? == 0 {
                return Err(test_socket(format!(
                    "is closed: QEMU has ended\n{}",
                    self.qemu.log_tail()
                )));
            }
            let answer = answer.trim_end();
            if let Some(result) = answer.strip_prefix("OK") {
                return Ok(result.trim_start().to_owned());
            }
            // Interrupt lines may be reported between.
            if !answer.starts_with("IRQ ") {
                return Err(unexpected(answer));
            }
        }
    }
}

fn listen(folder: &Path, name: &str) -> Result<(UnixListener, PathBuf)> {
    let path = folder.join(name);
    let listener = UnixListener::bind(&path).map_err(Error::path("listen at", &path))?;
    listener
        .set_nonblocking(true)
        .map_err(Error::path("listen at", &path))?;
    Ok((listener, path))
}

fn accept(listener: &UnixListener, qemu: &mut Process) -> Result<UnixStream> {
    let deadline = Instant::now() + ANSWER_LIMIT;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).map_err(broken)?;
                return Ok(stream);
            }
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(broken(error)),
            Err(_) if qemu.ended().is_some() => {
                return Err(Error::Qemu(format!(
                    "QEMU does not start: {}",
                    qemu.log_tail()
                )));
            }
            Err(_) if Instant::now() > deadline => {
                return Err(test_socket(format!(
                    "QEMU did not connect within {ANSWER_LIMIT:?}: {}",
                    qemu.log_tail()
                )));
            }
            Err(_) => thread::sleep(Duration::from_millis(1)),
        }
    }
}

/// The low 32 bits, where a register holds no more.
fn bits(address: u64) -> u32 {
    u32::try_from(address & u64::from(u32::MAX)).expect("masked to 32 bits")
}

fn parse_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("0x")?.as_bytes();
    digits
        .chunks(2)
        .map(|pair| {
            std::str::from_utf8(pair)
                .ok()
                .and_then(|pair| u8::from_str_radix(pair, 16).ok())
        })
        .collect()
}

fn test_socket(reason: String) -> Error {
    Error::Monitor {
        socket: "test socket",
        reason,
    }
}

fn unexpected(answer: &str) -> Error {
    test_socket(format!("answers {answer:?}"))
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "used as a function for map_err"
)]
fn broken(error: io::Error) -> Error {
    test_socket(format!("does not answer: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configuration_space_is_addressed_by_bus_device_and_function() {
        let function = PciAddress {
            bus: 1,
            device: 2,
            function: 3,
        };

        assert_eq!(Qtest::config_address(function, 0x104), 0xb011_3104);
    }

    #[test]
    fn memory_is_read_as_pairs_of_digits() {
        assert_eq!(parse_hex("0x00ff10"), Some(vec![0, 255, 16]));
        assert_eq!(parse_hex("0x0g"), None);
        assert_eq!(parse_hex("00"), None);
    }
}
