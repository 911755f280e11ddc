//! Files and TCP ports, by landlock.

use std::path::PathBuf;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, NetPort, PathBeneath, PathFd,
    Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};

use super::Needs;

/// The newest landlock whose rights are named here (Linux 6.12). An older kernel does what it can.
const NEWEST: ABI = ABI::V6;

/// How much of the files the kernel has taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Files {
    /// All but those that are needed, TCP ports, and abstract UNIX sockets and processes outside.
    GivenUp,
    /// All but those that are needed; this kernel's landlock is too old for the rest.
    InPart,
    /// None: this kernel has no landlock.
    Kept,
}

/// What it takes to remove a socket.
fn removing() -> landlock::BitFlags<AccessFs> {
    AccessFs::RemoveFile.into()
}

/// What it takes to write a file and put it in another's place.
fn replacing() -> landlock::BitFlags<AccessFs> {
    AccessFs::WriteFile | AccessFs::Truncate | AccessFs::MakeReg | AccessFs::RemoveFile
}

/// No file can be opened, made, removed or run any more but in the folders that are needed, and no TCP port be reached or
/// taken. What is open stays so.
pub(super) fn give_up(needs: &Needs) -> Result<Files, RulesetError> {
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?
        .no_new_privs(true);
    for folder in &needs.sockets {
        rules = beneath(rules, folder, removing())?;
    }
    for folder in &needs.kept {
        rules = beneath(rules, folder, replacing())?;
    }
    for port in &needs.tcp_ports {
        rules = rules.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
    }
    Ok(match rules.restrict_self()?.ruleset {
        RulesetStatus::FullyEnforced => Files::GivenUp,
        RulesetStatus::PartiallyEnforced => Files::InPart,
        RulesetStatus::NotEnforced => Files::Kept,
    })
}

fn beneath(
    rules: RulesetCreated,
    folder: &PathBuf,
    access: landlock::BitFlags<AccessFs>,
) -> Result<RulesetCreated, RulesetError> {
    match PathFd::new(folder) {
        Ok(fd) => rules.add_rule(PathBeneath::new(fd, access)),
        // A folder that is not there any more has nothing in it to remove.
        Err(_) => Ok(rules),
    }
}
