//! `benches/instructions.toml`: the cost of one request as of the commit that contains it, and the conditions of the
//! count.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Outcome;

/// The tolerance in thousandths. Runs of one binary differ by less than three.
const TOLERANCE_PER_MILLE: u64 = 30;

/// The header of the file.
const OPENING: &str = "\
# Instructions that the proxy executes in user space for one request of each work in benches/instructions/works.rs, by
# callgrind. `./test` fails when one has grown by more than 3 %. `UPDATE=1 cargo bench --bench instructions` writes this
# file anew; the commit that changes a number says why.

";

/// The recorded counts.
#[derive(Default, Deserialize, Serialize)]
pub(crate) struct Record {
    /// The conditions of the counts.
    counted_with: BTreeMap<String, String>,
    /// Instructions for one request, by workload.
    instructions: BTreeMap<String, u64>,
}

/// The comparison of a count with the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// There is no recorded count.
    New,
    /// Within the tolerance.
    Same(u64),
    /// More.
    Grown(u64),
    /// Less.
    Shrunk(u64),
}

impl Record {
    /// Reads the record; it is empty if there is no file.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(crate) fn read(file: &Path) -> Outcome<Self> {
        if !file.exists() {
            return Ok(Self::default());
        }
        let text = fs::read_to_string(file)?;
        toml::from_str(&text).map_err(|error| format!("{}: {error}", file.display()).into())
    }

    /// Writes the record with the conditions of this machine.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(crate) fn write(mut self, file: &Path, here: BTreeMap<String, String>) -> Outcome<()> {
        self.counted_with = here;
        fs::write(file, format!("{OPENING}{}", toml::to_string(&self)?))?;
        Ok(())
    }

    /// The differences between these conditions and the recorded ones, as text.
    pub(crate) fn differences(&self, here: &BTreeMap<String, String>) -> Vec<String> {
        let there = |name: &String| self.counted_with.get(name).map_or("unknown", String::as_str);
        let others = here.iter().filter(|(name, value)| there(name) != value.as_str());
        others.map(|(name, value)| format!("{name}: recorded with {}, here {value}", there(name))).collect()
    }

    /// Compares a count with the record.
    pub(crate) fn verdict(&self, work: &str, count: u64) -> Verdict {
        let Some(recorded) = self.instructions.get(work).copied() else { return Verdict::New };
        let tolerated = recorded * TOLERANCE_PER_MILLE / 1000;
        if count > recorded + tolerated {
            Verdict::Grown(recorded)
        } else if count + tolerated < recorded {
            Verdict::Shrunk(recorded)
        } else {
            Verdict::Same(recorded)
        }
    }

    /// Records a count.
    pub(crate) fn set(&mut self, work: &str, count: u64) {
        self.instructions.insert(work.to_owned(), count);
    }
}

impl Verdict {
    /// Instructions to the user after a failure.
    pub(crate) const REMEDY: &str = "\
A request has become dearer than benches/instructions.toml allows (or is not in it). Either find out where it goes:
    callgrind_annotate target/tmp/callgrind.NAME | head -50
or, when it is worth it, put it on record in the same commit, and say there why:
    UPDATE=1 cargo bench --bench instructions";

    /// Whether the check fails.
    pub(crate) fn is_failure(self) -> bool {
        match self {
            Self::New | Self::Grown(_) => true,
            Self::Same(_) | Self::Shrunk(_) => false,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::New => out.write_str("not on record"),
            Self::Same(recorded) => write!(out, "as recorded ({recorded})"),
            Self::Grown(recorded) => write!(out, "MORE than the {recorded} recorded"),
            Self::Shrunk(recorded) => write!(
                out,
                "less than the {recorded} recorded: put that on record, so that it can't be lost unseen \
                 (UPDATE=1 cargo bench --bench instructions)"
            ),
        }
    }
}
