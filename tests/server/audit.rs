//! Snapshots with their files, exports and backups, over gRPC.
