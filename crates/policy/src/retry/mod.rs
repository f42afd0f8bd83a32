//! Whether a request may be sent again.
