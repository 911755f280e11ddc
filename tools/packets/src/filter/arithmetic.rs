//! Numbers from a frame, and comparisons of them: `ip[8] < 5`, `tcp[tcpflags] & tcp-syn != 0`, `len > 100`.

use crate::{dissect::Dissection, layer::Layer};

/// A number: 32 bits, as in BPF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Number {
    Constant(u32),
    /// Length of the frame.
    Length,
    /// So many bytes of a header or what follows it; none of the layers: of the frame.
    Bytes {
        of: &'static [Layer],
        at: Box<Self>,
        size: u8,
    },
    Binary(Operator, Box<Self>, Box<Self>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Or,
    Xor,
    And,
    Left,
    Right,
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
}

impl Operator {
    pub(super) fn of(sign: &str) -> Option<Self> {
        Some(match sign {
            "|" => Self::Or,
            "^" => Self::Xor,
            "&" => Self::And,
            "<<" => Self::Left,
            ">>" => Self::Right,
            "+" => Self::Add,
            "-" => Self::Subtract,
            "*" => Self::Multiply,
            "/" => Self::Divide,
            "%" => Self::Modulo,
            _ => return None,
        })
    }

    /// The higher, the closer it binds.
    pub(super) const fn rank(self) -> u8 {
        match self {
            Self::Or | Self::Xor => 1,
            Self::And => 2,
            Self::Left | Self::Right => 3,
            Self::Add | Self::Subtract => 4,
            Self::Multiply | Self::Divide | Self::Modulo => 5,
        }
    }

    fn apply(self, a: u32, b: u32) -> Option<u32> {
        Some(match self {
            Self::Or => a | b,
            Self::Xor => a ^ b,
            Self::And => a & b,
            Self::Left => a.checked_shl(b).unwrap_or(0),
            Self::Right => a.checked_shr(b).unwrap_or(0),
            Self::Add => a.wrapping_add(b),
            Self::Subtract => a.wrapping_sub(b),
            Self::Multiply => a.wrapping_mul(b),
            Self::Divide => a.checked_div(b)?,
            Self::Modulo => a.checked_rem(b)?,
        })
    }
}

impl Number {
    /// `None` if the frame does not have these bytes.
    fn value(&self, frame: &Dissection<'_>) -> Option<u32> {
        match self {
            Self::Constant(value) => Some(*value),
            Self::Length => u32::try_from(frame.frame().len()).ok(),
            Self::Bytes { of, at, size } => {
                let start = match of {
                    [] => 0,
                    of => of.iter().find_map(|layer| frame.header(*layer, 0))?.at,
                };
                let at = start.checked_add(usize::try_from(at.value(frame)?).ok()?)?;
                let bytes = frame.frame().get(at..at.checked_add((*size).into())?)?;
                Some(
                    bytes
                        .iter()
                        .fold(0, |value, byte| value << 8 | u32::from(*byte)),
                )
            }
            Self::Binary(operator, a, b) => operator.apply(a.value(frame)?, b.value(frame)?),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Relation {
    pub(super) fn of(sign: &str) -> Option<Self> {
        Some(match sign {
            "=" | "==" => Self::Equal,
            "!=" => Self::NotEqual,
            "<" => Self::Less,
            "<=" => Self::LessOrEqual,
            ">" => Self::Greater,
            ">=" => Self::GreaterOrEqual,
            _ => return None,
        })
    }
}

/// Holds only of frames that have all the bytes that it speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Comparison {
    pub(super) relation: Relation,
    pub(super) left: Number,
    pub(super) right: Number,
}

impl Comparison {
    pub(super) fn holds(&self, frame: &Dissection<'_>) -> bool {
        let (Some(a), Some(b)) = (self.left.value(frame), self.right.value(frame)) else {
            return false;
        };
        match self.relation {
            Relation::Equal => a == b,
            Relation::NotEqual => a != b,
            Relation::Less => a < b,
            Relation::LessOrEqual => a <= b,
            Relation::Greater => a > b,
            Relation::GreaterOrEqual => a >= b,
        }
    }
}
