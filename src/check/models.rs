//! Rooms against models.
