//! Tests of the families against independent implementations, and of what they refuse.

mod goldens;
mod load;
mod quantized;
mod refusals;
