//! X.509 certificates as far as a proxy must read them: whom they are for, how long they hold, which of several a name gets.
//!
//! Whether a certificate is to be believed is decided by the TLS library.

pub mod der;
pub mod encode;
pub mod names;
pub mod subject;
pub mod x509;
