//! What the files say: read, parsed, layered and interpolated, with every place kept.

mod advice;
mod environment;
mod interpolate;
mod line;
mod load;
mod merge;
mod parse;
mod set;
mod tree;

pub use environment::{EnvFileError, Environment, ProcessEnvironment, parse_env_file};
pub use interpolate::interpolate;
pub use load::load;
pub use parse::parse;
pub use tree::{Entry, Key, Node, Place, Scalar, ScalarPart, Source, Value};

#[cfg(test)]
mod tests;
