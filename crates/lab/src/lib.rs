//! sixfold-lab
