//! The door to processes: runs a recorded command inside walls.
