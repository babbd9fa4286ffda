"""Encrypted backups of a data directory, in a directory or in S3-compatible storage."""
