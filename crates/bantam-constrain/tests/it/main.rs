//! Constraints on small and real vocabularies.

mod adversary;
mod forms;
mod generations;
mod refusals;
mod spans;
mod tools;
mod vocabularies;
