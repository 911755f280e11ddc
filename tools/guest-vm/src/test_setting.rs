//! What `cargo xtask test` tells the tests that it runs.

use std::env;
use std::path::PathBuf;

/// What the tests may use. Made from environment variables that `cargo xtask test` sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestSetting {
    /// The server `vfio-user-ixgbe`, built in release mode.
    pub server: PathBuf,
    /// The tool `ixgbectl`.
    pub ixgbectl: PathBuf,
    /// Which tests are wanted.
    pub extent: TestExtent,
}

/// Which tests are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TestExtent {
    /// All but those that boot a virtual machine.
    Quick,
    /// All.
    Full,
}

impl TestSetting {
    /// Environment variable with the path of `vfio-user-ixgbe`.
    pub const SERVER: &'static str = "XTASK_SERVER";
    /// Environment variable with the path of `ixgbectl`.
    pub const IXGBECTL: &'static str = "XTASK_IXGBECTL";
    /// Environment variable with `quick` or `full`.
    pub const EXTENT: &'static str = "XTASK_TESTS";

    /// Reads what `cargo xtask test` has set; `None` if it does not run these tests. Then a test that needs a QEMU, a
    /// server process or a guest is ignored and says "run by cargo xtask test".
    pub fn from_env() -> Option<Self> {
        let path = |name| env::var_os(name).map(PathBuf::from);
        let extent = match env::var(Self::EXTENT).ok()?.as_str() {
            "full" => TestExtent::Full,
            _ => TestExtent::Quick,
        };
        Some(Self {
            server: path(Self::SERVER)?,
            ixgbectl: path(Self::IXGBECTL)?,
            extent,
        })
    }
}
