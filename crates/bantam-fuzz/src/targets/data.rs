//! Files of examples, in every form and shape, as the data doctor reads them.

use std::path::Path;

use bantam_testkit::mutate::Region;
use bantam_train::data::{Form, Rows};
use bantam_train::doctor::{Against, Kind, check_rows};

use super::Target;

pub(super) const ROWS: Target = Target {
    name: "data",
    about: "a file of examples as JSON lines, a JSON list and CSV",
    seeds: || SEEDS.iter().map(|seed| seed.as_bytes().to_vec()).collect(),
    text: false,
    region: |bytes| Region { range: 0..bytes.len(), percent: 100 },
    take: |bytes| ["d.jsonl", "d.json", "d.csv"].iter().map(|name| look(name, bytes)).fold(false, |any, one| any | one),
};

pub(super) const PARQUET: Target = Target {
    name: "data-parquet",
    about: "a Parquet file of examples",
    seeds: || {
        vec![
            include_bytes!("../../../bantam-train/tests/goldens/alpaca.parquet").to_vec(),
            include_bytes!("../../../bantam-train/tests/goldens/chats.parquet").to_vec(),
            include_bytes!("../../../bantam-train/tests/goldens/deltas.parquet").to_vec(),
        ]
    },
    text: false,
    region: |bytes| Region { range: 0..bytes.len(), percent: 100 },
    take: |bytes| look("d.parquet", bytes),
};

const SEEDS: &[&str] = &[
    "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"assistant\", \"content\": \"b\", \"weight\": 1}], \"tools\": []}\n\
     {\"conversations\": [{\"from\": \"human\", \"value\": \"a\"}, {\"from\": \"function_call\", \"value\": \"{\\\"name\\\": \\\"f\\\"}\"}]}\n\
     {\"prompt\": \"a\", \"chosen\": \"b\", \"rejected\": \"c\"}\n{\"prompt\": \"a\", \"completion\": \"b\", \"label\": true}\n",
    "[{\"instruction\": \"a\", \"input\": \"b\", \"output\": \"+41 44 668 18 00\"},\n {\"text\": \"DE89 3704 0044 0532 0130 00\"}]\n",
    "\u{feff}prompt,completion\r\n\"a \"\"b\"\"\",me@mail.ch\r\n4111 1111 1111 1111,c\r\n",
];

/// Looks through a file; whether there was a sound row in it.
fn look(name: &str, bytes: &[u8]) -> bool {
    let path = Path::new(name);
    let rows = Rows::new(path, bytes.to_vec());
    if name.ends_with("parquet") != (rows.form() == Form::Parquet) {
        return false;
    }
    let Ok(report) = check_rows(path, &rows, &Against::default()) else { return false };
    let malformed = report.of(Kind::Malformed).count();
    assert!(malformed <= report.rows && report.findings.iter().all(|finding| finding.line.unwrap_or(1) > 0));
    malformed < report.rows
}
