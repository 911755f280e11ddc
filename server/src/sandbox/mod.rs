//! The sandbox that the server enters once its files, sockets and devices are open.
//!
//! From then on the process serves foreign input, and it gives up what that does not take: files and TCP ports
//! (`files.rs`, by landlock), system calls (`calls.rs`, by seccomp), capabilities and new privileges (`privileges.rs`). What
//! stays follows from the configuration ([`Needs`]): a wire that looks for its peer again keeps `connect`, an NVM that is
//! kept keeps its folder. A refused system call fails with EPERM, a refused file with EACCES; nothing ends the process.
//!
//! The rights are those of the thread that calls [`enter`] and of all that it starts later, so it is the only thread then.
//!
//! Not there: a user of its own (start the server as an ordinary one), a network namespace, and limits on memory and
//! processor time, which are a supervisor's (systemd's, say) to give.

mod calls;
mod files;
mod needs;
mod privileges;

use std::{fs, io, str::FromStr};

use thiserror::Error;

use crate::config::Config;
pub use files::Files;
pub use needs::Needs;

/// Whether the server gives up what it does not need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sandbox {
    /// It does.
    #[default]
    On,
    /// It keeps the rights that it was started with.
    Off,
}

/// A text names no [`Sandbox`].
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("'{0}' is no setting of the sandbox; give on or off")]
pub struct SandboxSettingError(String);

impl FromStr for Sandbox {
    type Err = SandboxSettingError;

    fn from_str(text: &str) -> Result<Self, SandboxSettingError> {
        match text {
            "on" => Ok(Self::On),
            "off" => Ok(Self::Off),
            _ => Err(SandboxSettingError(text.to_owned())),
        }
    }
}

/// Why the sandbox cannot be entered.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// A thread was started too early: it would stay outside.
    #[error(
        "a defect in the server: {0} threads run before the sandbox; report it, and start with --sandbox off"
    )]
    Threads(usize),
    /// Capabilities, or new privileges.
    #[error(
        "cannot give up {what}; start with --sandbox off if this system does not let a process do that"
    )]
    Privileges {
        /// What was to be given up.
        what: &'static str,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Files, on a kernel that has landlock.
    #[error(
        "cannot give up the files; start with --sandbox off if this system does not let a process do that"
    )]
    Files(#[from] landlock::RulesetError),
    /// The filter of system calls.
    #[error("cannot filter the system calls; start with --sandbox off on a kernel without seccomp")]
    Calls(#[from] seccompiler::Error),
}

/// Gives up what a server with this configuration does not need any more, for this thread and those that it starts. Tells
/// how much of it the kernel can do.
///
/// # Errors
/// [`SandboxError`]. Part of the rights may be gone.
pub fn enter(config: &Config) -> Result<Files, SandboxError> {
    let threads = fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    if threads != 1 {
        return Err(SandboxError::Threads(threads));
    }
    let needs = Needs::of(config);
    privileges::give_up(&needs)?;
    let files = files::give_up(&needs)?;
    calls::give_up(&needs)?;
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_on_unless_it_is_turned_off() {
        assert_eq!(Sandbox::default(), Sandbox::On);
        assert_eq!("off".parse(), Ok(Sandbox::Off));
    }

    #[test]
    fn another_word_is_refused_with_those_that_there_are() {
        let error = "yes".parse::<Sandbox>().unwrap_err();

        assert!(error.to_string().contains("on or off"), "{error}");
    }
}
