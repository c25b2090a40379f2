//! The tests of this crate that go through its public face.

mod directories;
mod gguf_damage;
mod gguf_real;
mod gguf_round_trip;
mod gguf_split;
mod npy_and_atomic;
mod safetensors;
mod scratch;
