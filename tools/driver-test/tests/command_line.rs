//! `driver-test` as it is called.
#![expect(clippy::unwrap_used, reason = "a test that fails panics")]

use std::process::{Command, Output};

fn driver_test(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_driver-test"))
        .args(words)
        .env_remove("IXGBE_CONTROL")
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn tests_are_chosen_by_a_part_of_their_names() {
    let output = driver_test(&["--list", "--only", "reach,FCS", "--skip", "another"]);

    assert_eq!(
        stdout(&output),
        "reach      the driver receives and the link is up\n\
         reach      ARP is answered\n\
         broken     a bad FCS is not answered\n"
    );
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn nothing_tested_is_told_by_another_exit_code_than_a_failure() {
    let nobody = driver_test(&["--control", "/nonexistent/control"]);
    let nothing = driver_test(&["--control", "none", "--only", "teleportation"]);

    assert_eq!(nobody.status.code(), Some(2));
    let said = String::from_utf8_lossy(&nobody.stderr).into_owned();
    assert!(
        said.contains("no server answers at /nonexistent/control"),
        "{said}"
    );
    assert_eq!(nothing.status.code(), Some(2));
}

#[test]
fn a_vlan_has_a_number_and_an_address() {
    for wrong in ["5", "0:192.0.2.2", "4095:192.0.2.2", "5:here"] {
        let output = driver_test(&["--control", "none", "--vlan", wrong]);

        assert_eq!(output.status.code(), Some(2), "{wrong}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("a VLAN is ID:IP"), "{said}");
    }
}
