//! HTTP field grammar as data.

pub mod network;
