#!/usr/bin/env python3
"""Makes assets/stories260K-q8_0.gguf, the small model that the README's first command runs.

    tools/make_story_model.py ../shared/data/stories260k/stories260K-f32.gguf assets/stories260K-q8_0.gguf

Every matrix becomes Q8_0, or F16 where a row is no multiple of 32 (as llama-quantize falls back); vectors stay F32.
Needs PyPI gguf and numpy.
"""

import sys

import numpy as np
from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter, quants

CREDIT = "Derived from stories260K by Andrej Karpathy (https://huggingface.co/karpathy/tinyllamas), MIT licence"
Q8_0_FILE_TYPE = 7


def copy_metadata(reader, writer):
    """Every key of the source but those the writer makes itself, with its type as it was."""
    own = {"general.architecture", "general.file_type", "general.description", "general.license"}
    for key, field in reader.fields.items():
        if key.startswith("GGUF.") or key in own:
            continue
        kind = field.types[0]
        if kind == GGUFValueType.ARRAY:
            writer.add_key_value(key, field.contents(), kind, sub_type=field.types[-1])
        else:
            writer.add_key_value(key, field.contents(), kind)


def main(source, target):
    reader = GGUFReader(source)
    writer = GGUFWriter(target, reader.fields["general.architecture"].contents())
    copy_metadata(reader, writer)
    writer.add_description(CREDIT)
    writer.add_license("mit")
    writer.add_file_type(Q8_0_FILE_TYPE)
    for tensor in reader.tensors:
        data = np.asarray(tensor.data, dtype=np.float32)
        if data.ndim == 1:
            kind = GGMLQuantizationType.F32
        elif data.shape[-1] % 32 == 0:
            kind = GGMLQuantizationType.Q8_0
        else:
            kind = GGMLQuantizationType.F16
        writer.add_tensor(tensor.name, quants.quantize(data, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2])
