"""The error of a user's file of prices, in a module of its own: most processes never import what reads such a file."""


class PricesFileError(ValueError):
    """A file of prices that cannot be used; the message contains the file, the entry and the reason."""
