"""The error of a database that cannot be used. This module can be imported without the packages of the server."""


class DatabaseUnavailableError(Exception):
    """The database cannot be used. The message is the cause, without values of the data."""
