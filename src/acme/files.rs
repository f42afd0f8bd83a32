//! What is kept of one authority in `server.state_dir`: the account, and for each name a file with key and certificates,
//! and one about orders that have failed.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use instant_acme::AccountCredentials;
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::state_file;
use crate::tls::{TlsError, issue};

/// The longest file that is read: beyond, it is none of ours.
const BYTES_MAX: u64 = 1 << 20;

/// The folder of one authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Files {
    folder: PathBuf,
}

/// An account, as it is kept.
#[derive(Serialize, Deserialize)]
pub(super) struct KeptAccount {
    /// The directory that it is for.
    pub(super) directory: String,
    /// The addresses that the authority has.
    pub(super) contact: Vec<String>,
    /// Its URL and its key.
    pub(super) credentials: AccountCredentials,
}

/// Orders for one name that have failed since the last one that did not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KeptFailures {
    /// How many.
    pub(super) count: u32,
    /// When the next may begin, in milliseconds since 1970.
    pub(super) next_try_unix_ms: u64,
    /// Why the last one failed; `None`: it began, and its end is not known.
    pub(super) reason: Option<String>,
}

impl Files {
    /// The folder for a directory URL.
    pub(super) fn new(state_dir: &Path, directory: &str) -> Self {
        let bare = directory.trim_start_matches("https://");
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' || c == '-' { c } else { '-' };
        Self { folder: state_dir.join("acme").join(bare.chars().map(plain).collect::<String>()) }
    }

    /// The account, if there is one that can be read.
    pub(super) fn account(&self) -> Option<KeptAccount> {
        self.read("account.json")
    }

    /// Keeps an account.
    pub(super) fn keep_account(&self, account: &KeptAccount) -> io::Result<()> {
        self.write("account.json", &serde_json::to_vec_pretty(account)?)
    }

    /// Puts an account out of the way that the authority does not know.
    pub(super) fn refuse_account(&self) {
        state_file::set_aside(&self.folder.join("account.json"), &"the authority does not know the account");
    }

    /// The failures for a name.
    pub(super) fn failures(&self, name: &str) -> KeptFailures {
        self.read(&format!("{name}.json")).unwrap_or_default()
    }

    /// Keeps the failures for a name.
    pub(super) fn keep_failures(&self, name: &str, failures: &KeptFailures) -> io::Result<()> {
        self.write(&format!("{name}.json"), &serde_json::to_vec_pretty(failures)?)
    }

    /// Forgets the failures for a name.
    pub(super) fn forget_failures(&self, name: &str) {
        let path = self.folder.join(format!("{name}.json"));
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!("{} can't be removed: {error}", path.display());
            }
            Ok(()) | Err(_) => {}
        }
    }

    /// The certificate of a name and its key, if they can be used.
    pub(super) fn certificate(&self, name: &str, provider: &CryptoProvider) -> Option<CertifiedKey> {
        let path = self.folder.join(format!("{name}.pem"));
        let usable = |text: Vec<u8>| issue::issued(&text, name, provider);
        match read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                state_file::set_aside(&path, &error);
                None
            }
            Ok(text) => usable(text).map_err(|error: TlsError| state_file::set_aside(&path, &error)).ok(),
        }
    }

    /// Keeps a name's key and certificates, in one file, so that they are always a pair.
    pub(super) fn keep_certificate(&self, name: &str, pem: &str) -> io::Result<()> {
        self.write(&format!("{name}.pem"), pem.as_bytes())
    }

    fn read<T: DeserializeOwned>(&self, file: &str) -> Option<T> {
        let path = self.folder.join(file);
        match read(&path).and_then(|text| serde_json::from_slice(&text).map_err(io::Error::from)) {
            Ok(kept) => Some(kept),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                state_file::set_aside(&path, &error);
                None
            }
        }
    }

    fn write(&self, file: &str, bytes: &[u8]) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        state_file::replace(&self.folder.join(file), bytes)
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?.take(BYTES_MAX).read_to_end(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use policy::certificate::encode;
    use rustls::crypto::aws_lc_rs;

    use super::*;

    #[test]
    fn what_is_kept_is_read_and_damage_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::new(folder.path(), "https://ca.test:14000/dir/x");
        let (name, provider) = ("a.test", aws_lc_rs::default_provider());
        assert_eq!(files.failures(name), KeptFailures::default());
        assert!(files.certificate(name, &provider).is_none() && files.account().is_none());
        let failures = KeptFailures { count: 2, next_try_unix_ms: 7, reason: Some("why".to_owned()) };
        files.keep_failures(name, &failures).unwrap();
        assert_eq!(files.failures(name), failures);
        files.forget_failures(name);
        files.forget_failures(name);
        assert_eq!(files.failures(name), KeptFailures::default());

        let own = folder.path().join("acme/ca.test-14000-dir-x");
        let (key, _) = issue::request(name).unwrap();
        let chain = issue::self_signed(&[name.to_owned()], Duration::from_secs(1_000), &provider).unwrap();
        let stranger = encode::pem("CERTIFICATE", &chain.cert[0]);
        for text in ["", "-----BEGIN", &(issue::key_pem(&key) + &stranger)] {
            files.keep_certificate(name, text).unwrap();
            assert!(files.certificate(name, &provider).is_none(), "{text}");
            assert!(own.join("a.test.pem.bad").exists() && !own.join("a.test.pem").exists());
        }
        fs::write(own.join("account.json"), "{").unwrap();
        assert!(files.account().is_none() && own.join("account.json.bad").exists());
    }
}
