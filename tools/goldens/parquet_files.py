"""Small Parquet files of training data, as pyarrow writes them, with the same rows as JSON lines.

Needs pyarrow. Writes crates/bantam-train/tests/goldens/{chats,alpaca,deltas}.{parquet,jsonl}.
"""

import json
from pathlib import Path

import pyarrow
import pyarrow.parquet

OUT = Path(__file__).parents[2] / "crates/bantam-train/tests/goldens"

CHATS = [
    {"id": n, "messages": [{"role": "user", "content": f"hi {n}"}, {"role": "assistant", "content": "yo " * (n % 5 + 1)}]}
    for n in range(40)
]
ALPACA = [{"instruction": f"do {n}", "input": "" if n % 2 else "this", "output": f"done {n}"} for n in range(40)]

# More than two blocks of lengths, and the last one not full.
DELTAS = [{"instruction": f"do {n}", "input": "x" * (n % 7), "output": f"done {n * n}"} for n in range(300)]
DELTAS_OPTIONS = {
    "use_dictionary": False,
    "column_encoding": {"instruction": "DELTA_BYTE_ARRAY", "input": "DELTA_LENGTH_BYTE_ARRAY", "output": "DELTA_BYTE_ARRAY"},
    "write_statistics": False,
}


def main():
    for name, rows, options in [
        ("chats", CHATS, {"compression": "snappy", "row_group_size": 16}),
        ("alpaca", ALPACA, {"compression": "none", "data_page_version": "2.0"}),
        ("deltas", DELTAS, DELTAS_OPTIONS),
    ]:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), OUT / f"{name}.parquet", **options)
        (OUT / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    main()
