"""The provider table, detection of the provider of a call, and classification of errors."""
