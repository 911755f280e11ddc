//! tcpdump's filter language (pcap-filter(7)).
//!
//! As there, `and` and `or` bind equally and from left to right, `not` binds to what follows it, and a value without a
//! keyword takes the keywords of the one before it (`port 80 or 443`).
//!
//! One thing differs: tags are looked through. `ip` lets tagged packets through as well, and `vlan 5` asks whether a
//! frame has such a tag; `not vlan` leaves tagged frames out.
//!
//! Not implemented: names of hosts and networks, `gateway`, `protochain`, `mpls`, `pppoe`, `geneve`, `vxlan`, wireless and
//! DECnet words, `ip broadcast` for networks whose mask is not known (it is 255.255.255.255).

mod arithmetic;
mod parse;
mod test;
mod token;

use std::str::FromStr;

use self::{arithmetic::Comparison, parse::Parser, test::Test};
use crate::{complaint::Complaint, dissect::Dissection};

/// Which way a frame went, seen from the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    /// The port received it.
    Inbound,
    /// The port sent it.
    Outbound,
}

/// A filter. The empty text lets everything through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    text: String,
    root: Option<Node>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    Not(Box<Self>),
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
    Test(Test),
    Comparison(Comparison),
}

impl Filter {
    /// Whether it lets everything through.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    /// Its text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether a frame passes. `inbound` and `outbound` let a frame of unknown course through neither.
    #[must_use]
    pub fn lets_through(&self, frame: &Dissection<'_>, course: Option<Course>) -> bool {
        self.root
            .as_ref()
            .is_none_or(|root| root.holds(frame, course))
    }
}

impl Node {
    fn holds(&self, frame: &Dissection<'_>, course: Option<Course>) -> bool {
        match self {
            Self::Not(node) => !node.holds(frame, course),
            Self::And(a, b) => a.holds(frame, course) && b.holds(frame, course),
            Self::Or(a, b) => a.holds(frame, course) || b.holds(frame, course),
            Self::Test(test) => test.holds(frame, course),
            Self::Comparison(comparison) => comparison.holds(frame),
        }
    }
}

impl FromStr for Filter {
    type Err = Complaint;

    fn from_str(text: &str) -> Result<Self, Complaint> {
        Ok(Self {
            text: text.to_owned(),
            root: Parser::new(text)?.whole()?,
        })
    }
}

#[cfg(test)]
mod tests;
