#![doc = include_str!("../README.md")]

mod facade;

pub use facade::KeyMetadata;
