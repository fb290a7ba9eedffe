"""The version, as a constant, so that it is also known if no metadata is installed."""

__version__ = '0.1.0'
