//! Reads the parts of X.509 certificates that the proxy needs (names, validity), and selects a certificate for a server
//! name.
//!
//! The TLS library decides whether a certificate is trusted.

pub mod der;
pub mod encode;
pub mod names;
pub mod ocsp;
pub mod subject;
pub mod x509;
