//! The spools over HTTP: what waits, what was set apart, and what is to become of it.

pub mod work;
