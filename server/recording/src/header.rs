//! The beginning of a recording: what it is, and how its ports were built.
//!
//! Eight bytes of a mark, the version, the length of what follows, each four bytes, the low one first; then a JSON object,
//! so that a person sees with `head -c 1000` what a file is.

use base64::{Engine, engine::general_purpose::STANDARD};
use nic_model::{LanId, Module, NvmImage, Port, PortConfig};
use serde::{Deserialize, Serialize};

/// The mark: the first bytes of every recording.
pub const MARK: [u8; 8] = *b"82599REC";
/// The version that this crate writes and reads. What is recorded depends on the model's inside, so there is no other.
pub const VERSION: u32 = 1;
/// Longest JSON object.
pub(crate) const MAX_LEN: u32 = 8 << 20;
/// Most ports of a recording, as of a server.
pub const MAX_PORTS: usize = 64;

/// What a recording is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Who has written it: name and version of a program.
    pub program: String,
    /// The ports after power-on. Two that follow each other may be one card's.
    pub ports: Vec<PortHeader>,
}

/// How a port was built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortHeader {
    /// Permanent MAC address: six pairs of hex digits.
    pub mac: String,
    /// Name of the module in the cage at power-on.
    pub module: String,
    /// Whether this is a card's second port, whose first is the port before.
    pub second: bool,
    /// What the card's NVM held, in base64; the second port has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nvm: Option<String>,
    /// What was at the other end of the cable, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub wire: String,
}

impl PortHeader {
    /// A port, which nobody has called yet, that was built of this. `second` says that it is the second of a card.
    #[must_use]
    pub fn new(mac: [u8; 6], port: &Port, second: bool, wire: &str) -> Self {
        Self {
            mac: mac.map(|byte| format!("{byte:02x}")).join(":"),
            module: port.module().name().to_owned(),
            second,
            nvm: (!second).then(|| STANDARD.encode(port.nvm().image().to_bytes())),
            wire: wire.to_owned(),
        }
    }

    fn config(&self, number: usize) -> Result<PortConfig, String> {
        let field = |name: &str, what: &str| format!("ports[{number}].{name}: {what}");
        let mut mac = [0; 6];
        let mut pairs = self.mac.split(':');
        for byte in &mut mac {
            let pair = pairs.next().filter(|pair| pair.len() == 2);
            *byte = pair
                .and_then(|pair| u8::from_str_radix(pair, 16).ok())
                .ok_or_else(|| field("mac", "not six pairs of hex digits"))?;
        }
        if pairs.next().is_some() {
            return Err(field("mac", "not six pairs of hex digits"));
        }
        let module: Module = self
            .module
            .parse()
            .map_err(|error| field("module", &format!("{error}")))?;
        let nvm = self.nvm.as_ref().map(|text| {
            let bytes = STANDARD
                .decode(text)
                .map_err(|error| field("nvm", &error.to_string()))?;
            NvmImage::try_from(bytes.as_slice()).map_err(|error| field("nvm", &error.to_string()))
        });
        Ok(PortConfig {
            module,
            nvm: nvm.transpose()?,
            lan_id: LanId::Port0,
            ..PortConfig::new(mac)
        })
    }
}

impl Header {
    /// The ports as they were after power-on.
    ///
    /// # Errors
    /// Which field is no port's, and why.
    pub fn build(&self) -> Result<Vec<Port>, String> {
        if self.ports.is_empty() || self.ports.len() > MAX_PORTS {
            let count = self.ports.len();
            return Err(format!("ports: {count} of them, not 1 to {MAX_PORTS}"));
        }
        let configs = self.ports.iter().zip(0..);
        let configs = configs.map(|(port, number)| port.config(number));
        let mut configs = configs.collect::<Result<Vec<_>, _>>()?.into_iter();
        let mut ports = Vec::new();
        let mut headers = self.ports.iter().peekable();
        while let (Some(header), Some(config)) = (headers.next(), configs.next()) {
            if header.second {
                let number = ports.len();
                return Err(format!("ports[{number}].second: there is no first one"));
            }
            if headers.next_if(|next| next.second).is_some() {
                let second = configs.next().ok_or("ports: one is missing")?;
                ports.extend(Port::pair(config, second));
            } else {
                ports.push(Port::new(config));
            }
        }
        Ok(ports)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        let [first, second] = Port::pair(
            PortConfig::new([2, 0, 0, 0, 0, 1]),
            PortConfig::new([2, 0, 0, 0, 0, 2]),
        );
        Header {
            program: "test".to_owned(),
            ports: vec![
                PortHeader::new([2, 0, 0, 0, 0, 1], &first, false, "null"),
                PortHeader::new([2, 0, 0, 0, 0, 2], &second, true, ""),
            ],
        }
    }

    #[test]
    fn ports_are_built_as_they_were() {
        let ports = header().build().unwrap();

        let [first, second] = ports.as_slice() else {
            panic!("{} ports", ports.len());
        };
        assert_eq!(first.nvm().image(), second.nvm().image());
        assert_eq!(first.module(), Module::Sr);
    }

    #[test]
    fn what_is_no_port_is_told_with_its_field() {
        let wrong = |change: fn(&mut Header)| {
            let mut header = header();
            change(&mut header);
            header.build().unwrap_err()
        };

        let mac = wrong(|header| header.ports[1].mac.push_str(":00"));
        let module = wrong(|header| header.ports[0].module = "xfp".to_owned());
        let nvm = wrong(|header| header.ports[0].nvm = Some("AAAA".to_owned()));
        let second = wrong(|header| header.ports[0].second = true);
        let none = wrong(|header| header.ports.clear());

        assert!(mac.starts_with("ports[1].mac: "), "{mac}");
        assert!(module.starts_with("ports[0].module: "), "{module}");
        assert!(nvm.starts_with("ports[0].nvm: "), "{nvm}");
        assert!(second.starts_with("ports[0].second: "), "{second}");
        assert!(none.starts_with("ports: "), "{none}");
    }
}
