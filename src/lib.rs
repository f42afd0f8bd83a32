//! forebay: a layer-7 load balancer and caching reverse proxy.
//!
//! This crate does the IO. Every decision about a request is a call of a pure function in the `policy` crate.

pub(crate) mod acme;
pub mod admin;
pub(crate) mod admin_service;
pub mod cache;
pub mod cli;
pub mod config;
pub mod demo;
pub(crate) mod downstream;
pub(crate) mod events;
pub(crate) mod exchange;
pub(crate) mod proxy;
pub(crate) mod rollout;
pub(crate) mod shared_state;
mod socket_file;
pub(crate) mod splice;
mod state_file;
pub mod supervisor;
pub mod telemetry;
pub(crate) mod tls;
pub mod upstream;
pub(crate) mod write_queue;
