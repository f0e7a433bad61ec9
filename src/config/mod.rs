//! From YAML to values that cannot be wrong, with every mistake explained.

pub mod diagnostic;
mod excerpt;
mod mask;
pub mod model;
pub mod names;
pub mod paths;
pub mod raw;

pub use model::Config;
