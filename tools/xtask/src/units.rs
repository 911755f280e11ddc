//! The units for systemd in `packaging/systemd`, as systemd itself reads them.

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::io::{Write, stderr};
    use std::os::unix::fs::symlink;
    use std::path::Path;
    use std::process::{Command, Output};

    use crate::binaries;

    /// systemd rates what a service could do by 0 (nothing) to 100 (anything); a unit without hardening has 96.
    const MOST_EXPOSURE: u32 = 10;
    const SERVICE: &str = "vfio-user-ixgbe@.service";
    const SOCKET: &str = "vfio-user-ixgbe@.socket";

    /// None where there is no systemd, after a word about it that is seen although the test passes.
    fn systemd_analyze(arguments: &[&str]) -> Option<Output> {
        let mut command = Command::new("systemd-analyze");
        let output = command.arg("--no-pager").args(arguments).output();
        if output.is_err() {
            let said = "xtask: systemd has not read the units: there is no systemd-analyze on PATH (package systemd)";
            // The test program shows what is printed only of tests that fail.
            writeln!(stderr(), "{said}").unwrap();
        }
        output.ok()
    }

    fn unit(name: &str) -> String {
        let folder = binaries::workspace().join("packaging/systemd");
        fs::read_to_string(folder.join(name)).unwrap()
    }

    fn text(output: &Output) -> String {
        String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr)
    }

    /// An instance of both units in `folder`, with a program that is there.
    fn instance(folder: &Path) -> [String; 2] {
        let service = unit(SERVICE).replace("/usr/bin/vfio-user-ixgbe", "/bin/true");
        fs::write(folder.join(SERVICE), service).unwrap();
        fs::write(folder.join(SOCKET), unit(SOCKET)).unwrap();
        [SERVICE, SOCKET].map(|name| {
            let instance = folder.join(name.replace('@', "@nic"));
            symlink(folder.join(name), &instance).unwrap();
            instance.to_str().unwrap().to_owned()
        })
    }

    #[test]
    fn systemd_reads_the_units_without_a_complaint() {
        let folder = tempfile::tempdir().unwrap();
        let [service, socket] = instance(folder.path());

        let output = systemd_analyze(&["verify", "--man=no", &service, &socket]);

        let said = output.as_ref().map(text).unwrap_or_default();
        assert!(
            output.is_none_or(|output| output.status.success()),
            "{said}"
        );
        // Of other units on this machine it may say what it wants.
        let ours: Vec<&str> = said
            .lines()
            .filter(|line| line.contains("vfio-user-ixgbe"))
            .collect();
        assert!(ours.is_empty(), "{ours:#?}");
    }

    #[test]
    fn systemd_finds_little_that_the_service_could_do() {
        let folder = tempfile::tempdir().unwrap();
        let [service, _] = instance(folder.path());
        let threshold = format!("--threshold={MOST_EXPOSURE}");

        let output = systemd_analyze(&["security", "--offline=true", &threshold, &service]);

        let said = output.as_ref().map(text).unwrap_or_default();
        assert!(
            output.is_none_or(|output| output.status.success()),
            "{said}"
        );
    }

    #[test]
    fn the_service_may_call_what_the_servers_own_sandbox_leaves_it() {
        let root = binaries::workspace();
        let sandbox = fs::read_to_string(root.join("server/src/sandbox/calls.rs")).unwrap();
        let needed: BTreeSet<&str> = sandbox
            .split("libc::SYS_")
            .skip(1)
            .filter_map(|rest| {
                rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                    .next()
            })
            // A wire af_xdp: takes a drop-in.
            .filter(|name| *name != "bpf")
            .collect();
        let mut allowed = BTreeSet::new();
        for line in unit(SERVICE).lines() {
            let Some(filter) = line.strip_prefix("SystemCallFilter=") else {
                continue;
            };
            let (taken_away, filter) = match filter.strip_prefix('~') {
                Some(filter) => (true, filter),
                None => (false, filter),
            };
            for name in filter.split_whitespace() {
                let Some(named) = calls(name) else { return };
                if taken_away {
                    allowed.retain(|call| !named.contains(call));
                } else {
                    allowed.extend(named);
                }
            }
        }

        let refused: Vec<_> = needed
            .iter()
            .filter(|name| !allowed.contains(**name))
            .collect();

        assert!(needed.len() > 60, "{}", needed.len());
        assert!(refused.is_empty(), "{refused:?}");
    }

    /// The calls that a name in a filter stands for; none where there is no systemd to ask.
    fn calls(name: &str) -> Option<BTreeSet<String>> {
        if !name.starts_with('@') {
            return Some(BTreeSet::from([name.to_owned()]));
        }
        let output = systemd_analyze(&["syscall-filter", name])?;
        let mut calls = BTreeSet::new();
        // The first line is the group's own name.
        for line in text(&output).lines().skip(1).map(str::trim) {
            if !line.is_empty() && !line.starts_with('#') {
                calls.extend(self::calls(line)?);
            }
        }
        Some(calls)
    }
}
