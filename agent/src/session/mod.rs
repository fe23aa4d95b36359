//! Sessions: one per connection, nothing on disk. And the count of replies in flight, which a revocation waits for.

pub mod flights;
pub mod registry;
