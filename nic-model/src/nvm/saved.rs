//! The saved form of the NVM and the flash.

use serde::{Deserialize, Serialize};

use super::{Chip, Grant, NvmImage, eeprom::Eeprom, flash};
use crate::state::{StateError, hex::Hex};

/// The words of the NVM as bytes, and how far a command at the pins of either chip has come.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Saved {
    image: Hex,
    eeprom: Eeprom,
    granted: Grant,
    flash: flash::Saved,
    flash_granted: Grant,
}

impl Chip {
    /// The saved form.
    pub(crate) fn save(&self) -> Saved {
        let Self {
            image,
            eeprom,
            granted,
            flash,
            flash_granted,
        } = self;
        Saved {
            image: Hex(image.to_bytes()),
            eeprom: eeprom.clone(),
            granted: *granted,
            flash: flash.save(),
            flash_granted: *flash_granted,
        }
    }

    /// Of the saved form.
    pub(crate) fn restore(saved: Saved) -> Result<Self, StateError> {
        let Saved {
            image: Hex(image),
            eeprom,
            granted,
            flash,
            flash_granted,
        } = saved;
        eeprom.check().map_err(|error| error.within("eeprom"))?;
        Ok(Self {
            image: NvmImage::try_from(image.as_slice())
                .map_err(|error| StateError::new("image", error))?,
            eeprom,
            granted,
            flash: flash::Flash::restore(flash).map_err(|error| error.within("flash"))?,
            flash_granted,
        })
    }
}
