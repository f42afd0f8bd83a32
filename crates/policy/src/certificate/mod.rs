//! Reads the parts of X.509 certificates that the proxy needs (names, validity), and selects a certificate for a server
//! name. Decides when and how certificates are ordered from an ACME authority.
//!
//! The TLS library decides whether a certificate is trusted.

pub mod calendar;
pub mod challenge;
pub mod der;
pub mod encode;
pub mod names;
pub mod ocsp;
pub mod renewal;
pub mod subject;
pub mod x509;
