//! forebay: a layer-7 load balancer and caching reverse proxy.
//!
//! `policy` decides, `forebay` does: this crate holds the rooms that do IO; every judgement is a pure call into the
//! `policy` crate.

pub mod admin;
pub mod cli;
pub mod config;
pub mod demo;
pub mod downstream;
pub mod events;
pub mod exchange;
pub mod flow;
pub mod household;
pub mod observe;
pub mod rollout;
pub mod running;
mod socket_file;
pub mod splice;
pub mod store;
pub mod tls;
pub mod upstream;
pub mod world;
pub mod writeback;
