//! Tokenizers, streaming detokenizer and chat templates.
#![forbid(unsafe_code)]
