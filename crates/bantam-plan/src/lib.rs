//! Ops, Plan, rewrites, cost model and the reference interpreter.
#![forbid(unsafe_code)]
