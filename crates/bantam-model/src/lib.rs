//! Spec, families, lowering to a Plan, and tensor-name tables.
#![forbid(unsafe_code)]
