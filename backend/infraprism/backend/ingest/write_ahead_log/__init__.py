"""A log of small requests that are acknowledged before the store has them. It is applied to the store in groups."""
