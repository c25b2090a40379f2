//! `[{"name": …, "arguments": …}, …]` as the whole answer.

use super::shapes::{among, bare};
use super::{BASE, Convention, Frame, JSON_CALL, Trigger};

pub(super) const CONVENTION: Convention = Convention {
    name: "json-list",
    about: "xLAM 2 and others that answer with a bare list; huggingface.co/Salesforce/xLAM-2-3b-fc-r",
    triggers: &[Trigger::at_start("[")],
    frame: Frame { begin: "[", call: JSON_CALL, separator: ", ", end: "]", parallel: true },
    recognise: |signs| {
        signs.says("[{\"name\": \"func_name1\"")
            || signs.says("[{\\\"name\\\": \\\"")
            || signs.says("[{\"name\": \"tool_call_name\"")
    },
    parse: |reader, tools| {
        let found = reader.json_calls().map_err(|stop| bare(stop, reader, tools))?;
        among(found, tools)
    },
    ..BASE
};
