//! Faults of the disk, injected at the real boundary.
