//! The conditions beside the project's own code that counts depend on.
//!
//! Conditions without an observed effect are left out: the kernel, the processor's model (valgrind emulates its own),
//! and the load of the machine.

use std::collections::BTreeMap;
use std::process::Command;

use crate::Outcome;

/// The conditions of this machine, by name.
///
/// # Errors
/// If a tool for building or measuring is missing.
pub(crate) fn here() -> Outcome<BTreeMap<String, String>> {
    let toolchain = told("rustc", &["--version", "--verbose"])?;
    let of_toolchain = |key: &str| {
        let value = toolchain.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
        value.unwrap_or("unknown").to_owned()
    };
    told("valgrind", &["--version"])?;
    let found = [
        ("rustc", of_toolchain("release")),
        ("target", of_toolchain("host")),
        ("cc", told("cc", &["-dumpfullversion"])?),
        ("libc", told("getconf", &["GNU_LIBC_VERSION"]).unwrap_or_else(|_| "another".to_owned())),
        ("vectors", vectors().to_owned()),
    ];
    Ok(found.map(|(name, value)| (name.to_owned(), value)).into())
}

/// The vector instructions that run-time detection will find.
fn vectors() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        return "avx2";
    }
    "the target's own"
}

fn told(program: &str, arguments: &[&str]) -> Outcome<String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| format!("{program} can't be run ({error}); install it and try again"))?;
    if !output.status.success() {
        return Err(format!("{program} {} failed", arguments.join(" ")).into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
