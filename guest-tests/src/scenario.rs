//! What a scenario is.

use anyhow::Result;

use crate::{card_world::CardWorld, world::World};

/// Something that a NIC has to do, and how to see whether it does.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// A sentence, with underscores.
    pub name: &'static str,
    /// What it does.
    pub run: Run,
}

/// What a scenario does.
#[derive(Clone, Copy, Debug)]
pub enum Run {
    /// In every world.
    Anywhere(fn(&mut dyn World) -> Result<()>),
    /// Where our own driver runs the card.
    OnCard(fn(&mut CardWorld) -> Result<()>),
}

/// A list of scenarios, each named as its function.
macro_rules! scenarios {
    ($($kind:ident $function:ident),* $(,)?) => {
        &[$($crate::scenario::Scenario {
            name: stringify!($function),
            run: $crate::scenario::Run::$kind($function),
        }),*]
    };
}

pub(crate) use scenarios;
