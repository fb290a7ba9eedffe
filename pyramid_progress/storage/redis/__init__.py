"""Regions of type ``ext:redis``: one Redis server, or a service that Redis Sentinel watches."""

from .driver import RedisStorage

__all__ = ['RedisStorage']
