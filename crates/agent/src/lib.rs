//! sixfold-agent
