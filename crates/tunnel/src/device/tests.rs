//! Two devices joined in memory.
