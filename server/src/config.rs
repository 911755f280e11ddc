//! What the server is to do, from the command line and the configuration file.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use nic_model::Module;
use serde::{Deserialize, Deserializer, de};
use thiserror::Error;

use crate::cli::Arguments;

/// Longest polling time that can be asked for, in microseconds.
const BUSY_POLL_LIMIT: u16 = 1000;

/// Everything the server needs to know, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Socket that the client connects to.
    pub socket: PathBuf,
    /// Permanent MAC address.
    pub mac: MacAddress,
    /// Other end of the cable.
    pub wire: wire::Kind,
    /// Module in the cage at the start.
    pub module: Module,
    /// Filter of the log, in the notation of `tracing`.
    pub log: String,
    /// Socket that `ixgbectl` connects to.
    pub control: PathBuf,
    /// Longest time that the worker polls before it sleeps; zero for never.
    pub busy_poll: Duration,
}

/// Why there is no [`Config`].
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The configuration file could not be read.
    #[error("cannot read the configuration file {}; check the path given to --config", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The configuration file is not what it should be.
    #[error("{}:{line}: {message}; see CONFIGURATION FILE in vfio-user-ixgbe --help", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// Line of the first error, from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// Neither a flag nor the file names the socket.
    #[error(
        "no socket to listen on; give --socket PATH, or socket = \"PATH\" in the file of --config"
    )]
    NoSocket,
    /// The polling time is longer than `BUSY_POLL_LIMIT`.
    #[error("busy-poll {given} is too long; give 0 to {BUSY_POLL_LIMIT} microseconds")]
    BusyPoll {
        /// What was asked for.
        given: u16,
    },
    /// Client and control socket would be the same file.
    #[error("--control is the same path as --socket ({}); give another one", path.display())]
    SameSocket {
        /// The path.
        path: PathBuf,
    },
}

/// The configuration file: as the flags.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    socket: Option<PathBuf>,
    #[serde(default, deserialize_with = "parsed")]
    mac: Option<MacAddress>,
    #[serde(default, deserialize_with = "parsed")]
    wire: Option<wire::Kind>,
    #[serde(default, deserialize_with = "parsed")]
    module: Option<Module>,
    log: Option<String>,
    control: Option<PathBuf>,
    busy_poll: Option<u16>,
}

impl Config {
    /// Puts flags, the configuration file that they name, and defaults together.
    ///
    /// # Errors
    /// [`ConfigError`], which tells cause and next step in one line.
    pub fn load(arguments: Arguments) -> Result<Self, ConfigError> {
        let file = match &arguments.config {
            Some(path) => File::read(path)?,
            None => File::default(),
        };
        let socket = arguments
            .socket
            .or(file.socket)
            .ok_or(ConfigError::NoSocket)?;
        let control = arguments
            .control
            .or(file.control)
            .unwrap_or_else(|| control::default_path(&socket));
        if control == socket {
            return Err(ConfigError::SameSocket { path: socket });
        }
        let busy_poll = arguments.busy_poll.or(file.busy_poll).unwrap_or(200);
        if busy_poll > BUSY_POLL_LIMIT {
            return Err(ConfigError::BusyPoll { given: busy_poll });
        }
        Ok(Self {
            mac: arguments
                .mac
                .or(file.mac)
                .unwrap_or_else(|| MacAddress::of_path(&socket)),
            wire: arguments.wire.or(file.wire).unwrap_or(wire::Kind::Host),
            module: arguments.module.or(file.module).unwrap_or_default(),
            log: arguments
                .log
                .or(file.log)
                .unwrap_or_else(|| "info".to_owned()),
            busy_poll: Duration::from_micros(busy_poll.into()),
            socket,
            control,
        })
    }
}

impl File {
    fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        toml::from_str(&text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let before = text.get(..start).unwrap_or(&text);
            ConfigError::Broken {
                path: path.to_owned(),
                line: before.matches('\n').count().saturating_add(1),
                message: error.message().replace('\n', ", "),
            }
        })
    }
}

/// A value that is written as on the command line.
fn parsed<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(de::Error::custom)
}

/// A unicast MAC address that is not all zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MacAddress([u8; 6]);

/// Why a text is not the MAC address of a NIC.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum MacError {
    /// Not six pairs of hex digits.
    #[error("not a MAC address; write six pairs of hex digits as in 02:00:00:12:34:56")]
    Malformed,
    /// The multicast bit is set.
    #[error("a multicast address, which a NIC cannot have; make the first byte even")]
    Multicast,
    /// All zeros, which drivers take for an NVM that was never written.
    #[error("all zeros, which drivers refuse; give another address")]
    Zero,
}

impl MacAddress {
    /// The bytes in the order in which they are sent.
    #[must_use]
    pub const fn octets(self) -> [u8; 6] {
        self.0
    }

    /// A locally administered address that depends on the path alone, so that a guest sees the same card whenever
    /// the server is started again, and two servers on one bridge differ.
    fn of_path(path: &Path) -> Self {
        const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
        const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;
        let hash = path
            .as_os_str()
            .as_encoded_bytes()
            .iter()
            .fold(FNV_OFFSET, |hash, &byte| {
                (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME)
            });
        let [.., c, d, e] = hash.to_be_bytes();
        Self([0x02, 0x82, 0x59, c, d, e])
    }
}

impl FromStr for MacAddress {
    type Err = MacError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split([':', '-']);
        let mut octets = [0; 6];
        for octet in &mut octets {
            let part = parts.next().ok_or(MacError::Malformed)?;
            if part.len() != 2 || !part.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Err(MacError::Malformed);
            }
            *octet = u8::from_str_radix(part, 16).map_err(|_| MacError::Malformed)?;
        }
        if parts.next().is_some() {
            return Err(MacError::Malformed);
        }
        if octets[0] & 1 != 0 {
            return Err(MacError::Multicast);
        }
        if octets == [0; 6] {
            return Err(MacError::Zero);
        }
        Ok(Self(octets))
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use clap::Parser;

    use super::*;

    fn arguments(rest: &[&str]) -> Arguments {
        Arguments::try_parse_from(["vfio-user-ixgbe"].iter().chain(rest)).unwrap()
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    #[test]
    fn the_socket_alone_gives_a_whole_configuration() {
        let config = Config::load(arguments(&["--socket", "/tmp/nic.sock"])).unwrap();

        assert_eq!(config.control, Path::new("/tmp/nic.sock.control"));
        assert_eq!(config.wire, wire::Kind::Host);
        assert_eq!(config.module, Module::Sr);
        assert_eq!(config.mac.octets()[0], 0x02);
    }

    #[test]
    fn a_flag_overrides_the_file_and_the_file_overrides_the_default() {
        let file = file(
            "wire = \"null\"\nmac = \"02:00:00:00:00:01\"\nbusy-poll = 7\nmodule = \"1g-t\"\n",
        );
        let path = file.path().to_str().unwrap();

        let config = Config::load(arguments(&[
            "--socket",
            "/tmp/a",
            "--config",
            path,
            "--mac",
            "02-00-00-00-00-ab",
        ]))
        .unwrap();

        assert_eq!(config.wire, wire::Kind::Null);
        assert_eq!(config.mac.to_string(), "02:00:00:00:00:ab");
        assert_eq!(config.busy_poll, Duration::from_micros(7));
        assert_eq!(config.module, Module::BaseT);
    }

    #[test]
    fn an_unknown_key_is_an_error_that_names_the_line() {
        let file = file("wire = \"null\"\n\nspeed = 10\n");
        let path = file.path().to_str().unwrap();

        let error = Config::load(arguments(&["--config", path])).unwrap_err();

        let line = error.to_string();
        assert!(line.starts_with(&format!("{path}:3: ")), "{line}");
        assert!(line.contains("speed"), "{line}");
        assert!(!line.contains('\n'), "{line}");
    }

    #[test]
    fn a_bad_value_in_the_file_is_an_error_that_names_the_line_and_what_is_expected() {
        let file = file("socket = \"/tmp/a\"\nmac = \"01:00:5e:00:00:01\"\n");
        let path = file.path().to_str().unwrap();

        let error = Config::load(arguments(&["--config", path])).unwrap_err();

        let line = error.to_string();
        assert!(line.starts_with(&format!("{path}:2: ")), "{line}");
        assert!(line.contains("multicast"), "{line}");
    }

    #[test]
    fn without_a_socket_the_error_says_how_to_give_one() {
        let error = Config::load(arguments(&[])).unwrap_err();

        assert!(error.to_string().contains("--socket PATH"), "{error}");
    }

    #[test]
    fn one_path_for_both_sockets_is_refused() {
        let error =
            Config::load(arguments(&["--socket", "/tmp/a", "--control", "/tmp/a"])).unwrap_err();

        assert!(matches!(error, ConfigError::SameSocket { .. }), "{error}");
    }

    #[test]
    fn two_paths_give_two_default_addresses_and_one_path_always_the_same() {
        let a = MacAddress::of_path(Path::new("/tmp/a"));
        let b = MacAddress::of_path(Path::new("/tmp/b"));

        assert_ne!(a, b);
        assert_eq!(a, MacAddress::of_path(Path::new("/tmp/a")));
    }

    #[test]
    fn addresses_that_no_nic_can_have_are_refused() {
        assert_eq!(
            "02:00:00:00:00".parse::<MacAddress>(),
            Err(MacError::Malformed)
        );
        assert_eq!(
            "02:00:00:00:00:0".parse::<MacAddress>(),
            Err(MacError::Malformed)
        );
        assert_eq!(
            "02:00:00:00:00:00:00".parse::<MacAddress>(),
            Err(MacError::Malformed)
        );
        assert_eq!(
            "02:00:00:00:00:+1".parse::<MacAddress>(),
            Err(MacError::Malformed)
        );
        assert_eq!(
            "03:00:00:00:00:00".parse::<MacAddress>(),
            Err(MacError::Multicast)
        );
        assert_eq!(
            "00:00:00:00:00:00".parse::<MacAddress>(),
            Err(MacError::Zero)
        );
    }
}
