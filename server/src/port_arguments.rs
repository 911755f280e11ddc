//! What describes a further port: the value of `--port`, and a `[[port]]` table of the configuration file.

use std::{path::PathBuf, str::FromStr};

use nic_model::Module;
use serde::Deserialize;
use thiserror::Error;

use crate::{config::parsed, doorbells::Doorbells, mac_address::MacAddress};

/// A port after the first one, as a person describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PortArguments {
    /// Socket that the client connects to.
    pub socket: PathBuf,
    /// Permanent MAC address, if it is not to depend on the socket's path.
    #[serde(default, deserialize_with = "parsed")]
    pub mac: Option<MacAddress>,
    /// Other end of the cable, if it is not the host.
    #[serde(default, deserialize_with = "parsed")]
    pub wire: Option<wire::Kind>,
    /// Module in the cage at the start, if it is not the default one.
    #[serde(default, deserialize_with = "parsed")]
    pub module: Option<Module>,
    /// File that keeps the NVM of the port's card.
    pub nvm: Option<PathBuf>,
    /// How the client rings, if not by messages.
    #[serde(default, deserialize_with = "parsed")]
    pub doorbells: Option<Doorbells>,
}

/// Why a text describes no port.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum PortError {
    /// Not a setting.
    #[error(
        "'{0}' is no setting of a port; write socket=PATH,wire=WIRE,mac=MAC,module=KIND,nvm=FILE,\
         doorbells=KIND, all but the socket optional"
    )]
    Setting(String),
    /// A setting stands there twice.
    #[error("{0} is given twice; give it once")]
    Twice(&'static str),
    /// No socket.
    #[error("the port has no socket; write socket=PATH")]
    NoSocket,
    /// The value of a setting.
    #[error("{setting}: {message}")]
    Value {
        /// Which setting.
        setting: &'static str,
        /// What is wrong with it.
        message: String,
    },
}

const SETTINGS: [&str; 6] = ["socket", "wire", "mac", "module", "nvm", "doorbells"];

/// Splits a piece into setting and value, if it begins with the name of a setting.
fn setting(piece: &str) -> Option<(&'static str, &str)> {
    let (name, value) = piece.split_once('=')?;
    let known = SETTINGS.into_iter().find(|known| *known == name)?;
    Some((known, value))
}

impl FromStr for PortArguments {
    type Err = PortError;

    /// Settings with commas between them. A comma that no setting follows belongs to the value before it, as the options
    /// of a wire do.
    fn from_str(text: &str) -> Result<Self, PortError> {
        let mut values: Vec<(&'static str, String)> = Vec::new();
        for piece in text.split(',') {
            match (setting(piece), values.last_mut()) {
                (Some((name, value)), _) => {
                    if values.iter().any(|(known, _)| *known == name) {
                        return Err(PortError::Twice(name));
                    }
                    values.push((name, value.to_owned()));
                }
                (None, Some((name, value)))
                    if !piece.contains('=')
                        || (*name == "wire" && wire::Kind::takes_options(value)) =>
                {
                    value.push(',');
                    value.push_str(piece);
                }
                (None, _) => return Err(PortError::Setting(piece.to_owned())),
            }
        }
        let value = |name| {
            let mut named = values.iter().filter(|(known, _)| *known == name);
            named.next().map(|(_, value)| value.as_str())
        };
        let socket = value("socket").filter(|path| !path.is_empty());
        Ok(Self {
            socket: socket.ok_or(PortError::NoSocket)?.into(),
            mac: value_of("mac", value("mac"))?,
            wire: value_of("wire", value("wire"))?,
            module: value_of("module", value("module"))?,
            nvm: value("nvm").map(PathBuf::from),
            doorbells: value_of("doorbells", value("doorbells"))?,
        })
    }
}

fn value_of<T: FromStr<Err: ToString>>(
    setting: &'static str,
    text: Option<&str>,
) -> Result<Option<T>, PortError> {
    let parse = |text: &str| {
        text.parse().map_err(|error: T::Err| PortError::Value {
            setting,
            message: error.to_string(),
        })
    };
    text.map(parse).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_stand_in_any_order() {
        let port: PortArguments =
            "nvm=/tmp/c,mac=02:00:00:00:00:01,wire=pair:a,socket=/tmp/b,module=lr"
                .parse()
                .unwrap();

        assert_eq!(port.socket, PathBuf::from("/tmp/b"));
        assert_eq!(port.wire, Some(wire::Kind::Pair("a".to_owned())));
        assert_eq!(port.module, Some(Module::Lr));
        assert_eq!(port.nvm, Some(PathBuf::from("/tmp/c")));
        assert_eq!(port.mac.unwrap().octets(), [2, 0, 0, 0, 0, 1]);
    }

    #[test]
    fn a_comma_that_no_setting_follows_belongs_to_the_value() {
        let port: PortArguments = "socket=/tmp/a,b,wire=null".parse().unwrap();

        assert_eq!(port.socket, PathBuf::from("/tmp/a,b"));
    }

    #[test]
    fn a_stream_that_listens_may_stand_before_another_setting() {
        let port: PortArguments = "wire=stream:unix:/tmp/w,server,socket=/tmp/a"
            .parse()
            .unwrap();

        assert_eq!(port.wire.unwrap().to_string(), "stream:unix:/tmp/w,server");
    }

    #[test]
    fn the_options_of_a_wire_belong_to_it() {
        let port: PortArguments =
            "wire=pcap:in.pcap,out.pcapng,speed=2x,loop+rate=10G,socket=/tmp/a"
                .parse()
                .unwrap();
        let error = "socket=/tmp/a,wire=pcap:in.pcap,sped=2x"
            .parse::<PortArguments>()
            .unwrap_err();

        let wire = port.wire.unwrap().to_string();
        assert_eq!(wire, "pcap:in.pcap,out.pcapng,speed=2x,loop+rate=10G");
        assert!(error.to_string().contains("speed=SPEED"), "{error}");
    }

    #[test]
    fn what_describes_no_port_is_told_with_what_to_write() {
        let error = |text: &str| text.parse::<PortArguments>().unwrap_err();

        assert_eq!(error("wire=null"), PortError::NoSocket);
        assert_eq!(
            error("socket=/a,speed=10"),
            PortError::Setting("speed=10".into())
        );
        assert_eq!(error("/tmp/a"), PortError::Setting("/tmp/a".into()));
        assert_eq!(error("socket=/a,socket=/b"), PortError::Twice("socket"));
        assert!(error("socket=/a,wire=wet").to_string().contains("loopback"));
    }
}
