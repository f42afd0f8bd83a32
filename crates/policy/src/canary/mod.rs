//! How a split's new side gets its share step by step, is judged at each, and loses it again.

pub mod rules;
