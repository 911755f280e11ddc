//! `ixgbectl nvm`.

use std::fs;

use anyhow::Context;
use control::Client;
use ixgbe_spec::nvm::{CHECKSUM, CORE_SECTION_POINTER, DEVICE_CAPS, ETRACK_ID, PBA};
use serde::Serialize;

use crate::{cli::NvmArguments, mem, output::Output};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    words: usize,
    checksum: String,
    checksum_right: bool,
    mac: Vec<String>,
    device_caps: String,
    pba: String,
    etrack_id: String,
    data: String,
}

pub(crate) fn run(
    client: &mut Client,
    arguments: &NvmArguments,
    output: &mut Output,
) -> anyhow::Result<()> {
    let contents = client.nvm()?;
    if let Some(path) = &arguments.output {
        fs::write(path, &contents.data)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    let data = &contents.data;
    let word = |index: usize| {
        let bytes = data.get(2 * index..2 * index + 2);
        bytes.map_or(0xFFFF, |bytes| u16::from_le_bytes([bytes[0], bytes[1]]))
    };
    // Words 1 to 3 of the core section of each port.
    let mac = [0, 1].map(|port| {
        let section = usize::from(word(CORE_SECTION_POINTER + port));
        let bytes = data.get(2 * (section + 1)..2 * (section + 4));
        bytes.map_or_else(
            || "none".to_owned(),
            |bytes| {
                let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                digits.join(":")
            },
        )
    });
    let shown = Shown {
        words: data.len() / 2,
        checksum: format!("{:#06x}", word(CHECKSUM)),
        checksum_right: contents.checksum_right,
        mac: mac.to_vec(),
        device_caps: format!("{:#06x}", word(DEVICE_CAPS)),
        pba: format!("{:#06x}", word(PBA)),
        etrack_id: format!("{:#06x}{:04x}", word(ETRACK_ID + 1), word(ETRACK_ID)),
        data: data.iter().map(|byte| format!("{byte:02x}")).collect(),
    };
    output.print(&shown, || {
        let right = if shown.checksum_right { "right" } else { "WRONG" };
        let mut text = format!(
            "words       {}\nchecksum    {} ({right})\nmac 0       {}\nmac 1       {}\ncaps        {}\n\
             pba         {}\netrack id   {}\n",
            shown.words,
            shown.checksum,
            shown.mac[0],
            shown.mac[1],
            shown.device_caps,
            shown.pba,
            shown.etrack_id,
        );
        if arguments.dump {
            text.push_str(&mem::dump(0, data));
        }
        text
    })
}
