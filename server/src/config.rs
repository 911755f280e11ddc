//! What the server is to do, from the command line and the configuration file.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use nic_model::Module;
use serde::{Deserialize, Deserializer, de};
use thiserror::Error;

use crate::{
    checking::Check, cli::Arguments, doorbells::Doorbells, mac_address::MacAddress,
    metrics::MetricsAddress, polling::Polling, port_arguments::PortArguments, sandbox::Sandbox,
};

/// Most ports of a server.
const PORTS_LIMIT: usize = 64;

/// Everything the server needs to know, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The ports, one at least. Two that follow each other, from an even place on, are one card's.
    pub ports: Vec<PortConfig>,
    /// Filter of the log, in the notation of `tracing`.
    pub log: String,
    /// Socket that `ixgbectl` connects to.
    pub control: PathBuf,
    /// How the workers poll before they sleep.
    pub polling: Polling,
    /// Whether the server gives up what it does not need.
    pub sandbox: Sandbox,
    /// Whether the clients' drivers are checked.
    pub check: Check,
    /// Paths of sockets that a supervisor has opened: they listen already, and are not removed.
    pub passed: BTreeSet<PathBuf>,
    /// Where the counters are for Prometheus, if anywhere.
    pub metrics: Option<MetricsAddress>,
    /// File that all that is done to the ports is recorded in.
    pub record: Option<PathBuf>,
}

/// What one port is to be, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortConfig {
    /// Socket that the client connects to.
    pub socket: PathBuf,
    /// Permanent MAC address.
    pub mac: MacAddress,
    /// Other end of the cable.
    pub wire: wire::Kind,
    /// Module in the cage at the start.
    pub module: Module,
    /// File that keeps the NVM of the port's card; the card's other port names the same one or none.
    pub nvm: Option<PathBuf>,
    /// How the client rings.
    pub doorbells: Doorbells,
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
    /// Client and control socket would be the same file.
    #[error("--control is the same path as --socket ({}); give another one", path.display())]
    SameSocket {
        /// The path.
        path: PathBuf,
    },
    /// A supervisor has opened a socket for nobody.
    #[error(
        "a socket at {} was passed (LISTEN_FDS), but no port and not --control has that path; give it to one of them",
        path.display()
    )]
    PassedForNobody {
        /// The path.
        path: PathBuf,
    },
    /// Two ports would have the same socket.
    #[error("two ports have the socket {}; give each port one of its own", path.display())]
    SharedSocket {
        /// The path.
        path: PathBuf,
    },
    /// Metrics would have the socket of a port, or the control socket.
    #[error("--metrics has the socket {} of another purpose; give it one of its own", path.display())]
    SharedSocketOfMetrics {
        /// The path.
        path: PathBuf,
    },
    /// More ports than `PORTS_LIMIT`.
    #[error("{given} ports are too many; a server has {PORTS_LIMIT} at most, so start another")]
    TooManyPorts {
        /// How many were asked for.
        given: usize,
    },
    /// The two ports of a card would have an NVM each.
    #[error(
        "ports {first} and {} are one card's and have one NVM; give --nvm for one of them", first + 1
    )]
    TwoNvms {
        /// The card's first port.
        first: usize,
    },
    /// Two cards would have the same NVM.
    #[error("two cards have the NVM file {}; give each card one of its own", path.display())]
    SharedNvm {
        /// The path.
        path: PathBuf,
    },
    /// A cable that does not join two ports.
    #[error("{ends} of this server's ports have the wire pair:{name}; give it to two ports")]
    Cable {
        /// Its name.
        name: String,
        /// Ports that have it.
        ends: usize,
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
    nvm: Option<PathBuf>,
    #[serde(default, deserialize_with = "parsed")]
    doorbells: Option<Doorbells>,
    log: Option<String>,
    control: Option<PathBuf>,
    poll_us: Option<Polling>,
    #[serde(default, deserialize_with = "parsed")]
    sandbox: Option<Sandbox>,
    #[serde(default, deserialize_with = "parsed")]
    check: Option<Check>,
    #[serde(default, deserialize_with = "parsed")]
    metrics: Option<MetricsAddress>,
    record: Option<PathBuf>,
    #[serde(default)]
    port: Vec<PortArguments>,
}

impl Config {
    /// Puts flags, the configuration file that they name, and defaults together.
    ///
    /// # Errors
    /// [`ConfigError`], which tells cause and next step in one line.
    pub fn load(arguments: Arguments) -> Result<Self, ConfigError> {
        Self::load_with(arguments, Vec::new())
    }

    /// The same, where a supervisor has opened sockets at the paths `passed`. The first is port 0's where nothing else names
    /// one.
    ///
    /// # Errors
    /// As [`Config::load`]; also if a socket was passed for nobody.
    pub fn load_with(arguments: Arguments, passed: Vec<PathBuf>) -> Result<Self, ConfigError> {
        let file = match &arguments.config {
            Some(path) => File::read(path)?,
            None => File::default(),
        };
        let further = if arguments.port.is_empty() {
            file.port
        } else {
            arguments.port
        };
        let (mac, wire, module, nvm) = (
            arguments.mac.or(file.mac),
            arguments.wire.or(file.wire),
            arguments.module.or(file.module),
            arguments.nvm.or(file.nvm),
        );
        let doorbells = arguments.doorbells.or(file.doorbells);
        let mut given = Vec::new();
        let first_passed = passed.first().filter(|_| further.is_empty()).cloned();
        match arguments.socket.or(file.socket).or(first_passed) {
            Some(socket) => given.push(PortArguments {
                socket,
                mac,
                wire,
                module,
                nvm,
                doorbells,
            }),
            // Every port may be described as a further one.
            None if mac.is_none()
                && wire.is_none()
                && module.is_none()
                && nvm.is_none()
                && doorbells.is_none() => {}
            None => return Err(ConfigError::NoSocket),
        }
        given.extend(further);
        let first = given.first().ok_or(ConfigError::NoSocket)?;
        let control = arguments
            .control
            .or(file.control)
            .unwrap_or_else(|| control::default_path(&first.socket));
        let ports = ports(given, &control)?;
        let metrics = arguments.metrics.or(file.metrics);
        if let Some(MetricsAddress::Unix(path)) = &metrics
            && (*path == control || ports.iter().any(|port| port.socket == *path))
        {
            return Err(ConfigError::SharedSocketOfMetrics { path: path.clone() });
        }
        let is_used =
            |path: &PathBuf| *path == control || ports.iter().any(|port| port.socket == *path);
        if let Some(path) = passed.iter().find(|path| !is_used(path)) {
            let path = path.clone();
            return Err(ConfigError::PassedForNobody { path });
        }
        Ok(Self {
            passed: passed.into_iter().collect(),
            metrics,
            ports,
            log: arguments
                .log
                .or(file.log)
                .unwrap_or_else(|| "info".to_owned()),
            polling: arguments.poll_us.or(file.poll_us).unwrap_or_default(),
            sandbox: arguments.sandbox.or(file.sandbox).unwrap_or_default(),
            check: arguments.check.or(file.check).unwrap_or_default(),
            record: arguments.record.or(file.record),
            control,
        })
    }
}

/// Checks the ports against each other, and gives them what nobody has given them.
fn ports(given: Vec<PortArguments>, control: &Path) -> Result<Vec<PortConfig>, ConfigError> {
    if given.len() > PORTS_LIMIT {
        return Err(ConfigError::TooManyPorts { given: given.len() });
    }
    let mut taken: Vec<MacAddress> = given.iter().filter_map(|port| port.mac).collect();
    let mut ports: Vec<PortConfig> = Vec::new();
    let mut cables: BTreeMap<String, usize> = BTreeMap::new();
    for port in given {
        let PortArguments {
            socket,
            mac,
            wire,
            module,
            nvm,
            doorbells,
        } = port;
        if socket == control {
            return Err(ConfigError::SameSocket { path: socket });
        }
        if ports.iter().any(|port| port.socket == socket) {
            return Err(ConfigError::SharedSocket { path: socket });
        }
        let mac = mac.unwrap_or_else(|| {
            let mac = MacAddress::of_path(&socket).next_free(&taken);
            taken.push(mac);
            mac
        });
        let wire = wire.unwrap_or(wire::Kind::Host);
        if let Some(name) = wire.cable() {
            *cables.entry(name.to_owned()).or_default() += 1;
        }
        ports.push(PortConfig {
            socket,
            mac,
            wire,
            module: module.unwrap_or_default(),
            nvm,
            doorbells: doorbells.unwrap_or_default(),
        });
    }
    one_nvm_each(&ports)?;
    match cables.into_iter().find(|(_, ends)| *ends != 2) {
        Some((name, ends)) => Err(ConfigError::Cable { name, ends }),
        None => Ok(ports),
    }
}

/// Checks that each card has an NVM file of its own, if any.
fn one_nvm_each(ports: &[PortConfig]) -> Result<(), ConfigError> {
    let mut taken: Vec<&Path> = Vec::new();
    for (card, ports) in ports.chunks(2).enumerate() {
        let mut paths: Vec<&Path> = ports
            .iter()
            .filter_map(|port| port.nvm.as_deref())
            .collect();
        paths.dedup();
        match paths.as_slice() {
            [] => {}
            [path] if taken.contains(path) => {
                let path = (*path).to_owned();
                return Err(ConfigError::SharedNvm { path });
            }
            [path] => taken.push(path),
            _ => return Err(ConfigError::TwoNvms { first: 2 * card }),
        }
    }
    Ok(())
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
pub(crate) fn parsed<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(de::Error::custom)
}

#[cfg(test)]
mod tests {
    use std::{io::Write, time::Duration};

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
    fn a_socket_that_was_passed_is_port_0s_unless_another_is_named() {
        let passed = || vec!["/run/a".into(), "/run/a.control".into()];

        let config = Config::load_with(arguments(&["--wire", "null"]), passed()).unwrap();
        let named = Config::load_with(arguments(&["--socket", "/run/b"]), passed());

        assert_eq!(config.ports[0].socket, PathBuf::from("/run/a"));
        assert_eq!(config.control, PathBuf::from("/run/a.control"));
        assert_eq!(
            config.passed,
            BTreeSet::from(["/run/a", "/run/a.control"].map(PathBuf::from))
        );
        assert!(
            matches!(named, Err(ConfigError::PassedForNobody { path }) if path == Path::new("/run/a"))
        );
    }

    #[test]
    fn the_socket_alone_gives_a_whole_configuration() {
        let config = Config::load(arguments(&["--socket", "/tmp/nic.sock"])).unwrap();

        assert_eq!(config.control, Path::new("/tmp/nic.sock.control"));
        assert_eq!(config.ports.len(), 1);
        assert_eq!(config.ports[0].wire, wire::Kind::Host);
        assert_eq!(config.ports[0].module, Module::Sr);
        assert_eq!(config.ports[0].mac.octets()[0], 0x02);
    }

    #[test]
    fn a_flag_overrides_the_file_and_the_file_overrides_the_default() {
        let file = file(
            "wire = \"null\"\nmac = \"02:00:00:00:00:01\"\npoll-us = 7\nmodule = \"1g-t\"\nnvm = \"/tmp/b\"\n",
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

        assert_eq!(config.ports[0].wire, wire::Kind::Null);
        assert_eq!(config.ports[0].mac.to_string(), "02:00:00:00:00:ab");
        assert_eq!(config.polling, Polling::UpTo(Duration::from_micros(7)));
        assert_eq!(config.ports[0].module, Module::BaseT);
        assert_eq!(config.ports[0].nvm, Some(PathBuf::from("/tmp/b")));
    }

    #[test]
    fn further_ports_come_from_flags_or_from_tables_of_the_file() {
        let file = file(
            "socket = \"/tmp/a\"\nwire = \"pair:x\"\n\n[[port]]\nsocket = \"/tmp/b\"\nwire = \"pair:x\"\n",
        );
        let path = file.path().to_str().unwrap();

        let by_file = Config::load(arguments(&["--config", path])).unwrap();
        let by_flags = Config::load(arguments(&[
            "--socket",
            "/tmp/a",
            "--wire",
            "pair:x",
            "--port",
            "socket=/tmp/b,wire=pair:x",
        ]))
        .unwrap();

        assert_eq!(by_file, by_flags);
        assert_eq!(by_file.ports.len(), 2);
        assert_ne!(by_file.ports[0].mac, by_file.ports[1].mac);
        assert_eq!(
            by_file.ports[1].mac,
            MacAddress::of_path(Path::new("/tmp/b"))
        );
    }

    #[test]
    fn tables_alone_describe_all_ports() {
        let file = file("[[port]]\nsocket = \"/tmp/a\"\n[[port]]\nsocket = \"/tmp/b\"\n");
        let path = file.path().to_str().unwrap();

        let config = Config::load(arguments(&["--config", path])).unwrap();

        assert_eq!(config.ports.len(), 2);
        assert_eq!(config.control, Path::new("/tmp/a.control"));
    }

    #[test]
    fn a_default_address_is_never_one_that_another_port_was_given() {
        let mac = MacAddress::of_path(Path::new("/tmp/a")).to_string();

        let config = Config::load(arguments(&[
            "--socket",
            "/tmp/a",
            "--port",
            &format!("socket=/tmp/b,mac={mac}"),
        ]))
        .unwrap();

        assert_eq!(config.ports[1].mac.to_string(), mac);
        assert_ne!(config.ports[0].mac, config.ports[1].mac);
    }

    #[test]
    fn a_table_that_describes_no_port_is_an_error_that_names_the_line() {
        let file = file("socket = \"/tmp/a\"\n\n[[port]]\nsocket = \"/tmp/b\"\nwire = \"wet\"\n");
        let path = file.path().to_str().unwrap();

        let line = Config::load(arguments(&["--config", path]))
            .unwrap_err()
            .to_string();

        assert!(line.starts_with(&format!("{path}:5: ")), "{line}");
    }

    #[test]
    fn ports_that_cannot_stand_beside_each_other_are_refused() {
        let error = |first: &str, second: &str| {
            let first = ["--socket", "/tmp/a", "--wire", first, "--port", second];
            Config::load(arguments(&first)).unwrap_err().to_string()
        };

        let lonely = error("pair:x", "socket=/tmp/b");
        let shared = error("null", "socket=/tmp/a");
        let control = error("null", "socket=/tmp/a.control");

        assert!(
            lonely.contains("pair:x") && lonely.contains("two ports"),
            "{lonely}"
        );
        assert!(shared.contains("/tmp/a"), "{shared}");
        assert!(control.contains("--control"), "{control}");
    }

    #[test]
    fn a_card_has_one_nvm_and_an_nvm_one_card() {
        let load = |ports: &[&str]| {
            let ports = ports.iter().flat_map(|port| ["--port", port]);
            let flags: Vec<&str> = ["--socket", "/tmp/a", "--nvm", "/tmp/nvm"]
                .into_iter()
                .chain(ports)
                .collect();
            Config::load(arguments(&flags))
        };

        let same = load(&["socket=/tmp/b,nvm=/tmp/nvm"]).unwrap();
        let two = load(&["socket=/tmp/b,nvm=/tmp/nvm2"]).unwrap_err();
        let shared = load(&["socket=/tmp/b", "socket=/tmp/c,nvm=/tmp/nvm"]).unwrap_err();

        assert_eq!(same.ports[0].nvm, same.ports[1].nvm);
        assert!(two.to_string().contains("ports 0 and 1"), "{two}");
        assert!(shared.to_string().contains("/tmp/nvm"), "{shared}");
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
    fn each_port_has_doorbells_of_its_own_and_they_are_posted_without() {
        let file = file("doorbells = \"mapped\"\n[[port]]\nsocket = \"/tmp/b\"\n");
        let path = file.path().to_str().unwrap();
        let doorbells = |rest: &[&str]| {
            let given = [&["--socket", "/tmp/a"], rest].concat();
            let ports = Config::load(arguments(&given)).unwrap().ports;
            ports.iter().map(|port| port.doorbells).collect::<Vec<_>>()
        };

        let by_file = doorbells(&["--config", path]);
        let by_flags = doorbells(&["--port", "socket=/tmp/b,doorbells=mapped"]);

        assert_eq!(by_file, [Doorbells::Mapped, Doorbells::Posted]);
        assert_eq!(by_flags, [Doorbells::Posted, Doorbells::Mapped]);
    }

    #[test]
    fn the_sandbox_is_on_unless_flag_or_file_turn_it_off() {
        let off = file("socket = \"/tmp/a\"\nsandbox = \"off\"\n");
        let path = off.path().to_str().unwrap();
        let sandbox = |flags: &[&str]| Config::load(arguments(flags)).unwrap().sandbox;

        assert_eq!(sandbox(&["--socket", "/tmp/a"]), Sandbox::On);
        assert_eq!(sandbox(&["--config", path]), Sandbox::Off);
        assert_eq!(sandbox(&["--config", path, "--sandbox", "on"]), Sandbox::On);
    }

    #[test]
    fn metrics_are_served_where_flag_or_file_say_and_nowhere_without() {
        let given = file("metrics = \"127.0.0.1:9382\"\n");
        let path = given.path().to_str().unwrap();
        let metrics = |rest: &[&str]| {
            let given = [&["--socket", "/tmp/a"], rest].concat();
            Config::load(arguments(&given)).map(|config| config.metrics)
        };

        let by_flag = metrics(&["--config", path, "--metrics", "unix:/tmp/m"]);
        let shared = metrics(&["--metrics", "unix:/tmp/a"]).unwrap_err();

        assert_eq!(metrics(&[]).unwrap(), None);
        let by_file = metrics(&["--config", path]).unwrap();
        assert_eq!(by_file, "127.0.0.1:9382".parse().ok());
        assert_eq!(
            by_flag.unwrap(),
            Some(MetricsAddress::Unix("/tmp/m".into()))
        );
        assert!(shared.to_string().contains("--metrics"), "{shared}");
    }

    #[test]
    fn polling_is_always_by_flag_or_file_and_200_us_without() {
        let always = file("poll-us = \"always\"\n");
        let path = always.path().to_str().unwrap();
        let polling = |rest: &[&str]| {
            let given = [&["--socket", "/tmp/a"], rest].concat();
            Config::load(arguments(&given)).unwrap().polling
        };

        assert_eq!(polling(&["--poll-us", "always"]), Polling::Always);
        assert_eq!(polling(&["--config", path]), Polling::Always);
        assert_eq!(polling(&[]), Polling::UpTo(Duration::from_micros(200)));
    }

    #[test]
    fn a_polling_time_that_is_none_is_an_error_that_names_the_line() {
        let file = file("socket = \"/tmp/a\"\npoll-us = -5\n");
        let path = file.path().to_str().unwrap();

        let line = Config::load(arguments(&["--config", path]))
            .unwrap_err()
            .to_string();

        assert!(line.starts_with(&format!("{path}:2: ")), "{line}");
        assert!(line.contains("always"), "{line}");
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
}
