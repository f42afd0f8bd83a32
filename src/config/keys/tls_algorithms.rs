//! Cipher suites and key exchanges by name.

use rustls::crypto::aws_lc_rs::{ALL_CIPHER_SUITES, ALL_KX_GROUPS};
use rustls::{NamedGroup, SupportedCipherSuite};

use crate::config::document::Section;

/// The cipher suites of a list, by their names at IANA.
pub(super) fn cipher_suites(section: &Section<'_>, key: &str) -> Vec<SupportedCipherSuite> {
    let known: Vec<_> = ALL_CIPHER_SUITES.iter().map(|suite| (cipher_suite_name(*suite), *suite)).collect();
    chosen(section, key, "cipher suite", &known)
}

fn cipher_suite_name(suite: SupportedCipherSuite) -> String {
    suite.suite().as_str().unwrap_or_default().replacen("TLS13_", "TLS_", 1)
}

/// The key exchanges of a list, by the names of their groups at IANA.
pub(super) fn key_exchanges(section: &Section<'_>, key: &str) -> Vec<NamedGroup> {
    let names = ALL_KX_GROUPS.iter().map(|group| group.name());
    let known: Vec<_> = names.filter_map(|group| Some((group.as_str()?.to_owned(), group))).collect();
    chosen(section, key, "key exchange", &known)
}

fn chosen<T: Copy>(section: &Section<'_>, key: &str, what: &str, known: &[(String, T)]) -> Vec<T> {
    let names: Vec<&str> = known.iter().map(|(name, _)| name.as_str()).collect();
    if section.is_empty_list(key) {
        section.report.add(section.at(key), format!("{key} is empty"), "leave it out for the default");
    }
    let mut chosen = Vec::new();
    for text in section.texts(key) {
        match known.iter().find(|(name, _)| *name == text.value) {
            Some((_, value)) => chosen.push(*value),
            None => {
                let hint = format!("one of {}", names.join(", "));
                section.report.add(text.span.clone(), format!("{text} is no {what}"), hint);
            }
        }
    }
    chosen
}
