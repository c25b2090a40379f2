//! Fenced Python calls, one a line, between `<|tool_call_start|>` and `<|tool_call_end|>`.

use super::{BASE, Convention, Frame, PYTHON_CALL, Trigger, python, shapes};

pub(super) const CONVENTION: Convention = Convention {
    name: "minicpm3",
    about: "MiniCPM3; huggingface.co/openbmb/MiniCPM3-4B",
    triggers: &[Trigger::anywhere("<|tool_call_start|>")],
    tokens: &["<|tool_call_start|>", "<|tool_call_end|>"],
    frame: Frame {
        begin: "<|tool_call_start|>\n```python\n",
        call: PYTHON_CALL,
        separator: "\n",
        end: "\n```\n<|tool_call_end|>",
        parallel: true,
    },
    recognise: |signs| signs.says_all(&["<|tool_call_start|>", "```python"]),
    parse: |reader, tools| {
        reader.literal("<|tool_call_start|>")?;
        reader.white();
        let fenced = reader.maybe("```python")?;
        let mut found = Vec::new();
        loop {
            reader.white();
            if fenced && !found.is_empty() && reader.maybe("```")? {
                shapes::close_or_end(reader, "<|tool_call_end|>")?;
                return Ok(found);
            }
            if !fenced && !found.is_empty() && (reader.ended()? || reader.maybe("<|tool_call_end|>")?) {
                return Ok(found);
            }
            found.extend(python::calls(reader, tools)?);
        }
    },
    ..BASE
};
