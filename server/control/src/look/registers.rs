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

pub(crate) fn answer(asked: &RegistersParameters, port: &Port) -> Result<Registers, ControlError> {
    let mut registers = Vec::new();
    for name in &asked.names {
        let found = Reg::ALL.iter().find(|reg| reg.row().name == name);
        let Some(reg) = found else {
            return Err(ControlError::UnknownRegister { name: name.clone() });
        };
        if registers.len() + reg.count() > MAX_ELEMENTS {
            return Err(ControlError::TooMuch);
        }
        let values = port.registers(*reg);
        registers.extend((0..).zip(values).map(|(index, value)| RegisterValue {
            name: name.clone(),
            index,
            offset: reg.offset(usize::try_from(index).unwrap_or(0)),
            value: *value,
        }));
    }
    Ok(Registers { registers })
}
