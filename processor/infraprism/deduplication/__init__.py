"""One billed call is one event, however many instrumentations report it: which candidates are the same call."""
