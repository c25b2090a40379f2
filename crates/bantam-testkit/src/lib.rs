//! Tiny models, goldens and tolerance asserts for tests.
