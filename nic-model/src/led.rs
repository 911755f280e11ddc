//! The LEDs beside the cage: what LEDCTL makes them show (8.2.3.1.6).
//!
//! Drivers use them for `ethtool -p`, which turns one of them on and off by its mode. An LED that is to show activity
//! blinks here if frames have passed since it was last looked at.
//!
//! Not implemented: the blinking as such (GLOBAL_BLINK_MODE chooses its rate), and the NVM's defaults.

use std::fmt;

use ixgbe_spec::register::{
    Reg,
    bits::{ledctl, links},
};
use serde::{Deserialize, Serialize};

use crate::regs::RegisterFile;

/// How many LEDs a port has.
pub const LEDS: usize = 4;

/// What an LED is to show (LEDCTL.LEDn_MODE).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LedMode {
    /// There is a link.
    LinkUp,
    /// There is a link of 10 Gbit/s.
    Link10G,
    /// Frames are sent or received.
    MacActivity,
    /// Frames are sent, or received and accepted.
    FilterActivity,
    /// There is a link; it blinks with the frames.
    LinkActivity,
    /// There is a link of 1 Gbit/s.
    Link1G,
    /// There is a link of 100 Mbit/s.
    Link100M,
    /// On.
    On,
    /// Off.
    Off,
    /// No mode: off.
    Reserved,
}

impl LedMode {
    fn new(field: u32) -> Self {
        match field {
            0x0 => Self::LinkUp,
            0x1 => Self::Link10G,
            0x2 => Self::MacActivity,
            0x3 => Self::FilterActivity,
            0x4 => Self::LinkActivity,
            0x5 => Self::Link1G,
            0x6 => Self::Link100M,
            0xE => Self::On,
            0xF => Self::Off,
            _ => Self::Reserved,
        }
    }

    /// Its name in the datasheet.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::LinkUp => "LINK_UP",
            Self::Link10G => "LINK_10G",
            Self::MacActivity => "MAC_ACTIVITY",
            Self::FilterActivity => "FILTER_ACTIVITY",
            Self::LinkActivity => "LINK/ACTIVITY",
            Self::Link1G => "LINK_1G",
            Self::Link100M => "LINK_100",
            Self::On => "LED_ON",
            Self::Off => "LED_OFF",
            Self::Reserved => "reserved",
        }
    }
}

impl fmt::Display for LedMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What one sees of an LED.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Light {
    /// It is dark.
    Off,
    /// It is lit.
    On,
    /// It is lit and dark in turns.
    Blinking,
}

/// An LED as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Led {
    /// What it is to show.
    pub mode: LedMode,
    /// What it shows.
    pub light: Light,
    /// How often software has turned it on by a mode since power-on: `ethtool -p` does so twice a second.
    pub turned_on: u64,
}

/// The LEDs of a port.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Leds {
    /// Which of them software has turned on.
    on: [bool; LEDS],
    turned_on: [u64; LEDS],
    /// Frames of [`LedMode::MacActivity`] and [`LedMode::FilterActivity`] when somebody looked last.
    seen: [u64; 2],
}

impl Leds {
    /// LEDCTL has its reset value. What people have seen stays.
    pub(crate) fn reset(&mut self) {
        let Self {
            on,
            turned_on: _,
            seen: _,
        } = self;
        *on = [false; LEDS];
    }

    /// Software has written LEDCTL.
    pub(crate) fn written(&mut self, value: u32) {
        let leds = self.on.iter_mut().zip(&mut self.turned_on);
        for ((on, turned_on), control) in leds.zip(value.to_le_bytes()) {
            let control = u32::from(control);
            let is_on = match LedMode::new(control & ledctl::MODE) {
                LedMode::On => control & ledctl::INVERT == 0,
                LedMode::Off => control & ledctl::INVERT != 0,
                _ => false,
            };
            if is_on && !*on {
                *turned_on = turned_on.saturating_add(1);
            }
            *on = is_on;
        }
    }

    /// Looks at the LEDs.
    pub(crate) fn look(&mut self, regs: &RegisterFile) -> [Led; LEDS] {
        let frames = [Reg::TPR, Reg::GPRC].map(|received| {
            let total = |counter| regs.total(counter, 0);
            total(received).saturating_add(total(Reg::TPT))
        });
        let [mac, filter] = [0, 1].map(|kind| frames.get(kind) != self.seen.get(kind));
        self.seen = frames;
        let state = regs.get(Reg::LINKS, 0);
        let speed = (state & links::UP != 0).then_some(state >> links::SPEED_SHIFT);
        let runs_at = |wanted| speed.map(|speed| speed & links::SPEED_MASK) == Some(wanted);
        let controls = regs.get(Reg::LEDCTL, 0).to_le_bytes();
        let mut turned_on = self.turned_on.into_iter();
        controls.map(|control| {
            let control = u32::from(control);
            let mode = LedMode::new(control & ledctl::MODE);
            let steady = |lit| if lit { Light::On } else { Light::Off };
            let light = match mode {
                LedMode::LinkUp => steady(speed.is_some()),
                LedMode::Link10G => steady(runs_at(links::SPEED_10G)),
                LedMode::Link1G => steady(runs_at(links::SPEED_1G)),
                LedMode::Link100M => steady(runs_at(links::SPEED_100M)),
                LedMode::MacActivity => steady(mac),
                LedMode::FilterActivity => steady(filter),
                LedMode::LinkActivity if mac && speed.is_some() => Light::Blinking,
                LedMode::LinkActivity => steady(speed.is_some()),
                LedMode::On => Light::On,
                LedMode::Off | LedMode::Reserved => Light::Off,
            };
            // Whatever lights it makes it blink; then its polarity.
            let light = match (light, control & ledctl::BLINK != 0) {
                (Light::On, true) => Light::Blinking,
                (light, _) => light,
            };
            let light = match (light, control & ledctl::INVERT != 0) {
                (Light::On, true) => Light::Off,
                (Light::Off, true) => Light::On,
                (light, _) => light,
            };
            Led {
                mode,
                light,
                turned_on: turned_on.next().unwrap_or(0),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Module, Port, port::tests::world::World};

    fn lights(world: &mut World) -> [Light; LEDS] {
        world.port.leds().map(|led| led.light)
    }

    #[test]
    fn after_power_on_the_leds_show_link_speed_and_activity() {
        use Light::{Blinking, Off, On};
        let mut world = World::enabled();

        let modes = world.port.leds().map(|led| led.mode);
        let at_ten = lights(&mut world);
        world.carrier(false);
        let without = lights(&mut world);
        world.carrier(true);
        world.plug(Module::Sx);
        world.set(Reg::AUTOC, 0x0000_4000);
        world.train();
        let at_one = lights(&mut world);

        assert_eq!(
            modes.map(LedMode::name),
            ["LINK_UP", "LINK_10G", "LINK/ACTIVITY", "LINK_1G"]
        );
        assert_eq!(
            at_ten,
            [On, Blinking, On, Off],
            "the second one has its BLINK bit"
        );
        assert_eq!(without, [Off; 4]);
        assert_eq!(at_one, [On, Off, On, On]);
    }

    #[test]
    fn modes_of_activity_show_frames_since_the_last_look() {
        use Light::{Blinking, Off, On};
        let mut world = World::enabled();
        // MAC activity, filter activity, link and activity, MAC activity that blinks.
        world.set(Reg::LEDCTL, 0x8204_0302);
        world.set(Reg::FCTRL, 1 << 10);

        let before = lights(&mut world);
        world.receive(&[0xFF; 60]);
        let after = lights(&mut world);
        let then = lights(&mut world);

        assert_eq!(before, [Off, Off, On, Off]);
        assert_eq!(after, [On, On, Blinking, Blinking]);
        assert_eq!(then, before);
    }

    #[test]
    fn an_led_that_is_identified_is_turned_on_and_off_and_counted() {
        let mut world = World::enabled();
        let counts = |world: &mut World| world.port.leds().map(|led| led.turned_on);

        world.set(Reg::LEDCTL, 0x050E_8100);
        let on = lights(&mut world)[2];
        world.set(Reg::LEDCTL, 0x050E_8100);
        world.set(Reg::LEDCTL, 0x050F_8100);
        let off = lights(&mut world)[2];
        world.set(Reg::LEDCTL, 0x050E_8100);
        world.set(Reg::LEDCTL, 0x0504_8100);

        assert_eq!((on, off), (Light::On, Light::Off));
        assert_eq!(counts(&mut world), [0, 0, 2, 0]);
        world.call(Port::reset);
        assert_eq!(
            counts(&mut world),
            [0, 0, 2, 0],
            "people's eyes have no reset"
        );
    }

    #[test]
    fn an_inverted_led_is_dark_when_it_would_be_lit() {
        use Light::{Blinking, Off, On};
        let mut world = World::enabled();

        // On, off, and on and blinking, inverted; a mode that does not exist.
        world.set(Reg::LEDCTL, 0x07CE_4F4E);

        assert_eq!(lights(&mut world), [Off, On, Blinking, Off]);
        assert_eq!(world.port.leds().map(|led| led.turned_on), [0, 1, 0, 0]);
    }
}
