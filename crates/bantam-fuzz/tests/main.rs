//! A bounded run of every target with every build, and that the whole inputs are whole.

use bantam_fuzz::{Limits, TARGETS, run};

const ITERATIONS: u64 = 3_000;
/// The same for texts that are compiled, and models and adapters that are written to files, which takes longer.
const SLOW: u64 = 300;

#[test]
fn whole_inputs_are_accepted() {
    for target in TARGETS {
        for (index, input) in target.inputs().iter().enumerate() {
            assert!((target.take)(&input.bytes), "{} refuses its input {index}", target.name);
        }
    }
}

#[test]
fn damaged_inputs_cause_no_panic() {
    for target in TARGETS {
        let writes = target.name.starts_with("convert-") || target.name.starts_with("adapter-");
        let iterations = if target.text || writes { SLOW } else { ITERATIONS };
        let report = run(target, &target.inputs(), 1, 0, Limits { iterations, time: None });
        if let Some(finding) = report.finding {
            panic!("{} panics at seed 1 iteration {}: {}", target.name, finding.iteration, finding.message);
        }
        assert_eq!(report.iterations, iterations);
        assert!(report.accepted < iterations, "{} accepts everything", target.name);
    }
}
