//! From YAML to values that cannot be wrong, with every mistake explained.

pub mod model;
pub mod names;

pub use model::Config;
