//! sixfold-core
