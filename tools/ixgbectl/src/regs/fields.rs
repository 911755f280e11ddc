//! The fields of a register, as the register table's text names them: `link up (7)`, `VFs (17:10)`.

use std::ops::RangeInclusive;

/// A field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    /// Its name in the table.
    pub(crate) name: String,
    /// Its bits.
    bits: RangeInclusive<u32>,
}

impl Field {
    /// Its value in that of the register.
    pub(crate) fn of(&self, value: u32) -> u32 {
        let (low, high) = (*self.bits.start(), *self.bits.end());
        let mask = u32::MAX >> (31 - (high - low));
        value >> low & mask
    }

    /// Its bits as the datasheet writes them.
    pub(crate) fn place(&self) -> String {
        let (low, high) = (self.bits.start(), self.bits.end());
        if low == high {
            low.to_string()
        } else {
            format!("{high}:{low}")
        }
    }
}

/// The fields that a row's text names, in its order.
pub(crate) fn of(doc: &str) -> Vec<Field> {
    let mut fields = Vec::new();
    let mut rest = doc;
    while let Some((before, after)) = rest.split_once('(') {
        let Some((inside, after)) = after.split_once(')') else {
            break;
        };
        rest = after;
        let number = inside.split([',', ' ']).next().unwrap_or_default();
        let name = before
            .rsplit([',', ':', ';', '.'])
            .next()
            .unwrap_or_default()
            .trim();
        if let Some(bits) = range(number)
            && !name.is_empty()
        {
            fields.push(Field {
                name: name.to_owned(),
                bits,
            });
        }
    }
    fields
}

fn range(text: &str) -> Option<RangeInclusive<u32>> {
    let (high, low) = text.split_once(':').unwrap_or((text, text));
    let (high, low) = (high.parse().ok()?, low.parse().ok()?);
    (low <= high && high < 32).then_some(low..=high)
}

#[cfg(test)]
mod tests {
    use ixgbe_spec::register::Reg;

    use super::*;

    #[test]
    fn fields_are_read_from_the_table() {
        let fields = of(Reg::STATUS.row().doc);

        let told: Vec<_> = fields
            .iter()
            .map(|field| (field.name.as_str(), field.place(), field.of(0x0008_0080)))
            .collect();
        assert_eq!(told[0], ("LAN id", "3:2".to_owned(), 0));
        assert_eq!(told[1], ("link up", "7".to_owned(), 1));
        assert!(told.contains(&("GIO master enable status", "19".to_owned(), 1)));
    }

    #[test]
    fn no_row_of_the_table_has_a_field_twice() {
        for reg in Reg::ALL {
            let fields = of(reg.row().doc);
            let mut places: Vec<_> = fields.iter().map(Field::place).collect();
            places.sort();
            places.dedup();
            assert_eq!(places.len(), fields.len(), "{}", reg.row().name);
        }
    }

    #[test]
    fn a_text_without_fields_has_none() {
        assert_eq!(of("Free Running Timer: microseconds."), []);
        assert_eq!(of("Broken (7"), []);
        assert_eq!(of("Out of range (99), upside down (3:7)"), []);
    }
}
