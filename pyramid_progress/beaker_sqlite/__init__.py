"""The Beaker backend ``sqlite``, for the caches and sessions of an application. It knows nothing of progress."""

from .database import Database
from .namespace import SqliteNamespaceManager

__all__ = ['Database', 'SqliteNamespaceManager']
