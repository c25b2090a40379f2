//! Counts what one token allocates: nothing. A binary of its own, since it counts the whole process.

use bantam_runtime::{Feed, LoadOptions, Model, OpenOptions, Outputs};
use bantam_testkit::{CountingAllocator, Golden};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

#[test]
fn a_decode_step_allocates_nothing() {
    assert!(CountingAllocator::is_installed());
    for threads in [1, 2] {
        // What runs the tests is in this process as well, and may take memory when it gets its turn; what a step takes it takes
        // every time.
        let counted = (0..3).map(|_| counted(threads)).min_by_key(|counted| counted.0).expect("three");
        assert_eq!(counted, (0, 0), "{threads} threads");
    }
}

/// Calls and bytes of a hundred steps.
fn counted(threads: usize) -> (u64, u64) {
    let model = Model::open(&Golden::load("tiny-llama-a").directory, &OpenOptions::default()).unwrap();
    let options = LoadOptions { threads: Some(threads), sequences: 2, ..LoadOptions::default() };
    let mut loaded = model.load(&options, &mut |_| true).unwrap();
    let (a, b) = (loaded.open_sequence().unwrap(), loaded.open_sequence().unwrap());
    let mut step = |token: u32| {
        let feed = |sequence| Feed { sequence, tokens: std::slice::from_ref(&token), outputs: Outputs::Last };
        loaded.run(&[feed(a), feed(b)]).unwrap().len()
    };
    step(1);
    // Over a page's end, so that a new page is taken too.
    let (_, counted) = CountingAllocator::count_process(|| (0..100).map(|token| step(token % 64)).sum::<usize>());
    (counted.calls, counted.bytes)
}
