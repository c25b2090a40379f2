//! The CPU backend: Plan to Program on the kernels.
#![forbid(unsafe_code)]
