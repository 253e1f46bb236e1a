//! sixfold-tunnel
