"""Which provider bills a call, and what an error of a provider means."""
