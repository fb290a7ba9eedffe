"""The version, which must be known where no metadata is installed, too."""

__version__ = '0.1.0'
