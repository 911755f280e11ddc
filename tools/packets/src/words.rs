//! What stands behind a layer's flag: `dst=10.0.0.2,ttl=1`.

use crate::{
    complaint::{Complaint, list},
    layer::{Field, Kind, Layer},
    value::{self, Sequence, Setting},
};

/// Fields of a layer and what they are to be, in the order in which they were said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    layer: Layer,
    settings: Vec<(&'static Field, Setting)>,
    /// Options behind the header (`options=HEX`).
    options: Vec<u8>,
}

impl Words {
    /// A layer of which nothing was said.
    #[must_use]
    pub const fn none(layer: Layer) -> Self {
        Self {
            layer,
            settings: Vec::new(),
            options: Vec::new(),
        }
    }

    /// Understands `text`: `name=value` and names of flags, with commas between them.
    ///
    /// # Errors
    /// [`Complaint`]: a field that the layer does not have, or a value that it cannot have.
    pub fn parse(layer: Layer, text: &str) -> Result<Self, Complaint> {
        let mut words = Self::none(layer);
        let mut at = 0;
        for item in text.split(',') {
            let place = at..at + item.len();
            at += item.len() + 1;
            if item.is_empty() && text.is_empty() {
                break;
            }
            words.item(text, item, place)?;
        }
        Ok(words)
    }

    fn item(
        &mut self,
        text: &str,
        item: &str,
        place: std::ops::Range<usize>,
    ) -> Result<(), Complaint> {
        let Some((name, value)) = item.split_once('=') else {
            let setting = self.bare(item).ok_or_else(|| {
                Complaint::new(
                    text,
                    place,
                    format!("name=value is wanted; {}", known(self.layer)),
                )
            })?;
            self.settings.push(setting);
            return Ok(());
        };
        let name_place = place.start..place.start + name.len();
        let value_place = name_place.end + 1..place.end;
        if name == "options" && self.has_options() {
            self.options = options(value).ok_or_else(|| {
                Complaint::new(
                    text,
                    value_place,
                    "up to 40 bytes in hex digits are wanted, a multiple of 4 of them",
                )
            })?;
            return Ok(());
        }
        let field = self.layer.field(name).ok_or_else(|| {
            let message = format!("unknown field; {}", known(self.layer));
            Complaint::new(text, name_place, message)
        })?;
        let setting = value::parse(field, value)
            .map_err(|message| Complaint::new(text, value_place, message))?;
        self.settings.push((field, setting));
        Ok(())
    }

    /// The name of a flag, or the value of the field whose name can be left out.
    fn bare(&self, item: &str) -> Option<(&'static Field, Setting)> {
        if let Some(field) = self.layer.field(item)
            && field.kind == Kind::Flag
        {
            return Some((field, Setting::Values(Sequence::one(1))));
        }
        let field = self.layer.field(self.layer.unnamed()?)?;
        Some((field, value::parse(field, item).ok()?))
    }

    const fn has_options(&self) -> bool {
        matches!(self.layer, Layer::Ip | Layer::Tcp)
    }

    /// The layer.
    #[must_use]
    pub const fn layer(&self) -> Layer {
        self.layer
    }

    pub(crate) fn settings(&self) -> &[(&'static Field, Setting)] {
        &self.settings
    }

    pub(crate) fn options(&self) -> &[u8] {
        &self.options
    }

    /// What was said last of the field of this name.
    pub(crate) fn get(&self, name: &str) -> Option<Setting> {
        let mut said = self.settings.iter().rev();
        said.find(|(field, _)| field.name == name)
            .map(|(_, setting)| *setting)
    }

    /// Adds what a field is if nothing was said of it.
    pub(crate) fn or(&mut self, name: &str, value: u128) {
        if self.get(name).is_none()
            && let Some(field) = self.layer.field(name)
        {
            // Before all else, so that a part of it that was said counts.
            self.settings
                .insert(0, (field, Setting::Values(Sequence::one(value))));
        }
    }
}

fn known(layer: Layer) -> String {
    let names = list(layer.fields().iter().map(|field| field.name));
    let options = if Words::none(layer).has_options() {
        ", options"
    } else {
        ""
    };
    format!("{} has the fields {names}{options}", layer.name())
}

fn options(text: &str) -> Option<Vec<u8>> {
    hex(text).filter(|bytes| bytes.len() <= 40 && bytes.len().is_multiple_of(4))
}

/// Bytes in hex digits; colons between them do not matter.
pub(crate) fn hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u32> = text
        .chars()
        .filter(|c| !c.is_whitespace() && *c != ':')
        .map(|c| c.to_digit(16))
        .collect::<Option<_>>()?;
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    digits
        .chunks_exact(2)
        .map(|pair| u8::try_from(pair[0] << 4 | pair[1]).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_unknown_field_is_shown_with_those_that_there_are() {
        let error = Words::parse(Layer::Udp, "sport=1,prot=2").unwrap_err();

        assert_eq!(
            error.to_string(),
            "sport=1,prot=2\n        ^^^^ unknown field; udp has the fields sport, dport, len, sum"
        );
    }

    #[test]
    fn a_wrong_value_is_shown_with_what_is_wanted() {
        let error = Words::parse(Layer::Ip, "ttl=300").unwrap_err();

        assert!(
            error
                .to_string()
                .starts_with("ttl=300\n    ^^^ a number up to 255"),
            "{error}"
        );
    }

    #[test]
    fn a_tag_is_a_number_and_what_else_is_to_be_said_of_it() {
        let tag = Words::parse(Layer::Vlan, "5,pcp=3,dei").unwrap();

        assert_eq!(tag.get("id"), Some(Setting::Values(Sequence::one(5))));
        assert_eq!(tag.get("pcp"), Some(Setting::Values(Sequence::one(3))));
        assert_eq!(tag.get("dei"), Some(Setting::Values(Sequence::one(1))));
    }

    #[test]
    fn nothing_is_no_field_and_an_empty_one_is_wrong() {
        assert_eq!(Words::parse(Layer::Tcp, ""), Ok(Words::none(Layer::Tcp)));
        assert!(Words::parse(Layer::Tcp, "dport=1,").is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_words_or_a_complaint_about_a_place_in_it(text in "(\\PC|[=,]|dst|src|sum|é){0,20}") {
            for layer in Layer::ALL {
                if let Err(error) = Words::parse(layer, &text) {
                    prop_assert_eq!(error.to_string().lines().count(), 2);
                }
            }
        }
    }
}
