//! Number and block formats: layout, decode, encode, error bound.
#![forbid(unsafe_code)]
