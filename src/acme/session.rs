//! An account with one authority, made when it is first needed.

use std::io;
use std::path::Path;

use instant_acme::{Account, NewAccount};
use tokio::sync::Mutex;

use super::client::Client;
use super::files::{Files, KeptAccount};
use crate::config::plan;
use crate::tls::{FileState, TlsError};

/// What the authority says of an account that it does not know (RFC 8555 §6.7).
const NO_ACCOUNT: &str = "urn:ietf:params:acme:error:accountDoesNotExist";

/// Why an account can't be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum AccountError {
    /// The authority refuses, or can't be asked.
    #[error("no account: {}", said(.0))]
    Acme(#[from] instant_acme::Error),
    /// It can't be kept.
    #[error("the account can't be written to server.state_dir: {0}")]
    State(#[from] io::Error),
}

/// What the authority says, without what only programs need.
pub(super) fn said(error: &instant_acme::Error) -> String {
    let instant_acme::Error::Api(problem) = error else { return error.to_string() };
    let kind = problem.r#type.as_deref().unwrap_or_default();
    let kind = kind.strip_prefix("urn:ietf:params:acme:error:").unwrap_or(kind);
    match problem.detail.as_deref() {
        Some(detail) => format!("the authority says: {detail} ({kind})"),
        None => format!("the authority refuses: {kind}"),
    }
}

/// One authority, as the file has it.
pub(super) struct Session {
    pub(super) plan: plan::Acme,
    pub(super) files: Files,
    pub(super) client: Client,
    authorities: FileState,
    account: Mutex<Option<Account>>,
}

impl Session {
    /// `None`: nothing can be kept.
    ///
    /// # Errors
    /// When the authorities that the directory is verified by can't be read.
    pub(super) fn new(plan: &plan::Acme, state_dir: Option<&Path>) -> Result<Option<Self>, TlsError> {
        let authorities = authorities(plan);
        let client = Client::new(plan)?;
        Ok(state_dir.map(|state_dir| Self {
            plan: plan.clone(),
            files: Files::new(state_dir, &plan.directory),
            client,
            authorities,
            account: Mutex::default(),
        }))
    }

    /// Whether it is what these settings say, and the files that they name.
    pub(super) fn is_of(&self, plan: &plan::Acme) -> bool {
        self.plan == *plan && self.authorities == authorities(plan)
    }

    /// The account: the one that is kept, or else a new one.
    pub(super) async fn account(&self) -> Result<Account, AccountError> {
        let mut account = self.account.lock().await;
        if let Some(account) = &*account {
            return Ok(account.clone());
        }
        let opened = self.open().await?;
        Ok(account.insert(opened).clone())
    }

    async fn open(&self) -> Result<Account, AccountError> {
        let builder = Account::builder_with_http(Box::new(self.client.clone()));
        let contact: Vec<&str> = self.plan.contact.iter().map(String::as_str).collect();
        let directory = self.plan.directory.to_string();
        let kept = self.files.account().filter(|kept| kept.directory == directory);
        let Some(kept) = kept else {
            let new = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
            let (account, credentials) = builder.create(&new, directory.clone(), None).await?;
            self.files.keep_account(&KeptAccount { directory, contact: self.plan.contact.clone(), credentials })?;
            tracing::info!("acme: an account is made at {}", self.plan.directory);
            return Ok(account);
        };
        let KeptAccount { contact: told, credentials, .. } = kept;
        // It can't be cloned.
        let again = serde_json::to_value(&credentials).and_then(serde_json::from_value);
        let account = builder.from_credentials(credentials).await?;
        if told != self.plan.contact {
            account.update_contacts(&contact).await?;
            let credentials = again.map_err(io::Error::from)?;
            self.files.keep_account(&KeptAccount { directory, contact: self.plan.contact.clone(), credentials })?;
        }
        Ok(account)
    }

    /// Makes another account the next time, if the authority does not know this one.
    pub(super) async fn look_at(&self, error: &instant_acme::Error) {
        if let instant_acme::Error::Api(problem) = error
            && problem.r#type.as_deref() == Some(NO_ACCOUNT)
        {
            *self.account.lock().await = None;
            self.files.refuse_account();
        }
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Session").field("directory", &self.plan.directory).finish_non_exhaustive()
    }
}

fn authorities(plan: &plan::Acme) -> FileState {
    FileState::of(plan.ca.iter().map(|path| &**path))
}
