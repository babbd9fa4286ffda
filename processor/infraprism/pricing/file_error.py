"""The error of a file of prices, apart from what reads one: most processes never do."""


class PricesFileError(ValueError):
    """A file of prices that cannot be used; the message names the file, the line and the reason."""
