//! The command as users and scripts meet it: the real binary, its output and its exit codes.

mod support;

mod adapters;
mod arguments;
mod assistant;
mod bad_models;
mod chats;
mod constraints;
mod converts;
mod data;
mod embed;
mod guide;
mod huggingface;
mod logits;
mod run;
mod scratch;
mod template;
mod tokenize;
mod tools;
mod tune;
