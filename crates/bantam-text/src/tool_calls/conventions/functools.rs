//! ` functools[{"name": …, "arguments": …}]`.

use super::{BASE, Convention, Frame, JSON_CALL, Trigger, shapes};

pub(super) const CONVENTION: Convention = Convention {
    name: "functools",
    about: "FireFunction 2; huggingface.co/fireworks-ai/llama-3-firefunction-v2",
    triggers: &[Trigger::anywhere("functools[")],
    frame: Frame { begin: "functools[", call: JSON_CALL, separator: ", ", end: "]", parallel: true },
    recognise: |signs| signs.says("functools["),
    parse: |reader, _| shapes::json_between(reader, "functools", ""),
    ..BASE
};
