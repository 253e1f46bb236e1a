//! Userspace WireGuard devices in a process of their own, without privilege.

pub mod allowed;
pub mod device;
pub mod inner;
pub mod key;
pub mod limiter;
pub mod noise;
pub mod uapi;
