"""The version that is installed."""

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("plexlink")
except PackageNotFoundError:  # the folder was copied into a host's cogs
    VERSION = "0"
