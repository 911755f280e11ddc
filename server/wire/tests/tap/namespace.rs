//! A network namespace for one test.

use std::{
    env,
    process::{Command, exit},
};

/// Runs `act` as root of a new network namespace after the shell commands `set_up`: the test named `test`, which is
/// the caller, is started again there, and gets here again.
pub fn in_a_namespace(test: &str, set_up: &str, act: fn()) {
    const CHILD: &str = "WIRE_TEST_NAMESPACE";
    if env::var_os(CHILD).is_some() {
        act();
        exit(0);
    }
    let set_up = format!("set -e; test -w /dev/net/tun; ip link set lo up; {set_up}");
    // Root needs no user namespace, and keeps all its rights without one.
    let attempts = ["-n", "-rn"].map(|flags| {
        let attempt = Command::new("unshare")
            .args([flags, "sh", "-c", &set_up])
            .output();
        (flags, attempt)
    });
    let works = |(_, attempt): &&(_, std::io::Result<std::process::Output>)| {
        attempt.as_ref().is_ok_and(|output| output.status.success())
    };
    let Some((flags, _)) = attempts.iter().find(works) else {
        assert!(
            env::var_os("CI").is_none(),
            "no namespace with a tap: {attempts:?}"
        );
        eprintln!("skipped: this machine gives no network namespace with a tap: {attempts:?}");
        return;
    };
    let this_test = format!("{set_up} && exec \"$0\" --exact \"$1\" --nocapture");
    let status = Command::new("unshare")
        .args([flags, "sh", "-c", &this_test])
        .arg(env::current_exe().unwrap())
        .arg(test)
        .env(CHILD, "1")
        .status()
        .unwrap();
    assert!(status.success(), "{status}");
}
