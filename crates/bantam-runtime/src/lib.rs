//! A loaded model: Spec, Plan, weights, Program, paged memory and the memory promise.
#![forbid(unsafe_code)]
