//! The conventions, one a file, in the order in which their signs are looked for: what is shown by a mark of its own
//! comes before what shares marks with others.

mod apertus;
mod command_r;
mod command_r7b;
mod deepseek_r1;
mod deepseek_v3_1;
mod deepseek_v3_2;
mod functionary;
mod functionary_v3_2;
mod functools;
mod gemma3;
mod gemma4;
mod gigachat3;
mod gigachat3_1;
mod glm4;
mod glm4_5;
mod granite;
mod harmony;
mod hermes;
mod hunyuan;
mod internlm2;
mod kimi_k2;
mod lfm2;
mod llama3;
mod llama4;
mod longcat;
mod minicpm3;
mod minicpm5;
mod minimax_m2;
mod mistral;
mod mistral_args;
mod nemotron;
mod olmo3;
mod phi4_mini;
mod qwen3_coder;
mod seed_oss;
mod shapes;
mod smollm3_python;
mod xlam;

pub(super) use harmony::{ChannelStep, Channels};

use super::reader::{End, Found, Reader, Stop, name};
use super::{Convention, Frame, IdStyle, Notation, Parameters, Slot, Tools, Trigger, json, python, value};

pub(super) const ALL: &[&Convention] = &[
    &harmony::CONVENTION,
    &gemma4::CONVENTION,
    &kimi_k2::CONVENTION,
    &deepseek_v3_2::CONVENTION,
    &deepseek_v3_2::V4,
    &deepseek_v3_1::CONVENTION,
    &deepseek_r1::CONVENTION,
    &mistral_args::CONVENTION,
    &mistral::CONVENTION,
    &minicpm3::CONVENTION,
    &lfm2::CONVENTION,
    &granite::CONVENTION,
    &phi4_mini::CONVENTION,
    &apertus::CONVENTION,
    &nemotron::CONVENTION,
    &command_r7b::CONVENTION,
    &command_r::CONVENTION,
    &internlm2::CONVENTION,
    &minimax_m2::CONVENTION,
    &seed_oss::CONVENTION,
    &glm4_5::CONVENTION,
    &qwen3_coder::CONVENTION,
    &minicpm5::CONVENTION,
    &gigachat3_1::CONVENTION,
    &gigachat3::CONVENTION,
    &smollm3_python::CONVENTION,
    &hunyuan::CONVENTION,
    &longcat::CONVENTION,
    &hermes::CONVENTION,
    &functionary_v3_2::CONVENTION,
    &functionary::CONVENTION,
    &functools::CONVENTION,
    &olmo3::CONVENTION,
    &llama4::CONVENTION,
    &gemma3::CONVENTION,
    &xlam::CONVENTION,
    &glm4::CONVENTION,
    &llama3::CONVENTION,
];

/// `{"name": "NAME", "arguments": ARGUMENTS}`.
const JSON_CALL: &[Slot] = &[
    Slot::Text("{\"name\": \""),
    Slot::Name,
    Slot::Text("\", \"arguments\": "),
    Slot::Arguments(Notation::Json),
    Slot::Text("}"),
];

/// `NAME(KEY=VALUE, …)`.
const PYTHON_CALL: &[Slot] = &[Slot::Name, Slot::Text("("), Slot::Arguments(Notation::Python), Slot::Text(")")];

/// What most conventions have in common.
const BASE: Convention = Convention {
    name: "",
    about: "",
    triggers: &[],
    tokens: &[],
    ends: &[],
    ids: IdStyle::OpenAi,
    frame: Frame { begin: "", call: JSON_CALL, separator: ", ", end: "", parallel: true },
    channels: false,
    recognise: |_| false,
    parse: |_, _| Err(Stop::NoCall),
};
