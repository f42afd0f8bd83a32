//! The documents that the demo's stores share: in memory, by path, with limits of count and bytes.

use std::collections::HashMap;

use bytes::Bytes;
use http::HeaderValue;

/// The most documents.
pub(super) const DOCUMENTS_MAX: usize = 10_000;

/// The largest document, in bytes.
pub(super) const DOCUMENT_BYTES_MAX: usize = 1024 * 1024;

/// The most bytes of all documents: paths, content types and bodies.
pub(super) const BYTES_MAX: usize = 64 * 1024 * 1024;

/// One stored document.
#[derive(Clone, Debug)]
pub(super) struct Document {
    /// Its `Content-Type`.
    pub(super) content_type: HeaderValue,
    /// Its bytes.
    pub(super) body: Bytes,
    /// Its `Last-Modified`.
    pub(super) modified: HeaderValue,
    /// Its revision, unique among all documents. The entity tag is made of it.
    pub(super) revision: u64,
}

/// Whether storing a document replaced one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    /// There was no document at this path.
    Created,
    /// The document replaced an older one.
    Replaced,
}

/// The document would exceed a limit of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

/// The documents, by path.
#[derive(Debug, Default)]
pub(super) struct Store {
    documents: HashMap<String, Document>,
    bytes: usize,
    revisions: u64,
}

impl Store {
    /// The document at a path.
    pub(super) fn get(&self, path: &str) -> Option<&Document> {
        self.documents.get(path)
    }

    /// Stores a document at a path with a new revision, and replaces an older one.
    pub(super) fn put(&mut self, path: &str, mut document: Document) -> Result<Stored, Full> {
        let replaced = self.documents.get(path).map(|old| cost(path, old));
        let bytes = self.bytes.saturating_sub(replaced.unwrap_or(0)).saturating_add(cost(path, &document));
        let count = self.documents.len().saturating_add(usize::from(replaced.is_none()));
        if bytes > BYTES_MAX || count > DOCUMENTS_MAX {
            return Err(Full);
        }
        self.bytes = bytes;
        self.revisions = self.revisions.saturating_add(1);
        document.revision = self.revisions;
        self.documents.insert(path.to_owned(), document);
        Ok(if replaced.is_some() { Stored::Replaced } else { Stored::Created })
    }

    /// Stores a document as a new member of a collection, and returns its path: `<collection>/<n>`.
    pub(super) fn add(&mut self, collection: &str, document: Document) -> Result<String, Full> {
        let collection = collection.trim_end_matches('/');
        let mut number = self.revisions.saturating_add(1);
        let mut path = format!("{collection}/{number}");
        // A client may have used PUT at this path. The loop is bounded: each turn passes one of `DOCUMENTS_MAX`
        // documents.
        while self.documents.contains_key(&path) {
            number = number.saturating_add(1);
            path = format!("{collection}/{number}");
        }
        self.put(&path, document)?;
        Ok(path)
    }

    /// Removes the document at a path, and returns whether there was one.
    pub(super) fn remove(&mut self, path: &str) -> bool {
        let Some(old) = self.documents.remove(path) else { return false };
        self.bytes = self.bytes.saturating_sub(cost(path, &old));
        true
    }
}

fn cost(path: &str, document: &Document) -> usize {
    path.len().saturating_add(document.body.len()).saturating_add(document.content_type.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(bytes: usize) -> Document {
        Document {
            content_type: HeaderValue::from_static("text/plain"),
            body: Bytes::from(vec![b'x'; bytes]),
            modified: HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"),
            revision: 0,
        }
    }

    #[test]
    fn a_document_is_created_then_replaced_then_gone() {
        let mut store = Store::default();
        assert_eq!(store.put("/a", document(1)), Ok(Stored::Created));
        let first = store.get("/a").unwrap().revision;
        assert_eq!(store.put("/a", document(2)), Ok(Stored::Replaced));
        assert!(store.get("/a").unwrap().revision > first);
        assert!(store.remove("/a"));
        assert!(!store.remove("/a"));
        assert_eq!(store.bytes, 0);
    }

    #[test]
    fn members_of_a_collection_never_share_a_path() {
        let mut store = Store::default();
        store.put("/notes/2", document(1)).unwrap();
        let paths = [store.add("/notes", document(1)).unwrap(), store.add("/notes/", document(1)).unwrap()];
        assert_eq!(paths, ["/notes/3", "/notes/4"].map(String::from));
        store.remove("/notes/3");
        assert_eq!(store.add("/notes", document(1)).unwrap(), "/notes/5");
    }

    #[test]
    fn a_full_store_refuses_new_documents_and_takes_smaller_ones_in_place() {
        let mut store = Store::default();
        for number in 0..63 {
            store.put(&format!("/{number}"), document(DOCUMENT_BYTES_MAX)).unwrap();
        }
        assert_eq!(store.put("/last", document(DOCUMENT_BYTES_MAX)), Err(Full));
        assert_eq!(store.put("/0", document(1)), Ok(Stored::Replaced));
        assert_eq!(store.put("/last", document(DOCUMENT_BYTES_MAX)), Ok(Stored::Created));
    }

    #[test]
    fn the_number_of_documents_is_bounded() {
        let mut store = Store::default();
        for number in 0..DOCUMENTS_MAX {
            store.put(&format!("/{number}"), document(0)).unwrap();
        }
        assert_eq!(store.put("/one-more", document(0)), Err(Full));
        assert_eq!(store.put("/7", document(0)), Ok(Stored::Replaced));
    }
}
