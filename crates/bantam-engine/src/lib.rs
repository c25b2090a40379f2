//! Sampling, generation, batching and chat sessions over a loaded model.
//!
//! A [`Request`] is prompt tokens and settings; [`generate`] serves one and streams [`Event`]s, [`generate_batch`] serves
//! many together, [`ChatSession`] keeps a conversation. All three drive the same steps (one [`LanguageModel::run`] for all
//! live sequences), so an answer does not depend on how, or beside what, its request was served.
//!
//! Invariants: the same request with the same seed gives the same answer, bit for bit, alone or in a batch; a prompt is
//! never cut; a stop string is never shown; what a sequence already holds is not computed again.
//!
//! Not in here: how a model computes (`bantam-runtime`), tokens and templates (`bantam-text`), files of models, HTTP.
#![forbid(unsafe_code)]

mod answer;
mod batch;
mod chat;
mod error;
mod gate;
mod generation;
mod lane;
mod loaded;
mod logprobs;
mod model;
mod reasoning;
mod request;
pub mod sampling;
mod stop;
mod tools;

pub use answer::{Answer, Event, FinishReason, Timings, Usage};
pub use batch::{BatchOptions, BatchReport, FromIterator, Next, Requests, generate_batch};
pub use chat::{ChatModel, ChatSession, ChatSettings, Message, Prompt, Render};
pub use error::EngineError;
pub use lane::generate;
pub use logprobs::{Logprobs, TokenLogprob, TopLogprob};
pub use model::{Feed, LanguageModel, ModelError, Outputs, SequenceId};
pub use reasoning::{Part, Reasoning, ReasoningSplitter};
pub use request::Request;
pub use sampling::{SamplingOptions, SamplingSettings};
pub use stop::StopMatcher;
pub use tools::ToolReading;
