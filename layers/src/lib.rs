#![doc = include_str!("../README.md")]

mod breaker;
mod cache;
mod data_keys;
mod deadline;
mod limit;
mod observe;
mod retry;
