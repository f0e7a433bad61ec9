//! From YAML to values that cannot be wrong, with every mistake explained.

pub mod compile;
mod describe;
pub mod diagnostic;
mod excerpt;
pub mod keys;
mod load;
mod mask;
pub mod model;
pub mod names;
pub mod paths;
pub mod raw;
pub mod reference;
pub mod schema;

pub use describe::Described;
pub use load::{Loaded, Sources, load};
pub use model::Config;
