//! The client library against a gateway that does what each test tells it.

mod fake;
mod publisher;
mod silence;
mod subscriber;
