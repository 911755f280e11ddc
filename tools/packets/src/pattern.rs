//! Whether a frame is one that a recipe describes.

use crate::{
    Mac,
    difference::{Difference, hex},
    dissect::Dissection,
    layer::{Field, Kind, Layer},
    payload::Payload,
    recipe::Recipe,
    value::{Setting, mac_value, show},
};

/// As short as a cable has frames, without FCS: shorter ones are padded.
const MIN_FRAME: usize = 60;

impl Recipe {
    /// In what a frame is not one that the recipe describes. Only what was said of it counts; of what counts through several
    /// values, any will do. `nic` is the address of the NIC.
    #[must_use]
    pub fn mismatches(&self, dissection: &Dissection<'_>, nic: Option<Mac>) -> Vec<Difference> {
        let mut all = Vec::new();
        let mut tags = 0;
        for words in self.said() {
            let layer = words.layer();
            let index = if layer == Layer::Vlan { tags } else { 0 };
            tags += usize::from(layer == Layer::Vlan);
            if dissection.header(layer, index).is_none() {
                let found = dissection.headers().iter().map(|found| found.layer.name());
                let found = found.collect::<Vec<_>>().join("/");
                all.push(Difference::new("headers", layer.name(), found));
                continue;
            }
            let options = words.options();
            if let Some(found) = dissection.header(layer, index)
                && !options.is_empty()
            {
                let place = found.at + layer.len()..found.at + found.len;
                let seen = dissection.frame().get(place).unwrap_or_default();
                if seen != options {
                    let name = format!("{}.options", layer.name());
                    all.push(Difference::new(name, hex(options), hex(seen)));
                }
            }
            for (field, setting) in words.settings() {
                all.extend(mismatch(dissection, layer, index, field, *setting, nic));
            }
        }
        if let Some(Payload::Bytes(bytes)) = &self.payload
            && !dissection.payload().starts_with(bytes)
        {
            let seen = dissection.payload();
            let seen = &seen[..seen.len().min(bytes.len().max(16))];
            all.push(Difference::new("payload", hex(bytes), hex(seen)));
        }
        let len = dissection.frame().len();
        if let Some(wanted) = self.len
            && !wanted.contains(len as u128)
        {
            all.push(Difference::new(
                "length",
                range(wanted.at(0), wanted.count()),
                len.to_string(),
            ));
        }
        all
    }
}

fn range(first: u128, count: u128) -> String {
    if count == 1 {
        first.to_string()
    } else {
        format!("{first} and {} more", count - 1)
    }
}

fn mismatch(
    dissection: &Dissection<'_>,
    layer: Layer,
    index: usize,
    field: &Field,
    setting: Setting,
    nic: Option<Mac>,
) -> Option<Difference> {
    let value = dissection.get(layer, index, field)?;
    let right = dissection.right(layer, field);
    let wrong = |expected: String| {
        let name = format!("{}.{}", layer.name(), field.name);
        Some(Difference::new(name, expected, show(field, value)))
    };
    // Padding to the shortest frame belongs to no packet.
    let padded = matches!(field.kind, Kind::Length(_)) && dissection.frame().len() <= MIN_FRAME;
    let good = |right: u128| value == right || padded && value <= right;
    match setting {
        Setting::Values(values) if values.contains(value) => None,
        Setting::Values(values) if values.count() == 1 => wrong(show(field, values.at(0))),
        Setting::Values(values) => wrong(format!(
            "{} or one of {} more",
            show(field, values.at(0)),
            values.count() - 1
        )),
        Setting::Good => match right {
            Some(right) if !good(right) => wrong(format!("{} (good)", show(field, right))),
            _ => None,
        },
        Setting::Bad => match right {
            Some(right) if value == right => wrong("a bad one".to_owned()),
            _ => None,
        },
        Setting::More(more) => match right.map(|right| right.saturating_add_signed(more.into())) {
            Some(right) if value != right => wrong(show(field, right)),
            _ => None,
        },
        Setting::Nic => match nic.map(mac_value) {
            None => wrong("the NIC's, which the server does not tell".to_owned()),
            Some(nic) if value != nic => wrong(show(field, nic)),
            Some(_) => None,
        },
        // There is nothing to compare with.
        Setting::Random | Setting::From(..) => None,
    }
}
