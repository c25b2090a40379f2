//! The tests of this crate that go through its public face.

mod gguf_real;
