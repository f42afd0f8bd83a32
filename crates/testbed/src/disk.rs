//! A stalled disk: a process whose `fdatasync` does not return while the test says so.
//!
//! Uses a small library that is loaded before the C library, so it works for separate processes only.

use std::path::PathBuf;
use std::process::Command;

use crate::StateDir;

const LIBRARY: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>
int fdatasync(int fd) {
    const char *still = getenv("TESTBED_STILL");
    while (still && access(still, F_OK) == 0) usleep(1000);
    return ((int (*)(int)) dlsym(RTLD_NEXT, "fdatasync"))(fd);
}
"#;

/// The disk of processes started with its [environment](Disk::environment).
#[derive(Debug)]
pub struct Disk {
    folder: StateDir,
}

impl Disk {
    /// A disk that is not stalled.
    ///
    /// # Panics
    /// If there is no C compiler.
    #[must_use]
    #[track_caller]
    pub fn new() -> Self {
        let folder = StateDir::new();
        let source = folder.path().join("disk.c");
        std::fs::write(&source, LIBRARY).expect("the folder can be written");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-o"]).arg(folder.path().join("disk.so")).arg(&source).arg("-ldl");
        assert!(compiler.status().expect("there is a C compiler").success());
        Self { folder }
    }

    /// The environment of a process that uses this disk.
    #[must_use]
    pub fn environment(&self) -> [(&'static str, PathBuf); 2] {
        [("LD_PRELOAD", self.folder.path().join("disk.so")), ("TESTBED_STILL", self.still())]
    }

    /// Stalls all syncs from now on.
    ///
    /// # Panics
    /// If the directory cannot be written.
    pub fn stands_still(&self) {
        std::fs::write(self.still(), "").expect("the folder can be written");
    }

    /// Lets all syncs return.
    pub fn goes_on(&self) {
        let _was_not_still = std::fs::remove_file(self.still());
    }

    fn still(&self) -> PathBuf {
        self.folder.path().join("still")
    }
}

impl Default for Disk {
    fn default() -> Self {
        Self::new()
    }
}
