//! Models on a hub, and the cache that they are kept in: the one that Python's `huggingface_hub` keeps, so that neither
//! fetches what the other has.

mod id;

pub use id::HubId;
