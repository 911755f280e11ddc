//! Which server is meant when nobody says so.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use control::Client;

/// Every UNIX socket of this network namespace.
const SOCKETS: &str = "/proc/net/unix";
/// In its column of flags: the socket listens (`__SO_ACCEPTCON`).
const LISTENS: u32 = 0x0001_0000;

/// The control socket: the one that was given, or the one that there is.
pub(crate) fn control_socket(given: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    if let Some(path) = given {
        return Ok(path);
    }
    let table = fs::read_to_string(SOCKETS).with_context(|| {
        format!("cannot read {SOCKETS} to find the server; give --control PATH")
    })?;
    let mut candidates = candidates(&table);
    // Only if there is a choice, servers are asked.
    if candidates.len() > 1 {
        candidates.retain(|path| answers(path));
    }
    match candidates.as_slice() {
        [path] => Ok(path.clone()),
        [] => {
            bail!("no control socket found; is vfio-user-ixgbe running? If so, give --control PATH")
        }
        several => {
            let list: Vec<_> = several
                .iter()
                .map(|path| path.display().to_string())
                .collect();
            bail!(
                "several servers run; give one as --control PATH: {}",
                list.join(", ")
            )
        }
    }
}

/// The listening sockets of the table whose names end as control sockets do.
fn candidates(table: &str) -> Vec<PathBuf> {
    let mut paths: Vec<_> = table.lines().skip(1).filter_map(candidate).collect();
    paths.sort();
    paths.dedup();
    paths
}

/// Columns: address, references, protocol, flags, type, state, inode, path (which may hold blanks).
fn candidate(line: &str) -> Option<PathBuf> {
    let mut rest = line;
    let mut flags = 0;
    for column in 0..7 {
        let (field, after) = rest.trim_start().split_once(' ')?;
        if column == 3 {
            flags = u32::from_str_radix(field, 16).ok()?;
        }
        rest = after;
    }
    let path = rest.trim_start();
    (flags & LISTENS != 0 && path.starts_with('/') && path.ends_with(".control"))
        .then(|| PathBuf::from(path))
}

fn answers(path: &Path) -> bool {
    Client::connect(path).is_ok_and(|mut client| client.info().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listening_control_sockets_are_found_once() {
        let table = "\
Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01 20001 /run/nic/nic.sock
0000000000000000: 00000002 00000000 00010000 0001 01 20002 /run/nic/nic.sock.control
0000000000000000: 00000003 00000000 00000000 0001 03 20003 /run/nic/nic.sock.control
0000000000000000: 00000003 00000000 00000000 0001 03 20004
0000000000000000: 00000002 00000000 00010000 0001 01 20005 @abstract.control
0000000000000000: 00000002 00000000 00010000 0001 01 20006 /tmp/with blank.control
";

        assert_eq!(
            candidates(table),
            [
                PathBuf::from("/run/nic/nic.sock.control"),
                PathBuf::from("/tmp/with blank.control")
            ]
        );
    }
}
