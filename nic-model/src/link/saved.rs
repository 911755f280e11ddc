//! The saved form of the link.

use serde::{Deserialize, Serialize};

use super::{Link, i2c::Slave, speed::Speed};
use crate::{
    state::{Shift, StateError},
    time::Time,
};

/// Cable, cage and link; the module by the name by which people choose it.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Saved {
    carrier: bool,
    module: String,
    up: Option<Speed>,
    trained: Option<Time>,
    lit: bool,
    up_since_read: bool,
    i2c: Slave,
}

impl Link {
    /// The saved form.
    pub(crate) fn save(&self) -> Saved {
        let Self {
            carrier,
            module,
            up,
            trained,
            lit,
            up_since_read,
            i2c,
        } = self;
        Saved {
            carrier: *carrier,
            module: module.name().to_owned(),
            up: *up,
            trained: *trained,
            lit: *lit,
            up_since_read: *up_since_read,
            i2c: i2c.clone(),
        }
    }

    /// Of the saved form.
    pub(crate) fn restore(saved: Saved, shift: Shift) -> Result<Self, StateError> {
        let Saved {
            carrier,
            module,
            up,
            trained,
            lit,
            up_since_read,
            i2c,
        } = saved;
        i2c.check().map_err(|error| error.within("i2c"))?;
        Ok(Self {
            carrier,
            module: module
                .parse()
                .map_err(|error| StateError::new("module", error))?,
            up,
            trained: shift.maybe(trained),
            lit,
            up_since_read,
            i2c,
        })
    }
}
