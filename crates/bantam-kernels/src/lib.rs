//! SIMD kernels, thread pool and memory maps: the only unsafe code of the house.
