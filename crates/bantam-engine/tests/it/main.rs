//! The engine over a scripted model.

mod allocations;
mod batch;
mod chat;
mod constraints;
mod fake;
mod generate;
mod real;
mod samplers;
mod tools;

use bantam_testkit::CountingAllocator;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;
