//! What the files say: read, parsed, layered and interpolated, with every place kept.

mod tree;

pub use tree::{Entry, Key, Node, Place, Scalar, ScalarPart, Source, Value};
