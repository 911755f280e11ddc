//! Registers as they stand: `Registers`.

use ixgbe_spec::register::Reg;
use nic_model::Port;
use serde::{Deserialize, Serialize};

use crate::protocol::ControlError;

/// Parameters of `Registers`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RegistersParameters {
    pub(crate) names: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) port: Option<u32>,
}

/// A register, or an element of one.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct RegisterValue {
    /// The datasheet's name.
    pub name: String,
    /// Which element, from 0.
    pub index: u32,
    /// Its offset in BAR 0.
    pub offset: u32,
    /// Its value.
    pub value: u32,
}

/// Reply of `Registers`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Registers {
    /// All elements of each register that was asked for, in that order.
    pub registers: Vec<RegisterValue>,
}

/// Elements that fit a message.
const MAX_ELEMENTS: usize = 8192;

/// The registers that a client asks for. They are found, and told, in the client's thread; only their values are the
/// worker's.
#[derive(Clone, Debug)]
pub(crate) struct Chosen(Vec<Reg>);

impl Chosen {
    /// Finds them by their names.
    pub(crate) fn find(asked: &RegistersParameters) -> Result<Self, ControlError> {
        let mut found = Vec::new();
        let mut elements: usize = 0;
        for name in &asked.names {
            let reg = Reg::ALL.iter().find(|reg| reg.row().name == name);
            let unknown = || ControlError::UnknownRegister { name: name.clone() };
            let reg = *reg.ok_or_else(unknown)?;
            elements = elements.saturating_add(reg.count());
            if elements > MAX_ELEMENTS {
                return Err(ControlError::TooMuch);
            }
            found.push(reg);
        }
        Ok(Self(found))
    }

    /// The values of their elements, in order.
    pub(crate) fn read(&self, port: &Port) -> Vec<u32> {
        let values = self.0.iter().map(|reg| port.registers(*reg));
        values.flatten().copied().collect()
    }

    /// The reply, with these values.
    pub(crate) fn tell(&self, values: &[u32]) -> Registers {
        let elements = self
            .0
            .iter()
            .flat_map(|reg| (0..reg.count()).map(move |index| (reg, index)));
        let told = elements
            .zip(values)
            .map(|((reg, index), value)| RegisterValue {
                name: reg.row().name.to_owned(),
                index: u32::try_from(index).unwrap_or(u32::MAX),
                offset: reg.offset(index),
                value: *value,
            });
        Registers {
            registers: told.collect(),
        }
    }
}
