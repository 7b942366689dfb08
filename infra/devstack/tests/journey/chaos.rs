//! `devstack chaos` as its users call it: a short trouble ends, everything heals, and the verdict
//! is told in words and in the exit code.

use std::process::Stdio;

use tokio::process::Command;

#[tokio::test(flavor = "multi_thread")]
async fn a_short_trouble_heals() {
    // At this pace a lease is 18 s of real time, long enough for a runner on a busy machine.
    let arguments = "chaos --agents 4 --minutes 0.3 --speed 10 --patience 10 --seed 1";
    let output = Command::new(env!("CARGO_BIN_EXE_devstack"))
        .args(arguments.split(' '))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{errors}");
    assert!(said.ends_with("all is well (seed 1)\n"), "{said}");
    for part in ["payments ", "killed ", "messages ", "outside ", "healing "] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
}
