"""Regions: which server has the data of an account, and where the server of another one is."""

from infraprism.backend.regions.regions import NO_REGIONS, Regions, RegionsError

__all__ = ["NO_REGIONS", "Regions", "RegionsError"]
