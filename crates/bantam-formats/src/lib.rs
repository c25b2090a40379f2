//! Model files from strangers: GGUF, safetensors and Hugging Face directories, checked, and back.
#![forbid(unsafe_code)]
