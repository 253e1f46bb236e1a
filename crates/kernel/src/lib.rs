//! sixfold-kernel
