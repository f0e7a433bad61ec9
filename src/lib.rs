//! Hareway: an integration bridge between HTTP and AMQP 0-9-1.

pub mod admin;
pub mod amqp;
pub mod app;
pub mod buffer;
pub mod cli;
pub mod config;
pub mod egress;
pub mod ingress;
pub mod message;
pub mod policy;
pub mod server;
pub mod shutdown;
pub mod store;
pub mod task;
pub mod telemetry;
pub mod template;
