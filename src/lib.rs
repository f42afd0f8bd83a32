//! forebay: a layer-7 load balancer and caching reverse proxy.
//!
//! `policy` decides, `forebay` does: this crate holds the rooms that do IO; every judgement is a pure call into the
//! `policy` crate.

pub mod admin;
pub mod admin_service;
pub mod cache;
pub mod cli;
pub mod config;
pub mod demo;
pub mod downstream;
pub mod events;
pub mod exchange;
pub mod proxy;
pub mod rollout;
pub mod shared_state;
mod socket_file;
pub mod splice;
pub mod supervisor;
pub mod telemetry;
pub mod tls;
pub mod upstream;
pub mod write_queue;
