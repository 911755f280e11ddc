//! Who we are: root may make network namespaces, others may in a user namespace of their own.

use std::env;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use nix::unistd::geteuid;

/// Set in the process that runs inside the user namespace.
const INSIDE: &str = "XTASK_IN_USER_NAMESPACE";

/// Replaces an ordinary user's process by one that is root in a user namespace of its own, where the system has such
/// namespaces. Where it has not, goes on as it is: making a network namespace will then say what is missing.
pub fn enter_user_namespace() {
    if geteuid().is_root() || env::var_os(INSIDE).is_some() || !namespaces_work() {
        return;
    }
    let Ok(executable) = env::current_exe() else {
        return;
    };
    let error = unshare()
        .arg(executable)
        .args(env::args_os().skip(1))
        .env(INSIDE, "1")
        .exec();
    eprintln!("warning: cannot enter a user namespace: {error}");
}

/// `unshare`, of util-linux, for a user namespace in which we are root.
fn unshare() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--"]);
    command
}

/// Whether a user namespace can be made, and a network namespace in it. Some systems grant the first without the
/// rights that make it useful.
fn namespaces_work() -> bool {
    let mut probe = Command::new("unshare");
    probe.args(["--user", "--map-root-user", "--net", "--", "true"]);
    probe
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
