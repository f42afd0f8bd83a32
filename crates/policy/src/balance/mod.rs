//! Which backend of an upstream gets the next request.
