//! A disk that stands still: a process whose `fdatasync` does not return for as long as a test says so.
//!
//! Done by a library of a few lines that is loaded before the C library's; for processes of their own only.

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

/// The disk of the processes that are started with its [environment](Disk::environment).
#[derive(Debug)]
pub struct Disk {
    folder: StateDir,
}

impl Disk {
    /// A disk that does not stand still.
    ///
    /// # Panics
    ///
    /// When there is no C compiler.
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

    /// What a process needs to be on this disk.
    #[must_use]
    pub fn environment(&self) -> [(&'static str, PathBuf); 2] {
        [("LD_PRELOAD", self.folder.path().join("disk.so")), ("TESTBED_STILL", self.still())]
    }

    /// From now on no sync returns.
    ///
    /// # Panics
    ///
    /// When the folder can't be written.
    pub fn stands_still(&self) {
        std::fs::write(self.still(), "").expect("the folder can be written");
    }

    /// All syncs return again.
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
